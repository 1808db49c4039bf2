"""Matches of wanted and fetched emails, found by set operations.

Two emails are a pair if they share a key, their times differ by a few minutes at most, and their
subjects fit. The key is the address of the sender, or those of the recipients if the sender is one
of the org's own, together with a span of time: so a wanted email is compared with a handful of
emails, however many there are. Rows are numbered, and the tables of pairs hold numbers only.

Nearly all pairs are alone: neither email has another. The others are decided by a function, which
gets them in groups that are connected.
"""
# ruff: noqa: S608

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bulklink.duckdb_sql import literal
from bulklink.errors import BadFileError
from bulklink.mapping.database import DamagedTableError, Database
from bulklink.mapping.email_files import damaged_parquet_error
from bulklink.mapping.load import macro_statements
from bulklink.mapping.match_lists import HAS_DEAL, FetchedList
from bulklink.models import NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
_MIN_USUAL_PAIRS = 100
"""Pairs without rivals that show how times usually differ."""
_USUAL_QUANTILES = "[0.005, 0.995]"
_MAX_GROUP_PAIRS = 200
"""Pairs of a group that is decided; of a larger one, none is clear."""
_ELLIPSIS = "[. …]+$"


class ContestedPair(NamedTuple):
    """A pair of which one email at least has others.

    Args:
        wanted: row of the wanted email.
        fetched: row of the fetched email.
        deal_id: deal that the email is wanted on.
        message_id: id of the fetched email.
        owner_id: user whose mailbox holds it.
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
    """

    matched: int
    repeated: int
    ambiguous: int
    missing: Mapping[str, int]
    already: int
    changes: Mapping[str, int]
    unlisted: int


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

    def load(self, *, has_header_ids: bool, is_comparable: bool) -> None:
        """Load what the emails are compared by.

        Args:
            has_header_ids: whether both lists have the ids in the headers of emails.
            is_comparable: whether the wanted emails have people, subject and time.

        Raises:
            BadFileError: if a key stands for two deals.
        """
        self.stop.begin_stage(COMPARING_EMAILS)
        for statement in (*macro_statements(), *_macros(self.leading_marks)):
            self.database.execute(statement)
        self.database.execute(f"CREATE VIEW fetched AS FROM {self.fetched.relation(self.database)}")
        self._load_deals()
        headers = _HEADER_PAIRS if has_header_ids else _NO_HEADER_PAIRS
        for statement in (headers, *_LOAD):
            self.database.execute(statement)
        if not is_comparable:
            self.database.execute("DELETE FROM wanted_keys")

    def _load_deals(self) -> None:
        relation = self.database.files.read_parquet(self.wanted)
        if self.deals is None:
            self.database.execute(f"CREATE VIEW wanted AS FROM {relation} WHERE {HAS_DEAL}")
            return
        deals = self.database.files.read_parquet(self.deals)
        used = f"{deals} SEMI JOIN {relation} AS used USING (deal_key)"
        for key, *ids in self.database.rows(
            f"SELECT deal_key, min(deal_id), max(deal_id) FROM {used} GROUP BY deal_key"
            " HAVING min(deal_id) <> max(deal_id) ORDER BY min(n) LIMIT 1"
        ):
            raise BadFileError(
                f"The key {key!r} stands for two deals, {' and '.join(ids)}.",
                where=self.deals_name,
                advice="Take it away from the deal that is not meant.",
            )
        self.database.execute(
            "CREATE TABLE deals AS SELECT deal_key, any_value(deal_id) AS deal_id,"
            f" any_value(deal_name) AS deal_name FROM {deals} GROUP BY deal_key"
        )
        self.database.execute(
            "CREATE VIEW wanted AS SELECT w.* REPLACE (d.deal_id AS deal_id,"
            f" coalesce(d.deal_name, w.deal_name) AS deal_name) FROM {relation} AS w"
            " LEFT JOIN deals AS d USING (deal_key) WHERE w.deal_key IS NOT NULL"
        )

    def shift_counts(self, step: int) -> dict[int, int]:
        """Count the emails that both lists have once by the difference of their times.

        Args:
            step: differences are multiples of it, in seconds.
        """
        self.stop.begin_stage(FINDING_SHIFT)
        (emails,) = self.database.fetch_one("SELECT count(*) FROM wanted_keys")
        sample = max(1, int(emails) // _SHIFT_EMAILS)
        query = _SHIFT_COUNTS.format(
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
        for statement in _PAIRS:
            self.database.execute(
                statement.format(
                    shift=shift,
                    within=self.within,
                    span=span,
                    cut=_LEAST_CUT,
                    ellipsis=_ELLIPSIS,
                )
            )
        count, quantiles = self.database.fetch_one(_USUAL)
        self._usual = tuple(quantiles) if count >= _MIN_USUAL_PAIRS else (0, 0)

    def decide(self, decide: Callable[[Sequence[ContestedPair]], Decision]) -> None:
        """Decide about the pairs that are not alone.

        Args:
            decide: called with the pairs of each group, in no particular order.
        """
        self.database.execute(_DECIDED)
        self._label_groups()
        self.database.execute(_CROWDS.format(most=_MAX_GROUP_PAIRS))
        self.database.insert_all("decided", self._decisions(decide))
        for statement in _RESULT:
            self.database.execute(statement)

    def _label_groups(self) -> None:
        """Give connected pairs one label, the lowest of their wanted rows."""
        self.database.execute("CREATE TABLE labels AS SELECT DISTINCT w, w AS label FROM contested")
        changed = 1
        while changed:
            for statement in _SPREAD_LABELS:
                self.database.execute(statement)
            (changed,) = self.database.fetch_one(_CHANGED_LABELS)
            self.database.execute("DROP TABLE labels")
            self.database.execute("ALTER TABLE new_labels RENAME TO labels")

    def _decisions(
        self, decide: Callable[[Sequence[ContestedPair]], Decision]
    ) -> Iterator[tuple[str | None, str | None, str]]:
        earliest, latest = self._usual
        rows = self.database.rows(_CONTESTED.format(earliest=earliest, latest=latest))
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
        outcomes = dict(self.database.rows(_OUTCOMES))
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
            changes={"attach": changes.get("attach", 0), "move": changes.get("move", 0)},
        )

    def conflicts(self, limit: int) -> list[DealConflict]:
        """Return rows that want one email on different deals, the first ones.

        Args:
            limit: maximum number of them.
        """
        rows = self.database.rows(f"{_CONFLICTS} LIMIT {limit}")
        return [DealConflict(int(first), int(second)) for first, second in rows]

    def write_mapping(self, path: Path, file_type: str) -> None:
        """Write the rows of the mapping.

        Args:
            path: an existing, empty file.
            file_type: `csv` or `parquet`.
        """
        self.database.execute(self.database.files.copy(_MAPPING_ROWS, path, f"FORMAT {file_type}"))

    def mapping_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the mapping."""
        return self.database.rows(_MAPPING_ROWS)

    def ambiguous_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield a row for each fetched email that an ambiguous wanted email may be."""
        return self.database.rows(_AMBIGUOUS_ROWS)

    def missing_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the wanted emails without a fetched one, in the order of their list."""
        return self.database.rows(_MISSING_ROWS)


def _macros(leading_marks: str) -> Iterable[str]:
    """Build the macros that make subjects comparable."""
    spaces = (
        "contains(subject, '  ') OR contains(subject, chr(9)) OR contains(subject, chr(10))"
        " OR starts_with(subject, ' ') OR ends_with(subject, ' ')"
    )
    marks = "regexp_matches(subject, '[\u0300-\u036f]')"
    yield (
        f"CREATE MACRO uniform_subject(subject) AS lower(CASE WHEN {spaces}"
        r" THEN trim(regexp_replace(nfc_normalize(subject), '\s+', ' ', 'g'))"
        f" WHEN {marks} THEN nfc_normalize(subject) ELSE subject END)"
    )
    yield (
        "CREATE MACRO subject_key(uniform) AS CASE WHEN contains(uniform, ':')"
        f" OR uniform[1] IN ('[', '(') THEN regexp_replace(uniform, {literal(leading_marks)}, '')"
        " ELSE uniform END"
    )
    yield (
        "CREATE MACRO people(recipients, copied) AS list_sort(list_distinct(list_concat("
        "coalesce(recipients, []), coalesce(copied, []))))"
    )
    yield "CREATE MACRO addresses(cell) AS string_split(nullif(lower(cell), ''), '; ')"


_HEADER_PAIRS = """
CREATE TABLE header_pairs AS SELECT w.n AS w, f.n AS f, hash(f.message_id) AS m
FROM fetched AS f JOIN wanted AS w ON f.header_id = w.header_id AND w.deal_id IS NOT NULL
"""
_NO_HEADER_PAIRS = "CREATE TABLE header_pairs (w BIGINT, f BIGINT, m UBIGINT)"


_OWN = """
CREATE TABLE own AS SELECT DISTINCT hash(sender) AS address
FROM fetched WHERE direction = 'sent' AND sender IS NOT NULL
"""
#: What the emails of a list are compared by. `hash` of NULL is a number like any other.
_COMPARED = """
CREATE TABLE {name}_compared AS SELECT n, {columns}, time,
    CASE direction WHEN 'received' THEN 1 WHEN 'sent' THEN 2 END::UTINYINT AS direction,
    CASE WHEN subject IS NOT NULL THEN hash(lower(subject)) END AS s,
    CASE WHEN NOT is_own THEN hash(sender) END AS sender,
    CASE WHEN is_own IS NOT false THEN list_transform({recipients}, lambda a: hash(a)) END
        AS recipients,
    CASE WHEN is_own IS NOT false THEN list_transform({copied}, lambda a: hash(a)) END AS copied
FROM (SELECT *, CASE WHEN sender IS NOT NULL THEN hash(sender) IN (SELECT address FROM own) END
    AS is_own FROM {source})
"""
_SENDER_KEYS = """
CREATE TABLE {name}_keys AS SELECT n, m, time, direction, s, sender AS address
FROM {name}_compared WHERE sender IS NOT NULL AND {condition}
"""
_RECIPIENT_KEYS = """
INSERT INTO {name}_keys SELECT n, m, time, direction, s, address
FROM (SELECT n, m, time, direction, s, unnest({people}) AS address FROM {name}_compared
    WHERE {people} IS NOT NULL AND {condition})
WHERE address NOT IN (SELECT address FROM own)
"""
#: A wanted email that names its contact is compared with the emails of that contact.
_CONTACT_KEYS = """
INSERT INTO {name}_keys
SELECT n, m, time, direction, s, contact AS address FROM {name}_compared WHERE {condition}
"""


def _load_statements() -> Iterator[str]:
    yield _OWN
    yield _COMPARED.format(
        name="fetched",
        columns="hash(message_id) AS m, hash(contact_id) AS contact",
        recipients="addresses(recipients)",
        copied="addresses(copied)",
        source="fetched WHERE time IS NOT NULL"
        " AND hash(message_id) NOT IN (SELECT m FROM header_pairs)",
    )
    yield _COMPARED.format(
        name="wanted",
        columns="NULL::UBIGINT AS m,"
        " CASE WHEN contact_id IS NOT NULL THEN hash(contact_id) END AS contact",
        recipients="recipients",
        copied="copied",
        source="wanted WHERE time IS NOT NULL AND deal_id IS NOT NULL"
        " AND n NOT IN (SELECT w FROM header_pairs)",
    )
    has_contacts = "(SELECT count(contact) > 0 FROM wanted_compared)"
    for name, by_address, by_contact in (
        ("fetched", "true", has_contacts),
        ("wanted", "contact IS NULL", "contact IS NOT NULL"),
    ):
        yield _SENDER_KEYS.format(name=name, condition=by_address)
        yield _RECIPIENT_KEYS.format(name=name, people="recipients", condition=by_address)
        # Copies matter only if all recipients are the org's own.
        alone = f"{by_address} AND n NOT IN (SELECT n FROM {name}_keys)"
        yield _RECIPIENT_KEYS.format(name=name, people="copied", condition=alone)
        yield _CONTACT_KEYS.format(name=name, condition=by_contact)
        yield f"DROP TABLE {name}_compared"


_LOAD = tuple(_load_statements())
_SHIFT_COUNTS = """
SELECT step, count(*) FROM (
    SELECT f.time - w.time AS difference, round(difference / {step})::BIGINT AS step
    FROM (
        SELECT address, s, any_value(time) AS time FROM fetched_keys
        WHERE s % {sample} = 0 GROUP BY address, s HAVING min(m) = max(m)
    ) AS f
    JOIN (
        SELECT address, s, any_value(time) AS time FROM wanted_keys
        WHERE s % {sample} = 0 GROUP BY address, s HAVING min(n) = max(n)
    ) AS w ON f.address = w.address AND f.s = w.s
) WHERE abs(difference) <= {most} AND abs(difference - step * {step}) <= {within}
GROUP BY step
"""
_PAIRS = (
    # A wanted email is in one span of time or two, a fetched one in one.
    "CREATE TABLE wanted_spans AS SELECT * EXCLUDE (time), time + {shift} AS time,"
    " unnest(list_distinct([(time + {shift} - {within}) // {span}, (time + {shift} + {within})"
    " // {span}])) AS span FROM wanted_keys",
    "CREATE TABLE close AS SELECT w.n AS w, f.n AS f, f.m, (f.time - w.time)::INTEGER AS seconds,"
    " w.s = f.s AS is_same FROM fetched_keys AS f JOIN wanted_spans AS w"
    " ON f.address = w.address AND f.time // {span} = w.span"
    " WHERE f.time - w.time BETWEEN -{within} AND {within}"
    " AND (w.direction = f.direction) IS NOT false",
    "DROP TABLE wanted_spans",
    "DROP TABLE wanted_keys",
    "CREATE TABLE unlike AS SELECT w, f, any_value(m) AS m, any_value(seconds) AS seconds"
    " FROM close WHERE is_same IS NOT true GROUP BY w, f",
    # A subject that one system cut short is the beginning of the other.
    """
CREATE TABLE fitting AS SELECT w, f, m, seconds,
    CASE WHEN found IS NULL OR sought IS NULL THEN 'no-subject' WHEN found = sought THEN 'key'
        WHEN length(least(found, sought)) >= {cut}
            AND (starts_with(found, sought) OR starts_with(sought, found)) THEN 'cut'
        END AS agreement
FROM (
    SELECT w, f, m, seconds, subject_key(uniform_subject(fetched.subject)) AS found
    FROM fetched JOIN unlike ON unlike.f = fetched.n
) AS half
JOIN (
    SELECT n, regexp_replace(subject_key(uniform_subject(subject)), '{ellipsis}', '') AS sought
    FROM wanted SEMI JOIN unlike ON unlike.w = wanted.n
) AS others ON half.w = others.n
WHERE agreement IS NOT NULL
""",
    "CREATE VIEW pairs AS SELECT w, f, m, seconds, 'subject' AS agreement FROM close WHERE is_same"
    " UNION ALL FROM fitting"
    " UNION ALL SELECT w, f, m, 0 AS seconds, 'header' AS agreement FROM header_pairs",
    "CREATE TABLE crowded_wanted AS SELECT w FROM pairs GROUP BY w HAVING min(m) <> max(m)",
    "CREATE TABLE crowded_messages AS SELECT m FROM pairs GROUP BY m HAVING min(w) <> max(w)",
    "CREATE TABLE contested AS SELECT DISTINCT w, f, m, seconds, agreement FROM pairs"
    " WHERE w IN (FROM crowded_wanted) OR m IN (FROM crowded_messages)",
    "CREATE VIEW lone AS SELECT * FROM pairs"
    " WHERE w NOT IN (FROM crowded_wanted) AND m NOT IN (FROM crowded_messages)",
)
_USUAL = f"""
SELECT count(*), quantile_disc(seconds, {_USUAL_QUANTILES}) FROM lone WHERE agreement = 'subject'
"""
_DECIDED = "CREATE TABLE decided (f BIGINT, w BIGINT, outcome VARCHAR)"
_SPREAD_LABELS = (
    "CREATE TABLE message_labels AS SELECT m, min(label) AS label FROM contested"
    " JOIN labels USING (w) GROUP BY m",
    "CREATE TABLE near_labels AS SELECT w, min(label) AS label FROM contested"
    " JOIN message_labels USING (m) GROUP BY w",
    # The label of the label: a chain of any length takes few rounds.
    "CREATE TABLE new_labels AS SELECT near_labels.w, least(near_labels.label, further.label)"
    " AS label FROM near_labels JOIN near_labels AS further ON further.w = near_labels.label",
    "DROP TABLE message_labels",
    "DROP TABLE near_labels",
)
_CHANGED_LABELS = """
SELECT count(*) FROM labels JOIN new_labels USING (w) WHERE labels.label <> new_labels.label
"""
_CROWDS = """
INSERT INTO decided SELECT DISTINCT NULL::BIGINT, w, 'several-emails' FROM contested
JOIN labels USING (w) WHERE label IN (
    SELECT label FROM contested JOIN labels USING (w) GROUP BY label HAVING count(*) > {most})
"""
_CONTESTED = """
SELECT label, w, f, wanted.deal_id, fetched.message_id, fetched.owner_id,
    hash(fetched.sender, uniform_subject(fetched.subject),
        people(addresses(fetched.recipients), addresses(fetched.copied)))::VARCHAR,
    agreement = 'header' OR seconds BETWEEN {earliest} AND {latest},
    CASE agreement WHEN 'header' THEN 3 WHEN 'subject' THEN 3 WHEN 'key' THEN 2 WHEN 'cut' THEN 1
        ELSE 0 END,
    CASE WHEN agreement = 'header' THEN 3 WHEN (wanted.sender = fetched.sender) IS NOT true THEN 0
        WHEN people(wanted.recipients, wanted.copied)
            = people(addresses(fetched.recipients), addresses(fetched.copied)) THEN 3
        WHEN list_has_any(people(wanted.recipients, wanted.copied),
            people(addresses(fetched.recipients), addresses(fetched.copied))) THEN 2 ELSE 1 END
FROM fetched
JOIN (FROM contested JOIN labels USING (w) WHERE w NOT IN (SELECT w FROM decided)) AS close
    ON close.f = fetched.n
JOIN (FROM wanted WHERE n IN (SELECT w FROM contested)) AS wanted ON wanted.n = close.w
ORDER BY label, w, f
"""
_RESULT = (
    "CREATE TABLE matched AS SELECT f, any_value(w) AS w, any_value(m) AS m,"
    " any_value(seconds) AS seconds, any_value(agreement) AS agreement FROM lone GROUP BY f"
    " UNION ALL SELECT decided.f, decided.w, any_value(members.m), any_value(contested.seconds),"
    " any_value(contested.agreement) FROM decided"
    " JOIN (SELECT DISTINCT f, m FROM contested) AS members ON members.f = decided.f"
    " LEFT JOIN contested ON contested.f = decided.f AND contested.w = decided.w"
    " GROUP BY decided.f, decided.w",
    f"""
CREATE TABLE result AS SELECT f, w, seconds, agreement, m,
    wanted.deal_id, wanted.deal_name,
    contains(fetched.candidates, '"id":"' || wanted.deal_id || '"') AS is_candidate,
    CASE WHEN fetched.deal_id = wanted.deal_id THEN 'already'
        WHEN coalesce(fetched.deal_id, '{NO_DEAL}') = '{NO_DEAL}' THEN 'attach'
        ELSE 'move' END AS change
FROM fetched JOIN matched ON matched.f = fetched.n JOIN wanted ON wanted.n = matched.w
""",
    # Of an email under several contacts, those rows are listed whose contact is on the deal.
    """
CREATE TABLE shared AS SELECT f, m, is_candidate, deal_id FROM result WHERE m IN (
    SELECT m FROM result GROUP BY m HAVING min(f) <> max(f))
""",
    """
CREATE TABLE contacts AS SELECT f, m, shared.deal_id, is_candidate, contact_id
FROM fetched JOIN shared ON shared.f = fetched.n
""",
    """
CREATE TABLE on_deal AS SELECT f, m FROM contacts
WHERE is_candidate OR (contact_id, deal_id) IN (
    SELECT (contact_id, deal_id) FROM fetched
    WHERE contact_id IN (SELECT contact_id FROM contacts) AND deal_id IS NOT NULL)
""",
    """
UPDATE result SET change = 'unlisted' WHERE change <> 'already' AND m IN (SELECT m FROM on_deal)
    AND f NOT IN (SELECT f FROM on_deal)
""",
    "CREATE TABLE settled AS SELECT w, any_value(outcome) AS outcome FROM (SELECT w,"
    " 'matched' AS outcome FROM matched UNION SELECT w, outcome FROM decided) GROUP BY w",
    """
CREATE TABLE missing AS SELECT n, CASE WHEN deal_id IS NULL THEN 'unknown-deal'
    WHEN time IS NULL AND header_id IS NULL THEN 'no-time'
    WHEN contact_id IS NULL AND sender IS NULL AND header_id IS NULL THEN 'no-address'
    ELSE 'not-found' END AS reason
FROM wanted WHERE n NOT IN (SELECT w FROM settled)
""",
    """
UPDATE missing SET reason = 'unknown-address' WHERE reason = 'not-found' AND n NOT IN (
    SELECT n FROM (
        SELECT n, hash(unnest(list_append(people(recipients, copied), sender))) AS address
        FROM wanted SEMI JOIN missing USING (n)
    ) WHERE address IN (SELECT address FROM fetched_keys))
""",
    "DROP TABLE fetched_keys",
)
_OUTCOMES = "SELECT outcome, count(*) FROM settled GROUP BY outcome"
_CONFLICTS = """
SELECT min(w), max(w) FROM contested
WHERE w IN (SELECT w FROM decided WHERE outcome = 'several-deals')
GROUP BY m HAVING min(w) <> max(w) ORDER BY min(w), max(w)
"""


def _time_sql(seconds: str) -> str:
    return f"replace(make_timestamp({seconds} * 1000000)::VARCHAR, ' ', 'T') || 'Z'"


_CANDIDATE_COLUMNS = f"""
fetched.contact_id, fetched.owner_id, fetched.owner_name, fetched.message_id, target.deal_id,
target.deal_name, CASE WHEN fetched.deal_id <> '{NO_DEAL}' THEN fetched.deal_id END AS from_deal_id
"""
_REASONS = """
concat_ws('; ', CASE agreement WHEN 'header' THEN 'same id in the header'
    WHEN 'subject' THEN 'same subject' WHEN 'key' THEN 'same subject but for its prefix'
    WHEN 'cut' THEN 'subject cut short' WHEN 'no-subject' THEN 'no subject to compare'
    ELSE 'copy of an email' END,
    CASE WHEN agreement = 'header' THEN NULL WHEN seconds = 0 THEN 'same time'
    WHEN seconds < 0 THEN concat(-seconds, ' s earlier') ELSE concat(seconds, ' s later') END)
"""
_MAPPING_ROWS = f"""
SELECT {_CANDIDATE_COLUMNS},
    CASE change WHEN 'move' THEN '{Op.RELINK}' ELSE '{Op.LINK}' END AS op, change AS kind,
    {_REASONS} AS reasons, fetched.subject, {_time_sql("fetched.time")} AS time, w AS wanted_row
FROM fetched JOIN (FROM result WHERE change IN ('attach', 'move')) AS target
    ON target.f = fetched.n
"""
_AMBIGUOUS_ROWS = f"""
SELECT {_CANDIDATE_COLUMNS}, NULL, CASE WHEN fetched.deal_id = target.deal_id THEN NULL
    WHEN coalesce(fetched.deal_id, '{NO_DEAL}') = '{NO_DEAL}' THEN 'attach' ELSE 'move' END,
    {_REASONS}, fetched.subject, {_time_sql("fetched.time")}, target.n, outcome
FROM fetched
JOIN (FROM contested JOIN decided ON decided.w = contested.w AND outcome LIKE 'several-%') AS close
    ON close.f = fetched.n
JOIN wanted AS target ON target.n = close.w
ORDER BY target.n, fetched.time, fetched.message_id, fetched.contact_id, fetched.owner_id
"""
_MISSING_ROWS = f"""
SELECT n, reason, sender, array_to_string(recipients, '; '), array_to_string(copied, '; '),
    subject, NULL, {_time_sql("time")}, CASE WHEN direction IS NOT NULL THEN direction = 'sent'
    WHEN sender IS NOT NULL THEN hash(sender) IN (SELECT address FROM own) END::VARCHAR,
    header_id, contact_id, deal_id, deal_name, deal_key
FROM wanted JOIN missing USING (n) ORDER BY n
"""


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
