"""Job options: defaults, allowed ranges, limits of editions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from enum import EnumType, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.decoding import convert
from bulklink.engine.failure_limit import MaxFailures
from bulklink.engine.outage import DEFAULT_MAX_OUTAGE
from bulklink.errors import UsageError
from bulklink.mapping.input.rows import Rows, to_mappings
from bulklink.mapping.schema import HiddenRows
from bulklink.models import Op
from bulklink.zoho.requests import MAX_MESSAGES_PER_CALL

if TYPE_CHECKING:
    from bulklink.mapping.input.rows import Mappings
else:
    Mappings = tuple[str, ...]  # as run.json records them

_MAX_CREDITS = 10**12
MAX_OUTAGE = 7 * 86_400.0
"""Maximum seconds to wait during an outage."""
MAX_LOAD_SECONDS = 7 * 86_400.0
"""Maximum seconds of a load test."""
_MAX_AGE = 3650 * 86_400.0
"""Maximum age of deals that were read before, in seconds."""
_MAX_WITHIN = 3600.0
MAX_SKIPPED_LINES = 1_000_000
_RANGES: Mapping[str, tuple[float, float]] = {
    "batch_size": (1, MAX_MESSAGES_PER_CALL),
    "concurrency": (1, 1000),
    "read_pages": (1, 100_000),
    "settle_after": (0, 3600),
    "outage": (0, MAX_OUTAGE),
    "max_age": (0, _MAX_AGE),
    "duration": (0.001, MAX_LOAD_SECONDS),
    "warm_up": (0, MAX_LOAD_SECONDS),
    "within": (0, _MAX_WITHIN),
    "max_credits": (1, _MAX_CREDITS),
    "credits_per_day": (1, _MAX_CREDITS),
    "reserve_credits": (0, _MAX_CREDITS),
    "skip_lines": (0, MAX_SKIPPED_LINES),
    "canary": (0, 10_000),
}
MAX_RATE = 100_000
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_UNIT_MEGABYTES = {"MB": 1, "MIB": 1, "GB": 1000, "GIB": 1024}
_MIN_MEMORY_MB = 64


def check_ranges(options: Mapping[str, Any]) -> None:
    """Refuse numbers that are out of range.

    Args:
        options: values by the names of `Job`; None is not set.

    Raises:
        UsageError: if a number is out of range.
    """
    for name, (minimum, maximum) in _RANGES.items():
        value = options.get(name)
        if value is not None and not (_is_number(value) and minimum <= value <= maximum):
            raise _invalid_value(name, value, f"Use a number from {minimum:,} to {maximum:,}.")
    rate = options.get("rate")
    if rate is not None and not (_is_number(rate) and 0 < rate <= MAX_RATE):
        raise _invalid_value("rate", rate, f"Use a number above 0, {MAX_RATE:,} at most.")
    daily, reserve = options.get("credits_per_day"), options.get("reserve_credits") or 0
    if daily is not None and reserve >= daily:
        raise UsageError(
            f"{reserve:,} of {count_of(daily, 'credit')} a day are reserved for others: none can be"
            " spent.",
            where=Advice("{}, {}", Keyword("credits_per_day"), Keyword("reserve_credits")),
            advice="Reserve less, or omit one of them.",
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_memory(text: str) -> str:
    """Parse an amount of memory into DuckDB's notation.

    Args:
        text: such as 512MB or 2 GiB, at least 64MB.

    Raises:
        UsageError: if it is not an amount of at least 64MB.
    """
    match = re.fullmatch(r"(\d{1,6})\s*(MB|MIB|GB|GIB)", str(text).strip().upper())
    if match is None or int(match[1]) * _UNIT_MEGABYTES[match[2]] < _MIN_MEMORY_MB:
        raise UsageError(
            f"{text!r} is not a size such as 512MB, of at least {_MIN_MEMORY_MB}MB.",
            where="memory",
            advice="Write it as 512MB or 2GiB.",
        )
    return f"{match[1]}{match[2].replace('I', 'i')}"


def parse_duration(value: float | str, setting: str = "outage") -> float:
    """Parse a duration into seconds.

    Args:
        value: seconds, or a text such as 90, 30s, 5m, 1h or 7d.
        setting: name of the setting, for errors.

    Raises:
        UsageError: if it is not a duration.
    """
    if _is_number(value):
        return float(value)
    pattern = r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhd]?)"
    match = re.fullmatch(pattern, str(value).strip().lower(), re.ASCII)
    if match is None:
        raise UsageError(
            f"{value!r} is not a time such as 30s, 5m, 1h or 7d.",
            where=setting,
            advice="Write it as 30s, 5m, 1h or 7d; 0 is off.",
        )
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def _invalid_value(name: str, value: object, advice: str) -> UsageError:
    return UsageError(f"{value!r} is not a valid value for {name}.", where=name, advice=advice)


MIXED = "mixed"
"""The op of a run whose rows each have their own."""


class Edition(StrEnum):
    """Editions of Zoho CRM that have the API calls for links."""

    STANDARD = "standard"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"
    ZOHO_ONE = "zoho-one"
    ULTIMATE = "ultimate"
    CRM_PLUS = "crm-plus"


class GroupBy(StrEnum):
    """What the emails of one link call have in common."""

    CONTACT_AND_OWNER = "contact,owner"
    CONTACT = "contact"


class WhenCreditsOut(StrEnum):
    """What a run does when credits run out: stop, to be resumed, or wait."""

    STOP = "stop"
    WAIT = "wait"


class OnInvalid(StrEnum):
    """What a job does with refused rows: stop before anything is sent, or leave them out."""

    STOP = "stop"
    SKIP = "skip"


class EditionLimits(NamedTuple):
    """Zoho's API limits of an edition.

    Args:
        max_in_flight: calls that an app may have active at once.
        org_credits: credits of the org in 24 hours, without users.
        user_credits: further credits for each licensed user.
        max_credits: maximum credits of the org; None is no limit.
    """

    max_in_flight: int
    org_credits: int
    user_credits: int
    max_credits: int | None


EDITION_LIMITS = {
    Edition.STANDARD: EditionLimits(10, 50_000, 250, 100_000),
    Edition.PROFESSIONAL: EditionLimits(15, 50_000, 500, 3_000_000),
    Edition.ENTERPRISE: EditionLimits(20, 50_000, 1_000, 5_000_000),
    Edition.ZOHO_ONE: EditionLimits(20, 50_000, 1_000, 5_000_000),
    Edition.ULTIMATE: EditionLimits(25, 50_000, 2_000, None),
    Edition.CRM_PLUS: EditionLimits(25, 50_000, 2_000, None),
}
DEFAULT_MAX_IN_FLIGHT = 10


def _to_org_id(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _to_sheet(name: object) -> str:
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise TypeError("a sheet is a name or a number")
    return str(name)


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "mappings": to_mappings,
    "op": Op,
    "sheet": _to_sheet,
    "hidden_rows": HiddenRows,
    "on_invalid": OnInvalid,
    "group_by": GroupBy,
    "edition": Edition,
    "expect_org": _to_org_id,
    "when_credits_out": WhenCreditsOut,
    "run_dir": Path,
    "runs_dir": Path,
    "memory": parse_memory,
    "outage": parse_duration,
}


_TYPE_ADVICE = {"max_failures": "Use MaxFailures(count=50) or MaxFailures(percent=5)."}
_TEXTS = (
    *("delimiter", "quote", "escape", "encoding", "sheet"),
    *("columns", "preset", "defaults", "only", "keep"),
)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job: mappings and what to do with them.

    Each option has the name of a command-line option, with `_`. Enum values and paths may be given
    as text: `op="link"`.

    Args:
        mappings: paths, `-` for standard input, or rows: a DataFrame of pandas or polars, an Arrow
            table or stream, or an iterable of dicts. Several paths and frames in a tuple are one
            mapping.
        op: operation for every row; None uses the mapping's column `op`.
        format: `csv` or `jsonl`; None detects it from name and content.
        delimiter: CSV delimiter; None detects it.
        quote: CSV quote character, or `none`; None is `"`, or detects it.
        escape: CSV escape character before quotes in a cell; None means that quotes are doubled.
        skip_lines: lines, or rows of a sheet, to skip above the headers.
        encoding: encoding of text files; None is UTF-8.
        sheet: name of a workbook's sheet, or its number among the visible sheets, from 1; None is
            the first visible one.
        hidden_rows: include or skip hidden rows of a sheet; None refuses such a sheet.
        columns: (column, header) pairs that rename headers.
        preset: `zoho` also accepts the headers of Zoho's own exports; None accepts only bulklink's.
        defaults: (column, value) pairs for missing values.
        only: (header, value) pairs; rows that do not match all of them are left out. A value of
            None matches every cell that is not empty.
        keep: headers of the user's own columns to keep in the run folder; None keeps all. Columns
            that are sent are always kept.
        allow_round_ids: accept ids that look rounded by a spreadsheet.
        on_invalid: stop at refused rows, or skip them.
        batch_size: maximum messages per call, 1 to 20.
        group_by: what the emails of one link call have in common. By contact, several owners
            share a call: Zoho's API schema allows it, but its documentation does not show it.
            Unlinks are always grouped by contact and owner.
        single_endpoint: send a batch of one to the single-email endpoint.
        names: send names as well as ids, and look up missing ones.
        concurrency: maximum calls in flight; None uses the limit of the edition.
        edition: the org's edition; None uses the org's licence.
        rate: maximum calls per second; None is no limit.
        memory: memory limit of planning, such as `512MB`.
        run_dir: run folder, new or empty; None creates one below `runs_dir`.
        runs_dir: folder that contains the run folders.
        sync: flush the ledger to disk before each call; False is for load runs.
        yes: change an org that is not a sandbox without asking.
        wait_for_org: wait until another run that is sent to the org from this machine has ended.
        expect_org: id that the org must have; None accepts any.
        read_back: settle emails in doubt by reading their links back; False leaves them in doubt.
        read_pages: maximum pages of a contact's emails to read.
        settle_after: seconds to wait after a call before trusting a read that shows no change.
        outage: seconds to wait while no call is answered, or a text such as `5m`; 0 does not wait.
        snapshot: read the deal that each email is on before changing it; None does so for unlinks
            and relinks, and for links if the canary shows that this is cheaper.
        accept_no_put_back: also relink emails whose deal is unknown beforehand, which could not be
            put back.
        max_failures: failures that an invocation accepts; None stops it if the first 20 emails
            all failed, or 25 % of at least 200.
        max_credits: maximum requests of an invocation to the API host; None is no limit.
        credits_per_day: maximum requests of all runs on the org from this machine in 24 hours.
        reserve_credits: credits to leave for others.
        when_credits_out: when credits run out, stop or wait.
        canary: messages to send and read back before the rest; 0 is none, None is 20 of more than
            200.
    """

    mappings: Mappings
    op: Op | None = None
    format: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    skip_lines: int = 0
    encoding: str | None = None
    sheet: str | None = None
    hidden_rows: HiddenRows | None = None
    columns: tuple[tuple[str, str], ...] = ()
    preset: str | None = None
    defaults: tuple[tuple[str, str], ...] = ()
    only: tuple[tuple[str, str | None], ...] = ()
    keep: tuple[str, ...] | None = None
    allow_round_ids: bool = False
    on_invalid: OnInvalid = OnInvalid.STOP
    batch_size: int = MAX_MESSAGES_PER_CALL
    group_by: GroupBy = GroupBy.CONTACT_AND_OWNER
    single_endpoint: bool = False
    names: bool = True
    concurrency: int | None = None
    edition: Edition | None = None
    rate: float | None = 50.0
    memory: str = "512MB"
    run_dir: Path | None = None
    runs_dir: Path = Path("runs")
    sync: bool = True
    yes: bool = False
    wait_for_org: bool = False
    expect_org: str | None = None
    read_back: bool = True
    read_pages: int = 200
    settle_after: float = 10.0
    outage: float = DEFAULT_MAX_OUTAGE
    snapshot: bool | None = None
    accept_no_put_back: bool = False
    max_failures: MaxFailures | None = None
    max_credits: int | None = None
    credits_per_day: int | None = None
    reserve_credits: int = 0
    when_credits_out: WhenCreditsOut = WhenCreditsOut.STOP
    canary: int | None = None

    def __post_init__(self) -> None:
        """Convert values and refuse invalid ones.

        Raises:
            UsageError: if a value is invalid.
        """
        for name, converter in _CONVERTERS.items():
            value = getattr(self, name)
            if value is not None:
                msgspec.structs.force_setattr(self, name, _convert(name, converter, value))
        for field in msgspec.structs.fields(self):
            if field.name != "mappings":
                value = _check_type(field.name, getattr(self, field.name), field.type)
                msgspec.structs.force_setattr(self, field.name, value)
        for name in _TEXTS:
            _check_text(name, getattr(self, name))
        check_ranges(msgspec.structs.asdict(self))

    @property
    def inputs(self) -> tuple[str | Rows, ...]:
        """The mappings as paths and rows."""
        return to_mappings(self.mappings)

    @property
    def mapping_names(self) -> tuple[str, ...]:
        """Names of the mappings: paths, and what rows are, such as `polars.DataFrame`."""
        return tuple(item if isinstance(item, str) else item.name for item in self.inputs)

    @property
    def op_name(self) -> str:
        """The op as a run shows it: link, unlink, relink or mixed."""
        return self.op or MIXED

    @property
    def by_contact(self) -> bool:
        """Whether several owners of a contact share a link call."""
        return self.group_by is GroupBy.CONTACT

    def needs_snapshot(self, op: Op, *, links_first_read: bool = False) -> bool:
        """Return whether the deal that an email is on is read before an operation changes it.

        Args:
            op: the operation.
            links_first_read: the run's choice for links, if the job does not decide it.
        """
        if self.snapshot is None:
            return links_first_read if op is Op.LINK else True
        return self.snapshot

    def plan_settings(self, ops: Collection[str]) -> dict[str, Any]:
        """Return the options that change what is sent: with the rows, they make the digest.

        Args:
            ops: operations of the plan's messages.
        """
        return {
            "batch_size": self.batch_size,
            "group_by": self.group_by,
            "single_endpoint": self.single_endpoint,
            "names": self.names,
            "snapshot": [
                "auto" if self.snapshot is None and op is Op.LINK else op
                for op in Op
                if op in ops and self.snapshot is not False
            ],
            "accept_no_put_back": self.accept_no_put_back,
        }

    def max_in_flight(self, paid_type: str | None = None) -> int:
        """Return the maximum calls in flight, by option, edition or the org's licence."""
        if self.concurrency is not None:
            return self.concurrency
        edition = self.edition or parse_edition(paid_type)
        return EDITION_LIMITS[edition].max_in_flight if edition else DEFAULT_MAX_IN_FLIGHT


def _convert(name: str, converter: Callable[[Any], Any], value: object) -> Any:
    try:
        return converter(value)
    except (TypeError, ValueError):
        advice = ""
        if isinstance(converter, EnumType):
            advice = f"Use one of: {', '.join(converter)}."
        raise _invalid_value(name, value, advice) from None


def _check_type(name: str, value: object, kind: Any) -> object:
    """Return a value in its own type: a run folder with any other could not be read again."""
    try:
        return convert(value, kind)
    except msgspec.ValidationError as error:
        advice = _TYPE_ADVICE.get(name, f"{error}.".replace("null", "None"))
        raise _invalid_value(name, value, advice) from None


def _check_text(name: str, value: object) -> None:
    """Refuse text that is not UTF-8: bytes of a command line outside the locale's encoding."""
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise UsageError(
            "The value has bytes that are not text in the encoding of this locale.",
            where=name,
            advice="Type it in a terminal of the same encoding, or put it into a job file.",
        ) from None


def parse_edition(paid_type: str | None) -> Edition | None:
    """Return the edition that an org's `paid_type` names; None if unknown."""
    name = (paid_type or "").lower().replace(" ", "-").replace("_", "-").removeprefix("zoho-crm-")
    return next((edition for edition in Edition if name == edition), None)
