"""Changes that a sealed plan makes to fetched emails, by previous and new deal."""
# ruff: noqa: S608

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bulklink.duckdb_sql import literal
from bulklink.html_pages.report.plan_model import (
    DealOrigin,
    DealOrigins,
    MoveCount,
    NamedRecord,
    PlanComparison,
)
from bulklink.mapping.compare import CHANGES, comparison_result_sql
from bulklink.mapping.database import Database
from bulklink.models import NO_DEAL

MAX_MOVES_LISTED = 25
"""Maximum pairs of deals to list: those with the most emails."""
MAX_ORIGINS_LISTED = 3
"""Maximum previous deals to list for each deal."""


def collect_plan_comparison(
    database: Database, deal_ids: Sequence[str], *, full: bool
) -> PlanComparison | None:
    """Return the changes of a plan to fetched emails; None if it was not compared.

    Args:
        database: has the table `planned`.
        deal_ids: ids of the deals that the report lists.
        full: whether to include ids and names.
    """
    known, unknown = database.fetch_one("SELECT count(fetched), count(*) FROM planned")
    if not known:
        return None
    for statement in _STATEMENTS:
        database.execute(statement)
    results = Counter(dict(database.rows(_SELECT_RESULTS)))
    return PlanComparison(
        results=results,
        unknown=unknown - known,
        moves=tuple(_move(*row) for row in database.rows(_SELECT_MOVES)) if full else (),
        total_moves=database.fetch_one(_COUNT_MOVES)[0],
        origins=_origins(database, deal_ids, full=full),
    )


def _record(deal_id: str, name: str | None, *, full: bool) -> NamedRecord | None:
    return NamedRecord(deal_id, name) if full and deal_id != NO_DEAL else None


def _move(
    from_id: str, from_name: str | None, to_id: str, to_name: str | None, emails: int
) -> MoveCount:
    return MoveCount(
        from_deal=_record(from_id, from_name, full=True),
        to_deal=_record(to_id, to_name, full=True),
        emails=emails,
    )


def _origins(database: Database, deal_ids: Sequence[str], *, full: bool) -> tuple[DealOrigins, ...]:
    """Return the previous deals of each deal's emails."""
    if not deal_ids:
        return ()
    right = dict.fromkeys(deal_ids, 0)
    others = dict.fromkeys(deal_ids, 0)
    largest: dict[str, list[DealOrigin]] = {deal_id: [] for deal_id in deal_ids}
    query = _SELECT_ORIGINS.format(deals=", ".join(map(literal, deal_ids)))
    for deal_id, from_id, name, emails, origins in database.rows(query):
        if from_id == deal_id:
            right[deal_id] = emails
        else:
            record = _record(from_id, name, full=full)
            origin = DealOrigin(record=record, linked=from_id == NO_DEAL, emails=emails)
            largest[deal_id].append(origin)
            others[deal_id] = origins - len(largest[deal_id])
    return tuple(
        DealOrigins(right=right[deal], largest=tuple(largest[deal]), others=others[deal])
        for deal in deal_ids
    )


_RESULT = comparison_result_sql(op="op", present="fetched", wanted="wanted", guard="guard")
_STATEMENTS = (
    f"CREATE TABLE compared AS SELECT *, {_RESULT} AS result FROM (SELECT op, guard, fetched, "
    f"coalesce(deal, '{NO_DEAL}') AS wanted FROM planned WHERE fetched IS NOT NULL)",
    # The name that is sent takes precedence over the fetched one.
    "CREATE TABLE deal_names AS SELECT id, coalesce(min(sent), min(fetched)) AS name FROM ("
    "SELECT deal AS id, deal_name AS sent, NULL AS fetched FROM planned "
    "UNION ALL SELECT fetched, NULL, fetched_name FROM planned) GROUP BY id",
)
_SELECT_RESULTS = "SELECT result, count(*) FROM compared GROUP BY result"
_SELECT_MOVES = f"""
SELECT fetched, from_names.name, wanted, to_names.name, emails
FROM (
    SELECT fetched, wanted, count(*) AS emails FROM compared WHERE result IN {CHANGES}
    GROUP BY fetched, wanted ORDER BY emails DESC, fetched, wanted LIMIT {MAX_MOVES_LISTED}
) AS most
LEFT JOIN deal_names AS from_names ON from_names.id = fetched
LEFT JOIN deal_names AS to_names ON to_names.id = wanted
ORDER BY emails DESC, fetched, wanted
"""
_COUNT_MOVES = f"""
SELECT count(*) FROM (SELECT DISTINCT fetched, wanted FROM compared WHERE result IN {CHANGES})
"""
_SELECT_ORIGINS = f"""
SELECT wanted, fetched, name, emails, origins
FROM (
    SELECT wanted, fetched, count(*) AS emails, fetched = wanted AS is_right,
        row_number() OVER ranked AS place, count(*) OVER (PARTITION BY wanted, is_right) AS origins
    FROM compared
    WHERE wanted IN ({{deals}}) AND result IN ('right', 'moved', 'linked')
    GROUP BY wanted, fetched
    WINDOW ranked AS (PARTITION BY wanted, fetched = wanted ORDER BY count(*) DESC, fetched)
)
LEFT JOIN deal_names ON deal_names.id = fetched
WHERE is_right OR place <= {MAX_ORIGINS_LISTED}
ORDER BY wanted, place
"""
