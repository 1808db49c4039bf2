"""Companies of a synthetic org, and their contacts."""

from __future__ import annotations

from dataclasses import dataclass

from bulklink.emulator.conversations.moments import DAY, WORLD_END, ZONES, Zone
from bulklink.emulator.conversations.org import OrgPlan, OrgUser, record_id
from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.conversations.texts import (
    COMPANY_ENDINGS,
    COMPANY_STEMS,
    LANGUAGES,
    Language,
)

_IDS_PER_COMPANY = 1_000
_ASCII = str.maketrans("äöüßéèêëáàâíîïóôúûñçłżąęśźćńøåÄÖÜÉ", "aousEeeeaaaiiioouuncLzaeszcnoaAOUE")


@dataclass(frozen=True, slots=True)
class DuplicateRecord:
    """A second record of a contact, which was merged into the first one.

    Args:
        name: the name that it had.
        email: its address, which the contact still uses.
        merged: when they were merged.
    """

    name: str
    email: str
    merged: int


@dataclass(frozen=True, slots=True)
class Correspondent:
    """A contact.

    Args:
        id: id of the contact.
        name: full name.
        email: address.
        account_id: its account.
        zone: time zone.
        local_prefixes: whether the mail program writes replies with the prefix of its language.
        has_deals: whether deals belong to the contact.
        is_program: whether it stands for a program that sends mail.
        duplicate: the record that was merged into it, or None.
        second_account_id: the account of some of its deals, if it has deals of two.
    """

    id: str
    name: str
    email: str
    account_id: str
    zone: Zone
    local_prefixes: bool
    has_deals: bool
    is_program: bool
    duplicate: DuplicateRecord | None
    second_account_id: str | None

    def as_entry(self) -> dict[str, object]:
        """Return the contact as in a world file."""
        return {
            "id": self.id,
            "name": self.name,
            "email": self.email,
            "account_id": self.account_id,
        }


@dataclass(frozen=True, slots=True)
class Company:
    """A company.

    Args:
        number: its number in the world.
        stem: its name without the legal form.
        names: the names of its accounts: one, or two if a contact has deals of another.
        account_ids: the ids of its accounts.
        domain: of its addresses.
        language: what it writes.
        users: the users who care for it, the first one most.
        people: its contacts.
        others: names and addresses of people without a record.
    """

    number: int
    stem: str
    names: tuple[str, ...]
    account_ids: tuple[str, ...]
    domain: str
    language: Language
    users: tuple[OrgUser, ...]
    people: tuple[Correspondent, ...]
    others: tuple[tuple[str, str], ...]

    def record_id(self, kind: int, number: int) -> str:
        """Return the id of the nth record of a kind of this company."""
        return record_id(kind, self.number * _IDS_PER_COMPANY + number)


@dataclass(frozen=True, slots=True)
class _CompanyFrame:
    """What the contacts of a company have in common."""

    number: int
    stem: str
    domain: str
    language: Language
    account_ids: tuple[str, ...]


def plan_company(org: OrgPlan, draws: Draws, number: int) -> Company:
    """Return the nth company of a world."""
    language = _language_of(org, draws)
    stem, domain = _company_name(org.recipe.key, number)
    name = f"{stem} {draws.pick(language.legal_forms)}"
    other_name = f"{stem} {draws.pick(language.sites)} {draws.pick(language.legal_forms)}"
    size = draws.between(1, 2 * org.knobs.contacts_per_company - 1)
    if draws.chance(org.knobs.key_companies):
        size *= 3
    user = draws.below(len(org.users))
    users = tuple(org.users[(user + n) % len(org.users)] for n in range(min(3, len(org.users))))
    account_ids = tuple(record_id(6, 2 * number + n) for n in range(2))
    frame = _CompanyFrame(number, stem, domain, language, account_ids)
    people = tuple(_plan_person(org, draws, frame, n) for n in range(size))
    others = tuple(_colleague(draws, language, domain, n) for n in range(3))
    is_two = any(person.second_account_id for person in people)
    return Company(
        number=number,
        stem=stem,
        names=(name, other_name) if is_two else (name,),
        account_ids=account_ids if is_two else account_ids[:1],
        domain=domain,
        language=language,
        users=users,
        people=people,
        others=others,
    )


def _language_of(org: OrgPlan, draws: Draws) -> Language:
    codes = [code for code in LANGUAGES if code != org.language_code]
    foreign = draws.pick(codes)
    return LANGUAGES[foreign] if draws.chance(org.knobs.foreign_companies) else org.language


def _company_name(seed: int, number: int) -> tuple[str, str]:
    """Return the name of a company without its legal form, and its domain; no two are equal."""
    count = len(COMPANY_STEMS) * len(COMPANY_ENDINGS)
    position = (number * 797 + seed * 31) % count
    first, second = divmod(position, len(COMPANY_ENDINGS))
    stem = COMPANY_STEMS[first] + COMPANY_ENDINGS[second]
    generation = number // count
    domain = stem.lower() + (f"-{generation + 1}" if generation else "")
    return stem + (f" {generation + 1}" if generation else ""), f"{domain}.example"


def _plan_person(org: OrgPlan, draws: Draws, company: _CompanyFrame, number: int) -> Correspondent:
    language = company.language
    first, last = draws.pick(language.first_names), draws.pick(language.last_names)
    has_deals = number == 0 or not draws.chance(org.knobs.bystanders)
    local_part = _ascii(f"{first}.{last}") + (f"{number}" if number else "")
    is_two = has_deals and draws.chance(org.knobs.two_accounts)
    is_program = not has_deals and draws.chance(400)
    return Correspondent(
        id=record_id(3, company.number * _IDS_PER_COMPANY + number),
        name=f"{company.stem} Service" if is_program else f"{first} {last}",
        email=f"no-reply{number}@{company.domain}"
        if is_program
        else f"{local_part}@{company.domain}",
        account_id=company.account_ids[0],
        zone=draws.pick(ZONES) if draws.chance(50) else org.zone,
        local_prefixes=draws.chance(org.knobs.local_prefixes),
        has_deals=has_deals,
        is_program=is_program,
        duplicate=_plan_duplicate(
            org, draws, f"{first[0]}. {last}", f"{local_part}.{company.number}"
        )
        if has_deals and draws.chance(org.knobs.merged_contacts)
        else None,
        second_account_id=company.account_ids[1] if is_two else None,
    )


def _plan_duplicate(org: OrgPlan, draws: Draws, name: str, local_part: str) -> DuplicateRecord:
    """Return a record that was merged on some working day, at an hour in which nobody writes."""
    period = (WORLD_END - org.start) // DAY
    day = org.start + period * draws.between(300, 900) // 1_000 * DAY
    return DuplicateRecord(name, f"{local_part}@freemail.example", day + draws.below(DAY))


def _colleague(draws: Draws, language: Language, domain: str, number: int) -> tuple[str, str]:
    name = f"{draws.pick(language.first_names)} {draws.pick(language.last_names)}"
    return name, f"team{number + 1}@{domain}"


def _ascii(text: str) -> str:
    """Return a text as the local part of an address, or its digest if its letters are not Latin."""
    plain = text.translate(_ASCII).lower().replace(" ", "").replace("'", "")
    if plain.isascii():
        return plain
    return "p" + str(sum(map(ord, plain)) % 9_000 + 1_000)
