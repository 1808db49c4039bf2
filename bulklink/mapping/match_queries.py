"""Queries that match wanted and fetched emails.

Tables hold numbers: `n` of a row in its list; `w` of a wanted row and `f` of a fetched one; `m`, a
hash of the id of a message; `deal`, one of the id and name of a wanted deal. A message that is
listed under several contacts has several rows.

The view `fetched` has the rows that name an email. That is known of a row whose number is in a
table, so `fetched_rows` finds it without reading the ids, which are most of a file.
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.duckdb_sql import literal
from bulklink.models import NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLEAR = "('matched', 'repeated')"
_USUAL_QUANTILES = "[0.005, 0.995, 0.03, 0.97]"
"""Band of nearly all differences of times, and one that a few wrong pairs do not widen."""


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


#: Texts that tables hold millions of times, as one byte each.
TYPES = (
    "CREATE TYPE agreement AS ENUM ('header', 'subject', 'key', 'cut', 'no-subject')",
    "CREATE TYPE change AS ENUM ('attach', 'move', 'already', 'unlisted', 'contradictory')",
)
HEADER_PAIRS = """
CREATE TABLE header_pairs AS SELECT w.n AS w, f.n AS f, hash(f.message_id) AS m, w.deal
FROM fetched AS f JOIN wanted AS w ON f.header_id = w.header_id AND w.deal_id IS NOT NULL
"""
NO_HEADER_PAIRS = "CREATE TABLE header_pairs (w UINTEGER, f UINTEGER, m UBIGINT, deal UBIGINT)"
WANTED_DEALS = """
CREATE TABLE wanted_deals AS
SELECT deal, any_value(deal_id) AS deal_id, any_value(deal_name) AS deal_name
FROM wanted WHERE deal_id IS NOT NULL GROUP BY deal
"""


_OWN = """
CREATE TABLE own AS SELECT DISTINCT hash(sender) AS address
FROM fetched_rows WHERE direction = 'sent' AND sender IS NOT NULL
"""
#: What the emails of a list are compared by. Nearly all have one key, `address`: their sender, or
#: their only recipient if the sender is one of the org's own.
#: `hash` of NULL is a number like any other.
_COMPARED = """
CREATE TABLE {name}_compared AS SELECT n, {hashed} AS {carried}, time,
    CASE direction WHEN 'received' THEN 1 WHEN 'sent' THEN 2 END::UTINYINT AS direction,
    CASE WHEN subject IS NOT NULL THEN hash(lower(subject)) END AS s, {contact} AS contact,
    CASE WHEN NOT is_own THEN hash(sender)
        WHEN recipient NOT IN (FROM own) THEN recipient END AS address
FROM (
    SELECT *, CASE WHEN sender IS NOT NULL THEN hash(sender) IN (FROM own) END AS is_own,
        {recipient} AS recipient
    FROM {source}
)
"""
#: The other emails have the keys of their recipients that are not the org's own. Copies matter only
#: if there are none.
_SEVERAL_KEYS = """
CREATE TABLE {name}_several AS SELECT * FROM (
    SELECT n, c.{carried}, c.time, c.direction, c.s, hash(unnest({recipients})) AS address
    FROM {rows} JOIN (FROM {name}_compared WHERE address IS NULL AND {condition}) AS c USING (n)
) WHERE address NOT IN (FROM own)
"""
_COPIED_KEYS = """
INSERT INTO {name}_several SELECT * FROM (
    SELECT n, c.{carried}, c.time, c.direction, c.s, hash(unnest({copied})) AS address
    FROM {rows} JOIN (FROM {name}_compared WHERE address IS NULL AND {condition}
        AND n NOT IN (SELECT n FROM {name}_several)) AS c USING (n)
) WHERE address NOT IN (FROM own)
"""
#: A wanted email that names its contact is compared with the emails of that contact.
_KEYS = """
CREATE VIEW {name}_keys AS
SELECT n, {carried}, time, direction, s, address FROM {name}_compared
WHERE address IS NOT NULL AND {condition}
UNION ALL FROM {name}_several
UNION ALL SELECT n, {carried}, time, direction, s, contact AS address FROM {name}_compared
WHERE contact IS NOT NULL
"""
_WANTED = {
    "name": "wanted",
    "rows": "wanted",
    "source": "wanted WHERE time IS NOT NULL AND deal_id IS NOT NULL"
    " AND n NOT IN (SELECT w FROM header_pairs)",
    "carried": "deal",
    "hashed": "deal",
    "contact": "CASE WHEN contact_id IS NOT NULL THEN hash(contact_id) END",
    "condition": "contact IS NULL",
    "recipient": "CASE WHEN len(recipients) = 1 THEN hash(recipients[1]) END",
    "recipients": "recipients",
    "copied": "copied",
}
_FETCHED = {
    "name": "fetched",
    "rows": "fetched_rows",
    "source": "fetched WHERE time IS NOT NULL"
    " AND hash(message_id) NOT IN (SELECT m FROM header_pairs)",
    "carried": "m",
    "hashed": "hash(message_id)",
    "contact": "CASE WHEN (SELECT count(contact) > 0 FROM wanted_compared)"
    " THEN hash(contact_id) END",
    "condition": "true",
    "recipient": "CASE WHEN recipients <> '' AND NOT contains(recipients, ';')"
    " THEN hash(lower(recipients)) END",
    "recipients": "addresses(recipients)",
    "copied": "addresses(copied)",
}
LOAD = (
    WANTED_DEALS,
    _OWN,
    *(
        statement.format_map(names)
        for names in (_WANTED, _FETCHED)
        for statement in (_COMPARED, _SEVERAL_KEYS, _COPIED_KEYS, _KEYS)
    ),
)
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
    """
CREATE TABLE close AS SELECT w.n AS w, f.n AS f, f.m, w.deal,
    (f.time - w.time - {shift})::INTEGER AS seconds, w.s = f.s AS is_same
FROM fetched_keys AS f JOIN (
    SELECT *, (time + {shift} - {within}) // {span} AS span FROM wanted_keys
    UNION ALL SELECT *, (time + {shift} + {within}) // {span} AS span FROM wanted_keys
    WHERE span <> (time + {shift} - {within}) // {span}
) AS w ON f.address = w.address AND f.time // {span} = w.span
WHERE f.time - w.time - {shift} BETWEEN -{within} AND {within}
    AND (w.direction = f.direction) IS NOT false
""",
    "DROP VIEW wanted_keys",
    "DROP TABLE wanted_compared",
    "DROP TABLE wanted_several",
    "CREATE TABLE unlike AS SELECT w, f, any_value(m) AS m, any_value(deal) AS deal,"
    " any_value(seconds) AS seconds FROM close WHERE is_same IS NOT true GROUP BY w, f",
    # A subject that one system cut short is the beginning of the other.
    """
CREATE TABLE fitting AS SELECT w, f, m, deal, seconds,
    CASE WHEN found IS NULL OR sought IS NULL THEN 'no-subject' WHEN found = sought THEN 'key'
        WHEN length(least(found, sought)) >= {cut}
            AND (starts_with(found, sought) OR starts_with(sought, found)) THEN 'cut'
        END::agreement AS agreement
FROM (
    SELECT w, f, m, deal, seconds, subject_key(uniform_subject(fetched_rows.subject)) AS found
    FROM fetched_rows JOIN unlike ON unlike.f = fetched_rows.n
) AS half
JOIN (
    SELECT n, regexp_replace(subject_key(uniform_subject(subject)), '{ellipsis}', '') AS sought
    FROM wanted SEMI JOIN unlike ON unlike.w = wanted.n
) AS others ON half.w = others.n
WHERE agreement IS NOT NULL
""",
    "DROP TABLE unlike",
    "CREATE VIEW pairs AS"
    " SELECT w, f, m, deal, seconds, 'subject'::agreement AS agreement FROM close WHERE is_same"
    " UNION ALL FROM fitting"
    " UNION ALL SELECT w, f, m, deal, 0 AS seconds, 'header'::agreement AS agreement"
    " FROM header_pairs",
    "CREATE TABLE crowded_wanted AS SELECT w FROM pairs GROUP BY w HAVING min(m) <> max(m)",
    "CREATE TABLE crowded_messages AS SELECT m FROM pairs GROUP BY m HAVING min(w) <> max(w)",
    "CREATE TABLE contested AS SELECT DISTINCT w, f, m, deal, seconds, agreement FROM pairs"
    " WHERE w IN (FROM crowded_wanted) OR m IN (FROM crowded_messages)",
    # Several keys give a pair several times.
    "CREATE TABLE lone AS SELECT f, any_value(w) AS w, any_value(m) AS m, any_value(deal) AS deal,"
    " any_value(seconds) AS seconds, any_value(agreement) AS agreement FROM pairs"
    " WHERE w NOT IN (FROM crowded_wanted) AND m NOT IN (FROM crowded_messages) GROUP BY f",
    "DROP VIEW pairs",
    "DROP TABLE close",
    "DROP TABLE fitting",
    "DROP TABLE header_pairs",
    """
CREATE TABLE missing AS SELECT n, CASE WHEN deal_id IS NULL THEN 'unknown-deal'
    WHEN time IS NULL AND header_id IS NULL THEN 'no-time'
    WHEN contact_id IS NULL AND sender IS NULL AND header_id IS NULL THEN 'no-address'
    ELSE 'not-found' END AS reason
FROM wanted WHERE n NOT IN (SELECT w FROM lone) AND n NOT IN (SELECT w FROM contested)
""",
    """
CREATE TABLE sought AS
SELECT n, hash(unnest(list_append(people(recipients, copied), sender))) AS address
FROM wanted SEMI JOIN missing USING (n)
""",
    """
UPDATE missing SET reason = 'unknown-address' WHERE reason = 'not-found' AND n NOT IN (
    SELECT n FROM sought WHERE address IN (
        SELECT address FROM fetched_keys WHERE address IN (SELECT address FROM sought)))
""",
    "DROP VIEW fetched_keys",
    "DROP TABLE fetched_compared",
    "DROP TABLE fetched_several",
)
USUAL = f"""
SELECT count(*), quantile_disc(seconds, {_USUAL_QUANTILES}) FROM lone WHERE agreement = 'subject'
"""
DECIDED = "CREATE TABLE decided (f UINTEGER, w UINTEGER, outcome VARCHAR)"
#: How much the emails of each contested pair agree; more is better.
RATED = """
CREATE TABLE rated AS SELECT w, f, m, deal,
    agreement = 'header' OR seconds BETWEEN {earliest} AND {latest} AS is_usual,
    CASE agreement WHEN 'header' THEN 3 WHEN 'subject' THEN 3 WHEN 'key' THEN 2 WHEN 'cut' THEN 1
        ELSE 0 END AS subjects,
    CASE WHEN agreement = 'header' THEN 3 WHEN (wanted.sender = fetched.sender) IS NOT true THEN 0
        -- Nearly all lists are equal as they are.
        WHEN wanted.recipients = fetched.recipients
            AND wanted.copied IS NOT DISTINCT FROM fetched.copied THEN 3
        WHEN people(wanted.recipients, wanted.copied) = people(fetched.recipients, fetched.copied)
            THEN 3
        WHEN list_has_any(people(wanted.recipients, wanted.copied),
            people(fetched.recipients, fetched.copied)) THEN 2 ELSE 1 END AS people
FROM (
    SELECT n, sender, addresses(recipients) AS recipients, addresses(copied) AS copied
    FROM fetched_rows SEMI JOIN contested ON contested.f = n
) AS fetched
JOIN contested ON contested.f = fetched.n
JOIN (SELECT n, sender, recipients, copied FROM wanted SEMI JOIN contested ON contested.w = n)
    AS wanted ON wanted.n = contested.w
"""
#: Messages of which all wanted emails have one deal, and no other message: the best is it, and the
#: others repeat it. `choose_messages` would decide so too; there are many of them.
REPEATED = (
    """
CREATE TABLE repeated AS SELECT m, arg_max(w, (is_usual, subjects, people, -w::BIGINT)) AS best
FROM rated GROUP BY m
HAVING min(deal) = max(deal) AND count(*) <= {most} AND NOT bool_or(w IN (FROM crowded_wanted))
""",
    "INSERT INTO decided SELECT DISTINCT f, best, 'matched' FROM rated JOIN repeated USING (m)",
    "INSERT INTO decided SELECT DISTINCT NULL::UINTEGER, w, 'repeated' FROM rated"
    " JOIN repeated USING (m) WHERE w <> best",
    "CREATE TABLE open AS FROM rated ANTI JOIN repeated USING (m)",
    "DROP TABLE rated",
    "DROP TABLE repeated",
)
LABELS = "CREATE TABLE labels AS SELECT DISTINCT w, w AS label FROM open"
SPREAD_LABELS = (
    "CREATE TABLE message_labels AS SELECT m, min(label) AS label FROM open"
    " JOIN labels USING (w) GROUP BY m",
    "CREATE TABLE near_labels AS SELECT w, min(label) AS label FROM open"
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
INSERT INTO decided SELECT DISTINCT NULL::UINTEGER, w, 'several-emails' FROM open
JOIN labels USING (w) WHERE label IN (
    SELECT label FROM open JOIN labels USING (w) GROUP BY label HAVING count(*) > {most})
"""
CONTESTED = """
SELECT label, w, f, wanted_deals.deal_id, fetched_rows.message_id, fetched_rows.owner_id,
    fetched_rows.time, hash(fetched_rows.sender, uniform_subject(fetched_rows.subject),
        people(addresses(fetched_rows.recipients), addresses(fetched_rows.copied)))::VARCHAR,
    is_usual, subjects, people
FROM fetched_rows
JOIN (FROM open JOIN labels USING (w) WHERE w NOT IN (SELECT w FROM decided)) AS close
    ON close.f = fetched_rows.n
JOIN wanted_deals USING (deal)
ORDER BY label, w, f
"""
_IS_UNUSUAL = "agreement <> 'header' AND seconds NOT BETWEEN {earliest} AND {latest}"
#: A lone pair whose times differ as those of no other pair do may be an email that the CRM lacks,
#: and its neighbour.
UNUSUAL = (
    f"INSERT INTO contested SELECT w, f, m, deal, seconds, agreement FROM lone WHERE {_IS_UNUSUAL}",
    f"INSERT INTO decided SELECT DISTINCT NULL::UINTEGER, w, 'unusual-time' FROM lone"
    f" WHERE {_IS_UNUSUAL}",
    f"DELETE FROM lone WHERE {_IS_UNUSUAL}",
)
RESULT = (
    "ALTER TABLE lone RENAME TO matched",
    "INSERT INTO matched"
    " SELECT decided.f, decided.w, any_value(members.m), any_value(targets.deal),"
    " any_value(contested.seconds), any_value(contested.agreement) FROM decided"
    " JOIN (SELECT DISTINCT f, m FROM contested) AS members ON members.f = decided.f"
    " JOIN (SELECT DISTINCT w, deal FROM contested) AS targets ON targets.w = decided.w"
    " LEFT JOIN contested ON contested.f = decided.f AND contested.w = decided.w"
    " GROUP BY decided.f, decided.w",
    f"""
CREATE TABLE result AS SELECT f, w, seconds, agreement, m, deal,
    hash(contact_id, wanted_deals.deal_id) AS place,
    hash(contact_id, owner_id, message_id) AS email,
    contains(candidates, '"id":"' || wanted_deals.deal_id || '"') AS is_candidate,
    CASE WHEN fetched_rows.deal_id = wanted_deals.deal_id THEN 'already'
        WHEN coalesce(fetched_rows.deal_id, '{NO_DEAL}') = '{NO_DEAL}' THEN 'attach'
        ELSE 'move' END::change AS change
FROM fetched_rows JOIN matched ON matched.f = n JOIN wanted_deals USING (deal)
""",
    # A file that was put together from several has emails twice: with one deal, or with two.
    "CREATE TABLE repeated_emails AS SELECT email, min(f) AS first,"
    " min(before) <> max(before) AS is_contradictory"
    f" FROM (SELECT email, f, hash(coalesce(fetched_rows.deal_id, '{NO_DEAL}')) AS before"
    " FROM fetched_rows JOIN (FROM result WHERE email IN ("
    " SELECT email FROM result GROUP BY email HAVING min(f) <> max(f))) AS repeated ON f = n)"
    " GROUP BY email",
    "DELETE FROM result WHERE f NOT IN (SELECT first FROM repeated_emails)"
    " AND email IN (SELECT email FROM repeated_emails WHERE NOT is_contradictory)",
    "UPDATE result SET change = 'contradictory'"
    " WHERE email IN (SELECT email FROM repeated_emails WHERE is_contradictory)",
    # Of an email under several contacts, those rows are listed whose contact is on the deal.
    """
CREATE TABLE shared AS SELECT f, m, is_candidate, place FROM result WHERE m IN (
    SELECT m FROM result GROUP BY m HAVING min(f) <> max(f))
""",
    """
CREATE TABLE places AS SELECT DISTINCT hash(contact_id, deal_id) AS place
FROM fetched_rows WHERE deal_id IS NOT NULL AND place IN (SELECT place FROM shared)
""",
    "CREATE TABLE on_deal AS SELECT f, m FROM shared WHERE is_candidate OR place IN (FROM places)",
    """
UPDATE result SET change = 'unlisted' WHERE change IN ('attach', 'move')
    AND m IN (SELECT m FROM on_deal) AND f NOT IN (SELECT f FROM on_deal)
""",
)
OUTCOMES = """
SELECT 'matched', count(DISTINCT w) FROM matched
UNION ALL SELECT outcome, count(DISTINCT w) FROM decided WHERE outcome <> 'matched' GROUP BY outcome
"""
CONFLICTS = """
SELECT min(w), max(w) FROM contested
WHERE w IN (SELECT w FROM decided WHERE outcome = 'several-deals')
GROUP BY m HAVING min(w) <> max(w) ORDER BY min(w), max(w)
"""
CONTRADICTION = """
SELECT min(f), max(f) FROM result WHERE change = 'contradictory' GROUP BY email ORDER BY min(f)
LIMIT 1
"""


def _time_sql(seconds: str) -> str:
    return f"replace(make_timestamp({seconds} * 1000000)::VARCHAR, ' ', 'T') || 'Z'"


_CANDIDATE_COLUMNS = f"""
contact_id, owner_id, owner_name, message_id, wanted_deals.deal_id, wanted_deals.deal_name,
CASE WHEN fetched_rows.deal_id <> '{NO_DEAL}' THEN fetched_rows.deal_id END AS from_deal_id
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
    CASE change WHEN 'move' THEN '{Op.RELINK}' ELSE '{Op.LINK}' END AS op, change::VARCHAR AS kind,
    {_REASONS} AS reasons, subject, {_time_sql("time")} AS time, w AS wanted_row
FROM fetched_rows JOIN (FROM result WHERE change IN ('attach', 'move')) AS target ON target.f = n
JOIN wanted_deals USING (deal)
"""
AMBIGUOUS_ROWS = f"""
SELECT {_CANDIDATE_COLUMNS}, NULL,
    CASE WHEN fetched_rows.deal_id = wanted_deals.deal_id THEN NULL
    WHEN coalesce(fetched_rows.deal_id, '{NO_DEAL}') = '{NO_DEAL}' THEN 'attach' ELSE 'move' END,
    {_REASONS}, subject, {_time_sql("time")}, close.w, outcome
FROM fetched_rows
JOIN (FROM contested JOIN decided ON decided.w = contested.w AND outcome NOT IN {_CLEAR}) AS close
    ON close.f = n
JOIN wanted_deals USING (deal)
ORDER BY close.w, time, message_id, contact_id, owner_id
"""
MISSING_ROWS = f"""
SELECT n, reason, sender, array_to_string(recipients, '; '), array_to_string(copied, '; '),
    subject, NULL, {_time_sql("time")}, CASE WHEN direction IS NOT NULL THEN direction = 'sent'
    WHEN sender IS NOT NULL THEN hash(sender) IN (SELECT address FROM own) END::VARCHAR,
    header_id, contact_id, deal_id, deal_name, deal_key
FROM wanted JOIN missing USING (n) ORDER BY n
"""
