"""Matches of wanted and fetched emails, found by set operations.

Two emails are a pair if they share a key, their times differ by a few minutes at most, and their
subjects fit. The key is the address of the sender, or those of the recipients if the sender is one
of the org's own, together with a span of time: so a wanted email is compared with a handful of
emails, however many there are. Rows are numbered, and the tables of pairs hold numbers only.

Nearly all pairs are alone: neither email has another. Of the others, those of one message with
wanted emails of one deal are decided by a query; the rest by a function, which gets them in groups
that are connected.
"""
# ruff: noqa: S608

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping import match_queries
from bulklink.mapping.database import DamagedTableError, Database
from bulklink.mapping.email_files import damaged_parquet_error
from bulklink.mapping.load import macro_statements
from bulklink.mapping.match_lists import HAS_DEAL, IS_EMAIL, FetchedList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bulklink.mapping.interrupt import PlanningStop

COMPARING_EMAILS = "Comparing the emails"
FINDING_SHIFT = "Comparing the times"
_SPAN = 8
"""Span of time in a key, in multiples of the greatest difference of times."""
_LEAST_SPAN_SECONDS = 60
_MAX_SHIFT_SECONDS = 26 * 3600
"""Greatest difference between two time zones."""
_SHIFT_EMAILS = 50_000
"""Wanted emails from which a shift is computed."""
_LEAST_CUT = 4
"""Characters that must be left of a subject that was cut short."""
_LEAST_MARGIN_SECONDS = 5
"""Seconds beyond the usual differences of times that a pair without rivals may have at least."""
_MIN_USUAL_PAIRS = 100
"""Pairs without rivals that show how times usually differ."""
_MAX_GROUP_PAIRS = 200
"""Pairs of a group that is decided; of a larger one, none is clear."""
_ELLIPSIS = "[. …]+$"
_DEAL_HASH = "hash(deal_id, deal_name) AS deal"


class ContestedPair(NamedTuple):
    """A pair of which one email at least has others.

    Args:
        wanted: row of the wanted email.
        fetched: row of the fetched email.
        deal_id: deal that the email is wanted on.
        message_id: id of the fetched email.
        owner_id: user whose mailbox holds it.
        time: time of the fetched email, in seconds since 1970; None if unknown.
        content: what copies of one email in several mailboxes have in common.
        is_usual_time: whether their times differ as those of most emails do.
        subject: how much their subjects agree; more is better.
        people: how much sender and recipients agree; more is better.
    """

    wanted: int
    fetched: int
    deal_id: str
    message_id: str
    owner_id: str | None
    time: int | None
    content: str
    is_usual_time: bool
    subject: int
    people: int


class Decision(NamedTuple):
    """What is decided about the pairs of a group.

    Args:
        matched: pairs of a fetched and a wanted row that are one email.
        repeated: wanted rows that repeat another one.
        unclear: wanted rows about which the pairs do not decide, with the reason.
    """

    matched: Sequence[tuple[int, int]]
    repeated: Sequence[int]
    unclear: Mapping[int, str]


class MatchCounts(msgspec.Struct, frozen=True):
    """Counts of a match; the wanted emails are each in one of the first four.

    Args:
        matched: wanted emails that are a fetched email.
        repeated: wanted emails that repeat another one with the same deal.
        ambiguous: wanted emails that may be several fetched emails, or that compete for one.
        missing: wanted emails without a fetched one, by reason.
        already: rows of matched emails that are on the wanted deal already.
        changes: rows of the mapping by kind, `attach` and `move`.
        unlisted: rows of matched emails left out, because the contact is not on the deal.
        contradictory: rows of matched emails left out, because another row of the same email shows
            another deal.
    """

    matched: int
    repeated: int
    ambiguous: int
    missing: Mapping[str, int]
    already: int
    changes: Mapping[str, int]
    unlisted: int
    contradictory: int


class DealConflict(NamedTuple):
    """Two rows of a list that want one email on different deals."""

    first: int
    second: int


@dataclass(slots=True, kw_only=True)
class EmailMatches:
    """Matches of two lists in a database; the steps are called in their order.

    Args:
        database: holds the tables.
        wanted: file of the wanted emails, as `write_wanted` wrote it.
        fetched: the fetched emails.
        deals: file of the deals by their keys; None if the wanted emails name deals by their ids.
        deals_name: where the deals come from, for messages.
        within: greatest difference of times, in seconds.
        leading_marks: pattern of what replies and forwards put before a subject.
        stop: reports the stages.
    """

    database: Database
    wanted: Path
    fetched: FetchedList
    deals: Path | None
    deals_name: str
    within: int
    leading_marks: str
    stop: PlanningStop
    _usual: tuple[int, int] = field(init=False, default=(0, 0))
    _possible: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self._possible = -self.within, self.within

    def load(self, *, has_header_ids: bool, is_comparable: bool) -> None:
        """Load what the emails are compared by.

        Args:
            has_header_ids: whether both lists have the ids in the headers of emails.
            is_comparable: whether the wanted emails have people, subject and time.

        Raises:
            BadFileError: if two deals have one key.
        """
        self.stop.begin_stage(COMPARING_EMAILS)
        macros = (*macro_statements(), *match_queries.subject_macros(self.leading_marks))
        for statement in (*match_queries.TYPES, *macros):
            self.database.execute(statement)
        rows = self.fetched.rows_sql(self.database)
        self.database.execute(f"CREATE VIEW fetched_rows AS {rows}")
        self.database.execute(f"CREATE VIEW fetched AS FROM fetched_rows WHERE {IS_EMAIL}")
        self._load_deals()
        headers = match_queries.HEADER_PAIRS if has_header_ids else match_queries.NO_HEADER_PAIRS
        for statement in (headers, *match_queries.LOAD):
            self.database.execute(statement)
        if not is_comparable:
            self.database.execute("DELETE FROM wanted_compared")
            self.database.execute("DELETE FROM wanted_several")

    def _load_deals(self) -> None:
        relation = self.database.files.read_parquet(self.wanted)
        if self.deals is None:
            self.database.execute(
                f"CREATE VIEW wanted AS SELECT *, {_DEAL_HASH} FROM {relation} WHERE {HAS_DEAL}"
            )
            return
        deals = self.database.files.read_parquet(self.deals)
        used = f"{deals} SEMI JOIN {relation} AS used USING (deal_key)"
        for key, *ids in self.database.rows(
            f"SELECT deal_key, min(deal_id), max(deal_id) FROM {used} GROUP BY deal_key"
            " HAVING min(deal_id) <> max(deal_id) ORDER BY min(n) LIMIT 1"
        ):
            raise BadFileError(
                f"Two deals have the key {key!r}: {' and '.join(ids)}.",
                where=self.deals_name,
                advice="Remove it from the wrong one.",
            )
        self.database.execute(
            "CREATE TABLE deals AS SELECT deal_key, min(deal_id) AS deal_id,"
            f" min(deal_name) AS deal_name FROM {deals} GROUP BY deal_key"
        )
        self.database.execute(
            f"CREATE VIEW wanted AS SELECT *, {_DEAL_HASH} FROM ("
            "SELECT w.* REPLACE (d.deal_id AS deal_id,"
            f" coalesce(d.deal_name, w.deal_name) AS deal_name) FROM {relation} AS w"
            " LEFT JOIN deals AS d USING (deal_key) WHERE w.deal_key IS NOT NULL)"
        )

    def shift_counts(self, step: int) -> dict[int, int]:
        """Count the emails that both lists have once by the difference of their times.

        Args:
            step: differences are multiples of it, in seconds.
        """
        self.stop.begin_stage(FINDING_SHIFT)
        (emails,) = self.database.fetch_one("SELECT count(*) FROM wanted_keys")
        sample = max(1, int(emails) // _SHIFT_EMAILS)
        query = match_queries.SHIFT_COUNTS.format(
            sample=sample, step=step, within=self.within, most=_MAX_SHIFT_SECONDS
        )
        return {int(number): int(count) for number, count in self.database.rows(query)}

    def find_pairs(self, shift: int) -> None:
        """Find all pairs.

        Args:
            shift: seconds to add to the times of the wanted emails.
        """
        self.stop.begin_stage(COMPARING_EMAILS)
        span = max(_LEAST_SPAN_SECONDS, _SPAN * self.within)
        for statement in match_queries.PAIRS:
            self.database.execute(
                statement.format(
                    shift=shift,
                    within=self.within,
                    span=span,
                    cut=_LEAST_CUT,
                    ellipsis=_ELLIPSIS,
                )
            )
        count, quantiles = self.database.fetch_one(match_queries.USUAL)
        if count >= _MIN_USUAL_PAIRS:
            *usual, earliest, latest = quantiles
            self._usual = usual[0], usual[1]
            margin = max(_LEAST_MARGIN_SECONDS, latest - earliest)
            self._possible = earliest - margin, latest + margin

    def decide(self, decide: Callable[[Sequence[ContestedPair]], Decision]) -> None:
        """Decide about the pairs that are not alone.

        Args:
            decide: called with the pairs of each group, in no particular order.
        """
        earliest, latest = self._usual
        self.database.execute(match_queries.DECIDED)
        self.database.execute(match_queries.RATED.format(earliest=earliest, latest=latest))
        for statement in match_queries.REPEATED:
            self.database.execute(statement.format(most=_MAX_GROUP_PAIRS))
        self._label_groups()
        self.database.execute(match_queries.CROWDS.format(most=_MAX_GROUP_PAIRS))
        self.database.insert_all("decided", self._decisions(decide))
        earliest, latest = self._possible
        for statement in match_queries.UNUSUAL:
            self.database.execute(statement.format(earliest=earliest, latest=latest))
        for statement in match_queries.RESULT:
            self.database.execute(statement)

    def _label_groups(self) -> None:
        """Give connected pairs one label, the lowest of their wanted rows."""
        self.database.execute(match_queries.LABELS)
        changed = 1
        while changed:
            for statement in match_queries.SPREAD_LABELS:
                self.database.execute(statement)
            (changed,) = self.database.fetch_one(match_queries.CHANGED_LABELS)
            self.database.execute("DROP TABLE labels")
            self.database.execute("ALTER TABLE new_labels RENAME TO labels")

    def _decisions(
        self, decide: Callable[[Sequence[ContestedPair]], Decision]
    ) -> Iterator[tuple[str | None, str | None, str]]:
        rows = self.database.rows(match_queries.CONTESTED)
        for _, members in groupby(rows, key=itemgetter(0)):
            decision = decide([ContestedPair(*row[1:]) for row in members])
            for fetched, wanted in decision.matched:
                yield str(fetched), str(wanted), "matched"
            for wanted in decision.repeated:
                yield None, str(wanted), "repeated"
            for wanted, reason in decision.unclear.items():
                yield None, str(wanted), reason

    def counts(self) -> MatchCounts:
        """Return the counts of the result."""
        outcomes = dict(self.database.rows(match_queries.OUTCOMES))
        changes = dict(self.database.rows("SELECT change, count(*) FROM result GROUP BY change"))
        missing = dict(self.database.rows("SELECT reason, count(*) FROM missing GROUP BY reason"))
        matched, repeated = outcomes.pop("matched", 0), outcomes.pop("repeated", 0)
        return MatchCounts(
            matched=matched,
            repeated=repeated,
            ambiguous=sum(outcomes.values()),
            missing=dict(sorted(missing.items())),
            already=changes.pop("already", 0),
            unlisted=changes.pop("unlisted", 0),
            contradictory=changes.pop("contradictory", 0),
            changes={"attach": changes.get("attach", 0), "move": changes.get("move", 0)},
        )

    def conflicts(self, limit: int) -> tuple[list[DealConflict], int]:
        """Return rows that want one email on different deals, the first ones, and how many do.

        Args:
            limit: maximum number of those returned.
        """
        rows = self.database.rows(f"{match_queries.CONFLICTS} LIMIT {limit}")
        (emails,) = self.database.fetch_one(f"SELECT count(*) FROM ({match_queries.CONFLICTS})")
        return [DealConflict(int(first), int(second)) for first, second in rows], int(emails)

    def contradiction(self) -> tuple[int, int] | None:
        """Return the first fetched rows that show one email on different deals; None if none do."""
        for first, second in self.database.rows(match_queries.CONTRADICTION):
            return int(first), int(second)
        return None

    def write_mapping(self, path: Path, file_type: str) -> None:
        """Write the rows of the mapping.

        Args:
            path: an existing, empty file.
            file_type: `csv` or `parquet`.
        """
        self.database.execute(
            self.database.files.copy(match_queries.MAPPING_ROWS, path, f"FORMAT {file_type}")
        )

    def mapping_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the mapping."""
        return self.database.rows(match_queries.MAPPING_ROWS)

    def ambiguous_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield a row for each fetched email that an ambiguous wanted email may be."""
        return self.database.rows(match_queries.AMBIGUOUS_ROWS)

    def missing_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the wanted emails without a fetched one, in the order of their list."""
        return self.database.rows(match_queries.MISSING_ROWS)


@contextmanager
def open_matches(
    wanted: Path,
    fetched: FetchedList,
    deals: Path | None,
    *,
    deals_name: str,
    within: int,
    leading_marks: str,
    stop: PlanningStop,
    memory: str,
) -> Iterator[EmailMatches]:
    """Open a database for the matches of two lists; blocks.

    Args:
        wanted: file of the wanted emails, as `write_wanted` wrote it; its folder holds temporary
            files.
        fetched: the fetched emails.
        deals: file of the deals by their keys; None if the wanted emails name deals by their ids.
        deals_name: where the deals come from, for messages.
        within: greatest difference of times, in seconds.
        leading_marks: pattern of what replies and forwards put before a subject.
        stop: interrupts the work.
        memory: DuckDB's memory limit, such as `512MB`; it spills the rest to disk.
    """
    database = Database(wanted.parent / "spill", stop, memory=memory, adjustable=True)
    matches = EmailMatches(
        database=database,
        wanted=wanted,
        fetched=fetched,
        deals=deals,
        deals_name=deals_name,
        within=within,
        leading_marks=leading_marks,
        stop=stop,
    )
    with closing(database):
        try:
            yield matches
        except DamagedTableError:
            raise damaged_parquet_error(fetched.name) from None
