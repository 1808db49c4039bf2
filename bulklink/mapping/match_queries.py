"""Queries that match wanted and fetched emails.

Tables hold numbers: `n` of a row in its list; `w` of a wanted row and `f` of a fetched one; `m`, a
hash of the id of a message. A message that is listed under several contacts has several rows.
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.duckdb_sql import literal
from bulklink.models import NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Iterator

_USUAL_QUANTILES = "[0.005, 0.995]"


def subject_macros(leading_marks: str) -> Iterator[str]:
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


HEADER_PAIRS = """
CREATE TABLE header_pairs AS SELECT w.n AS w, f.n AS f, hash(f.message_id) AS m
FROM fetched AS f JOIN wanted AS w ON f.header_id = w.header_id AND w.deal_id IS NOT NULL
"""
NO_HEADER_PAIRS = "CREATE TABLE header_pairs (w BIGINT, f BIGINT, m UBIGINT)"


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
_KEYS = """
CREATE TABLE {name}_keys (n BIGINT, m UBIGINT, time BIGINT, direction UTINYINT, s UBIGINT,
    address UBIGINT)
"""
_SENDER_KEYS = """
INSERT INTO {name}_keys SELECT n, m, time, direction, s, sender AS address
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
        yield _KEYS.format(name=name)
        yield _RECIPIENT_KEYS.format(name=name, people="recipients", condition=by_address)
        # Copies matter only if all recipients are the org's own.
        alone = f"{by_address} AND n NOT IN (SELECT n FROM {name}_keys)"
        yield _RECIPIENT_KEYS.format(name=name, people="copied", condition=alone)
        yield _SENDER_KEYS.format(name=name, condition=by_address)
        yield _CONTACT_KEYS.format(name=name, condition=by_contact)
        yield f"DROP TABLE {name}_compared"


LOAD = tuple(_load_statements())
SHIFT_COUNTS = """
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
PAIRS = (
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
USUAL = f"""
SELECT count(*), quantile_disc(seconds, {_USUAL_QUANTILES}) FROM lone WHERE agreement = 'subject'
"""
DECIDED = "CREATE TABLE decided (f BIGINT, w BIGINT, outcome VARCHAR)"
SPREAD_LABELS = (
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
CHANGED_LABELS = """
SELECT count(*) FROM labels JOIN new_labels USING (w) WHERE labels.label <> new_labels.label
"""
CROWDS = """
INSERT INTO decided SELECT DISTINCT NULL::BIGINT, w, 'several-emails' FROM contested
JOIN labels USING (w) WHERE label IN (
    SELECT label FROM contested JOIN labels USING (w) GROUP BY label HAVING count(*) > {most})
"""
CONTESTED = """
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
RESULT = (
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
OUTCOMES = "SELECT outcome, count(*) FROM settled GROUP BY outcome"
CONFLICTS = """
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
MAPPING_ROWS = f"""
SELECT {_CANDIDATE_COLUMNS},
    CASE change WHEN 'move' THEN '{Op.RELINK}' ELSE '{Op.LINK}' END AS op, change AS kind,
    {_REASONS} AS reasons, fetched.subject, {_time_sql("fetched.time")} AS time, w AS wanted_row
FROM fetched JOIN (FROM result WHERE change IN ('attach', 'move')) AS target
    ON target.f = fetched.n
"""
AMBIGUOUS_ROWS = f"""
SELECT {_CANDIDATE_COLUMNS}, NULL, CASE WHEN fetched.deal_id = target.deal_id THEN NULL
    WHEN coalesce(fetched.deal_id, '{NO_DEAL}') = '{NO_DEAL}' THEN 'attach' ELSE 'move' END,
    {_REASONS}, fetched.subject, {_time_sql("fetched.time")}, target.n, outcome
FROM fetched
JOIN (FROM contested JOIN decided ON decided.w = contested.w AND outcome LIKE 'several-%') AS close
    ON close.f = fetched.n
JOIN wanted AS target ON target.n = close.w
ORDER BY target.n, fetched.time, fetched.message_id, fetched.contact_id, fetched.owner_id
"""
MISSING_ROWS = f"""
SELECT n, reason, sender, array_to_string(recipients, '; '), array_to_string(copied, '; '),
    subject, NULL, {_time_sql("time")}, CASE WHEN direction IS NOT NULL THEN direction = 'sent'
    WHEN sender IS NOT NULL THEN hash(sender) IN (SELECT address FROM own) END::VARCHAR,
    header_id, contact_id, deal_id, deal_name, deal_key
FROM wanted JOIN missing USING (n) ORDER BY n
"""
