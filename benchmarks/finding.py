"""Quality of the proposals of `audit` in generated worlds, compared with simpler ways.

    python benchmarks/finding.py [--kinds plain renewals] [--seeds 301 321] [--emails 1000]
                                 [--numbers] [--evidence] [--write]

The weights and thresholds were calibrated on seeds 1 to 16 of ten kinds. The kinds `languages` and
`merged` were never looked at. `likely` includes `sure`; bounds are 95 %, by resampling contacts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import resources
from itertools import product
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from quality import Case, Quality, bounds, ratios
from tables import put_table, table

from bulklink.emulator.conversations.knobs import ConversationRecipe
from bulklink.emulator.conversations.writer import generate_conversations
from bulklink.emulator.settings import PredictionMode
from bulklink.finding.judge import Judge
from bulklink.finding.link_origin import LinkOrigin
from bulklink.finding.org_evidence import OrgEvidence, OrgFacts
from bulklink.finding.rule_replay import RuleReplay
from bulklink.finding.values import ContactFacts, EmailFacts
from bulklink.finding.verdicts import EmailVerdict
from bulklink.finding.weights import Weights, load_weights
from tests.finding.worlds import GeneratedWorld

KINDS = (
    *("plain", "no-names", "hijacked", "one-product", "no-automation", "no-linked-sent"),
    *("shared-mailboxes", "corrected-by-hand", "all-right", "renewals", "languages", "merged"),
)
UNSEEN = ("languages", "merged")
READINGS: tuple[PredictionMode, ...] = ("strict", "loose", "last-modified-first")
"""Readings of the rule, by turns over the seeds."""
_TABLES = {"attach": (0, 4), "move": (4, 8), "harm": (8, 12)}
"""Tables by the measures that they have."""
_BY_PERSON = (LinkOrigin.HAND, LinkOrigin.SENT)

Choice = tuple[str | None, str, float]
"""A proposed deal, the tier and the confidence; an empty tier for no proposal."""
Chooser = Callable[[ContactFacts, Sequence[EmailVerdict], OrgFacts], Iterable[Choice]]


def package_weights() -> Weights:
    """Return the weights of the package."""
    text = resources.files("bulklink.finding").joinpath("weights.toml").read_text("utf-8")
    return load_weights(text)


def without(weights: Weights, evidence: str) -> Weights:
    """Return the weights without one of them."""
    return msgspec.structs.replace(weights, log_odds={**weights.log_odds, evidence: 0.0})


def choose_by_audit(
    contact: ContactFacts, verdicts: Sequence[EmailVerdict], org: OrgFacts
) -> Iterator[Choice]:
    """Yield what audit proposes."""
    for verdict in verdicts:
        yield verdict.deal_id, verdict.tier or "", verdict.confidence


def choose_by_rule(
    contact: ContactFacts, verdicts: Sequence[EmailVerdict], org: OrgFacts
) -> Iterator[Choice]:
    """Yield the deal that the prediction rule picks at the time of each email."""
    replay = RuleReplay(contact, org.stages, roles=org.roles)
    for email in contact.emails:
        yield _proposal(email, replay.replay(email, org.readings).deal_id)


def choose_newest(
    contact: ContactFacts, verdicts: Sequence[EmailVerdict], org: OrgFacts
) -> Iterator[Choice]:
    """Yield the deal of the contact that was created last before each email."""
    for email in contact.emails:
        created = [
            (deal.created, deal.id)
            for deal in contact.deals
            if deal.created is not None and email.time is not None and deal.created <= email.time
        ]
        yield _proposal(email, max(created)[1] if created else None)


def choose_only_open(
    contact: ContactFacts, verdicts: Sequence[EmailVerdict], org: OrgFacts
) -> Iterator[Choice]:
    """Yield the deal of the contact that was open at the time of each email, if it is one."""
    replay = RuleReplay(contact, org.stages, roles=org.roles)
    for email in contact.emails:
        is_open = [
            deal_id
            for deal_id, states in replay.deals.items()
            if email.time is not None and states.at(email.time).forecast == "open"
        ]
        yield _proposal(email, is_open[0] if len(is_open) == 1 else None)


def _proposal(email: EmailFacts, deal_id: str | None) -> Choice:
    changes = deal_id is not None and deal_id != email.deal_id
    return deal_id, "likely" if changes else "", 1.0


CHOOSERS: dict[str, Chooser] = {
    "audit": choose_by_audit,
    "the bare rule": choose_by_rule,
    "the newest deal": choose_newest,
    "the only open deal": choose_only_open,
}


def measure_world(
    world: tuple[str, int], *, emails: int, numbers: bool, evidence: Sequence[str]
) -> dict[str, list[list[Case]]]:
    """Generate a world, and return the cases of each contact.

    Args:
        world: its kind and seed.
        emails: number of its emails.
        numbers: whether the numbers of deals are known.
        evidence: evidence to leave out, each in turn, instead of comparing other ways.

    Returns:
        The cases by the way of choosing, or by the evidence that is left out.
    """
    generated = _generate(world, emails)
    contacts = list(generated.contacts(numbers=numbers))
    right = generated.right_deals
    org_evidence = OrgEvidence(generated.stages)
    for contact in contacts:
        org_evidence.add(contact)
    org = org_evidence.org_facts()
    weights = package_weights()
    choosers = {"audit": choose_by_audit} if evidence else CHOOSERS
    judge = Judge(weights, org)
    others = {name: Judge(without(weights, name), org) for name in evidence}
    cases: dict[str, list[list[Case]]] = {name: [] for name in (*choosers, *others)}
    for contact in contacts:
        judged = judge.judge(contact)
        for name, of_name in cases.items():
            verdicts = others[name].judge(contact) if name in others else judged
            choices = choosers.get(name, choose_by_audit)(contact, verdicts, org)
            of_name.append(
                [
                    _case(verdict, right[contact.id, verdict.email.message_id], choice)
                    for verdict, choice in zip(verdicts, choices, strict=True)
                ]
            )
    return cases


def _generate(world: tuple[str, int], emails: int) -> GeneratedWorld:
    kind, seed = world
    recipe = ConversationRecipe(
        messages=emails, kind=kind, reading=READINGS[seed % len(READINGS)], seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        generate_conversations(recipe, Path(folder))
        return GeneratedWorld(Path(folder))


def _case(verdict: EmailVerdict, right: str | None, choice: Choice) -> Case:
    deal_id, tier, confidence = choice
    by_person = verdict.link.origin in _BY_PERSON
    best = verdict.scores[0].deal_id if verdict.scores else None
    return Case(right, verdict.email.deal_id, by_person, deal_id, tier, confidence, best)


def quality_cells(quality: Quality) -> list[str]:
    """Return the measures of a row of the table, with their bounds."""
    total = quality.total()
    cells = []
    for measure, (numerator, denominator) in ratios().items():
        if not total[denominator]:
            cells.append("")
        elif measure.endswith("made by hand"):
            cells.append(f"{total[numerator]:,}")
        else:
            digits = 2 if measure.endswith("broken") else 1
            low, high = bounds(quality.contacts, numerator, denominator)
            share = total[numerator] / total[denominator]
            cells.append(f"{share:.{digits}%} ({low * 100:.{digits}f} to {high * 100:.{digits}f})")
    return cells


def evidence_table(pooled: dict[str, Quality]) -> str:
    """Return the measures without each evidence, compared with all of them."""
    names = [name for name in ratios() if "precision" in name or "recall" in name]

    def shares(quality: Quality) -> list[float]:
        total = quality.total()
        return [
            total[numerator] / max(total[denominator], 1)
            for numerator, denominator in (ratios()[name] for name in names)
        ]

    whole = shares(pooled["audit"])
    rows = [["with all", *(f"{share:.1%}" for share in whole)]]
    for name, quality in pooled.items():
        if name != "audit":
            changes = zip(shares(quality), whole, strict=True)
            rows.append([f"`{name}`", *(f"{100 * (share - of):+.1f}" for share, of in changes)])
    return table(["without", *names], rows)


def main() -> None:
    """Measure the worlds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--seeds", nargs=2, type=int, default=(301, 321), metavar=("FROM", "TO"))
    parser.add_argument("--emails", type=int, default=1_000, help="emails of each world")
    parser.add_argument("--numbers", action="store_true", help="with the numbers of the deals")
    parser.add_argument("--evidence", action="store_true", help="leave out each evidence in turn")
    parser.add_argument("--write", action="store_true", help="write the tables to README.md")
    arguments = parser.parse_args()
    evidence = tuple(package_weights().log_odds) if arguments.evidence else ()
    measure = partial(
        measure_world, emails=arguments.emails, numbers=arguments.numbers, evidence=evidence
    )
    pooled: dict[str, Quality] = {}
    rows: list[list[str]] = []
    with ProcessPoolExecutor() as pool:
        for kind in arguments.kinds:
            quality = Quality()
            worlds = list(product([kind], range(*arguments.seeds)))
            for cases in pool.map(measure, worlds):
                for name, contacts in cases.items():
                    for contact in contacts:
                        pooled.setdefault(name, Quality()).add_contact(contact)
                for contact in cases["audit"]:
                    quality.add_contact(contact)
            rows.append([f"{kind} (unseen)" if kind in UNSEEN else kind, *quality_cells(quality)])
            print(" | ".join(rows[-1]), flush=True)
    if evidence:
        _show("evidence", evidence_table(pooled), write=arguments.write)
        return
    rows += [[f"all kinds, {name}", *quality_cells(quality)] for name, quality in pooled.items()]
    for name, (first, last) in _TABLES.items():
        header = ["kind", *list(ratios())[first:last]]
        cells = [[row[0], *row[1 + first : 1 + last]] for row in rows]
        _show(name, table(header, cells), write=arguments.write)
    calibration = [
        [
            f"from {tenth / 10:.1f}",
            f"{emails:,}",
            f"{mean:.3f}",
            f"{right:.3f}",
        ]
        for tenth, emails, mean, right in pooled["audit"].calibration()
    ]
    header = ["confidence", "emails", "mean", "right"]
    _show("calibration", table(header, calibration), write=arguments.write)


def _show(name: str, text: str, *, write: bool) -> None:
    print(text)
    if write:
        put_table(name, text)


if __name__ == "__main__":
    main()
