"""Quality of the proposals of `audit` in generated worlds, compared with simpler ways.

    python benchmarks/finding.py [--kinds plain renewals] [--seeds 101 121] [--emails 1500]
                                 [--numbers] [--without EVIDENCE ...]

The weights were calibrated on seeds 1 to 6 of ten kinds. `languages` and `merged` were never looked
at. `likely` includes `sure`; bounds are 95 %, by resampling contacts.
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
_BY_PERSON = (LinkOrigin.HAND, LinkOrigin.SENT)

Choice = tuple[str | None, str, float]
"""A proposed deal, the tier and the confidence; an empty tier for no proposal."""
Chooser = Callable[[ContactFacts, Sequence[EmailVerdict], OrgFacts], Iterable[Choice]]


def default_weights(without: Sequence[str] = ()) -> Weights:
    """Return the weights of the package, some of them set to zero."""
    text = resources.files("bulklink.finding").joinpath("weights.toml").read_text("utf-8")
    weights = load_weights(text)
    log_odds = {**weights.log_odds, **dict.fromkeys(without, 0.0)}
    return msgspec.structs.replace(weights, log_odds=log_odds)


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
    world: tuple[str, int], *, emails: int, numbers: bool, without: Sequence[str]
) -> dict[str, list[list[Case]]]:
    """Generate a world, judge it, and return the cases of each contact by way of choosing."""
    kind, seed = world
    recipe = ConversationRecipe(
        messages=emails, kind=kind, reading=READINGS[seed % len(READINGS)], seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        generate_conversations(recipe, Path(folder))
        generated = GeneratedWorld(Path(folder))
    contacts = list(generated.contacts(numbers=numbers))
    right = generated.right_deals
    evidence = OrgEvidence(generated.stages)
    for contact in contacts:
        evidence.add(contact)
    org = evidence.org_facts()
    judge = Judge(default_weights(without), org)
    cases: dict[str, list[list[Case]]] = {name: [] for name in CHOOSERS}
    for contact in contacts:
        verdicts = judge.judge(contact)
        for name, choose in CHOOSERS.items():
            choices = choose(contact, verdicts, org)
            cases[name].append(
                [
                    _case(verdict, right[contact.id, verdict.email.message_id], choice)
                    for verdict, choice in zip(verdicts, choices, strict=True)
                ]
            )
    return cases


def _case(verdict: EmailVerdict, right: str | None, choice: Choice) -> Case:
    deal_id, tier, confidence = choice
    by_person = verdict.link.origin in _BY_PERSON
    best = verdict.scores[0].deal_id if verdict.scores else None
    return Case(right, verdict.email.deal_id, by_person, deal_id, tier, confidence, best)


def print_quality(name: str, quality: Quality) -> None:
    """Print a row of the table."""
    total = quality.total()
    cells = []
    for measure, (numerator, denominator) in ratios().items():
        if not total[denominator]:
            cells.append("none")
            continue
        share = total[numerator] / total[denominator]
        if "by_person" in measure:
            cells.append(str(total[numerator]))
            continue
        low, high = bounds(quality.contacts, numerator, denominator)
        digits = 2 if "broken" in measure else 1
        cells.append(f"{share:.{digits}%} ({low * 100:.{digits}f}-{high * 100:.{digits}f})")
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measure the worlds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--seeds", nargs=2, type=int, default=(101, 121), metavar=("FROM", "TO"))
    parser.add_argument("--emails", type=int, default=1_500, help="emails of each world")
    parser.add_argument("--numbers", action="store_true", help="with the numbers of the deals")
    parser.add_argument("--without", nargs="+", default=(), help="evidence to leave out")
    arguments = parser.parse_args()
    measure = partial(
        measure_world,
        emails=arguments.emails,
        numbers=arguments.numbers,
        without=arguments.without,
    )
    pooled = {name: Quality() for name in CHOOSERS}
    print("| kind | " + " | ".join(ratios()) + " |")
    print("|---" * (len(ratios()) + 1) + "|")
    with ProcessPoolExecutor() as pool:
        for kind in arguments.kinds:
            quality = Quality()
            worlds = list(product([kind], range(*arguments.seeds)))
            for cases in pool.map(measure, worlds):
                for name, contacts in cases.items():
                    for contact in contacts:
                        pooled[name].add_contact(contact)
                        if name == "audit":
                            quality.add_contact(contact)
            print_quality(f"{kind}{' (unseen)' if kind in UNSEEN else ''}", quality)
    for name, quality in pooled.items():
        print_quality(f"all kinds, {name}", quality)
    print("\n| confidence | emails | mean | right |\n|---|---|---|---|")
    for tenth, emails, mean, share in pooled["audit"].calibration():
        span = f"{tenth / 10:.1f} to {tenth / 10 + 0.1:.1f}"
        print(f"| {span} | {emails:,} | {mean:.3f} | {share:.3f} |")


if __name__ == "__main__":
    main()
