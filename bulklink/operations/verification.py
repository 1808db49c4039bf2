"""What a verification is asked, what it finds, and what it writes into `verify.jsonl`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec
import orjson

from bulklink.errors import UsageError
from bulklink.operations.expected_links import Claim
from bulklink.zoho.email_pages import Deal


class Finding(StrEnum):
    """What a look at the CRM says of one email."""

    AS_RECORDED = "as-recorded"
    DIFFERENT = "different"
    AS_WANTED = "as-wanted"
    NOT_AS_WANTED = "not-as-wanted"
    NOT_LISTED = "not-listed"
    NOT_READ = "not-read"


CHECKED = frozenset(Finding) - {Finding.NOT_READ}
"""Findings about emails whose contact could be read."""


class Asked(msgspec.Struct, frozen=True):
    """What is to be verified, and how.

    `sample` is how many emails are drawn, None for all; `seed` decides which. `in_doubt` looks at
    the emails in doubt instead. `read_pages` of a contact are read at most, None for all.
    """

    in_doubt: bool = False
    sample: int | None = None
    seed: int = 1
    read_pages: int | None = None


def checked_asked(asked: Asked) -> Asked:
    """Return what is asked, where it can be.

    Raises:
        UsageError: if a sample is to be drawn of emails in doubt, or of less than one email.
    """
    if asked.in_doubt and asked.sample is not None:
        raise UsageError(
            "A sample is drawn from what the ledger claims, and it claims nothing of emails in"
            " doubt.",
            where="--in-doubt, --sample",
            advice="Leave one of them out.",
        )
    for name, number, least in (
        *(("sample", asked.sample, 1), ("seed", asked.seed, 0)),
        ("read_pages", asked.read_pages, 1),
    ):
        if number is not None and number < least:
            raise UsageError(
                f"{number} is no value of {name}.", where=name, advice=f"Give {least} or more."
            )
    return asked


class Price(msgspec.Struct, frozen=True):
    """What a verification takes at least: emails to look for, their contacts, calls by kind."""

    emails: int
    contacts: int
    reads: int
    lookups: int

    @property
    def credits(self) -> int:
        """Credits at least: one a call."""
        return self.reads + self.lookups


class Shown(msgspec.Struct, frozen=True):
    """A finding that a person has to see; `found` is the deal that the CRM shows."""

    claim: Claim
    finding: Finding
    found: Deal | None = None


class Bound(msgspec.Struct, frozen=True):
    """What a sample says of all emails that it was drawn from.

    At `confidence` no more than `wrong_at_most` of `population` are not as recorded. Drawn emails
    that no page listed, or that could not be read, are counted as if they were wrong.
    """

    population: int
    drawn: int
    seed: int
    confidence: float
    wrong_at_most: int
    share_at_most: float


class Verification(msgspec.Struct, frozen=True):
    """What came out: what `--json` prints, but for `shown`.

    `checked` are the emails that were looked for and whose contact could be read: those as
    recorded, those different and those on no page. `not_read` are those of contacts that could not
    be read. Of emails in doubt nothing is recorded: they are as wanted or not. `others` counts
    emails that were seen beside a sample's.
    """

    run_dir: str
    checked: int
    as_recorded: int
    different: int
    not_listed: int
    not_read: int
    as_wanted: int
    not_as_wanted: int
    others: dict[str, int]
    sample: Bound | None
    calls: dict[str, int]
    stopped_by: str | None
    exit_code: int
    shown: tuple[Shown, ...] = ()


def began_line(ts: str, asked: Asked, price: Price) -> bytes:
    """Return the line that begins a verification."""
    told = msgspec.to_builtins(asked) | msgspec.to_builtins(price)
    return _line({"event": "verify", "ts": ts, **told})


def finding_line(
    ts: str, claim: Claim, finding: Finding, found: Deal | None, call: int | None, code: str | None
) -> bytes:
    """Return the line about one email: what the ledger says of it and what the CRM shows.

    Args:
        ts: now.
        claim: what the ledger says.
        finding: what the look said.
        found: the deal that the CRM shows.
        call: the read that told it.
        code: why it could not be read.
    """
    told = {
        "event": "finding",
        "ts": ts,
        "finding": finding,
        "row": claim.row,
        "contact_id": claim.contact_id,
        "message_id": claim.message_id,
        "recorded_deal_id": claim.deal_id,
        "recorded_status": claim.status,
        "recorded_code": claim.code,
        "recorded_ts": claim.ts,
        "call": call,
    }
    if finding in (Finding.NOT_LISTED, Finding.NOT_READ):
        told["code"] = code
    else:
        told["found_deal_id"] = found.id if found else None
    return _line(told)


def ended_line(ts: str, counts: dict[str, int]) -> bytes:
    """Return the line that ends a verification, whatever ended it."""
    return _line({"event": "verified", "ts": ts, "counts": counts})


class _Call(msgspec.Struct):
    event: str
    op: str = ""
    attempt: int = 1


def calls_since(path: Path, start: int) -> dict[str, int]:
    """Count the requests whose lines stand behind a place of a file, by kind.

    Args:
        path: the file.
        start: bytes to pass over.
    """
    calls = {"read": 0, "lookup": 0, "retried": 0}
    decoder = msgspec.json.Decoder(_Call)
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            told = decoder.decode(line)
            sent = {"call": 1, "unsent": -1}.get(told.event, 0)
            if told.op in calls:
                calls[told.op] += sent
                calls["retried"] += sent * (told.attempt > 1)
    return calls


def _line(content: dict[str, object]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
