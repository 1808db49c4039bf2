"""The same rows give the same plan and the same refused rows in any form."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bulklink.mapping.input.python_cells import python_cell
from bulklink.mapping.input.rows import to_mappings
from tests.mapping.forms import FORMS, FRAMES, TEXTS
from tests.mapping.planner import LINK, MIXED, MappingPlanner, PlannedMapping, as_csv

if TYPE_CHECKING:
    from pathlib import Path

    from bulklink.mapping.schema import MappingOptions
    from tests.mapping.forms import Records

ROUGH = settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["\x01f12", "\x01n", "a\x1fb", "\0", '"', "a,b\r\nc", "=1+1", "'", "NaN", "null", " x "]
)
DIGITS = st.sampled_from(["1", "22", "5843104000000424162", "18446744073709551616", "007"])
TEXT_ID = DIGITS | st.sampled_from(["x", "", " 3", "'4", '="5"', "zcrm_6", "1.0", "5.84E+18"])
NUMBER_ID = st.sampled_from([1, 22, 5843104000000424162, 2**63 - 1])
ID = st.sampled_from([TEXT_ID, NUMBER_ID])
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
OWN_COLUMNS = {
    "text": TEXT,
    "whole": st.integers(-(2**63), 2**63 - 1),
    "decimal": st.floats(allow_infinity=True, allow_nan=True),
    "truth": st.booleans(),
    "day": st.dates(date(1, 1, 1)),
    "moment": INSTANTS,
    "instant": INSTANTS.map(lambda moment: moment.replace(tzinfo=UTC)),
    "clock": st.times(),
    "duration": st.timedeltas(timedelta(days=-1000), timedelta(days=1000)),
    "price": st.decimals(-(10**6), 10**6, places=2),
    "bytes": st.binary(max_size=6),
    "nothing": st.none(),
}


@st.composite
def records(draw: st.DrawFn) -> Records:
    """Return rows whose columns have a type each, as those of a frame have; some cells are None."""
    columns: dict[str, st.SearchStrategy[Any]] = {
        "contact_id": draw(ID),
        "owner_id": draw(ID),
        "message_id": st.sampled_from(["m1", "m2", "m3", "m-4", ""]),
        "deal_id": draw(ID),
        "from_deal_id": st.sampled_from(["none", "5", "5|none", "", None]),
        "op": st.sampled_from(["link", "Unlink", "relink", "drop", ""]),
    }
    chosen = draw(st.lists(st.sampled_from(list(OWN_COLUMNS)), unique=True, max_size=5))
    columns |= {name: OWN_COLUMNS[name] | st.none() for name in chosen}
    drawn = draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=12))
    names = list(columns)  # a drawn dict may have another order
    return [{**{name: row[name] for name in names}, "number": n} for n, row in enumerate(drawn)]


def text_of(value: Any) -> str | None:
    cell = python_cell(value)
    return None if cell is None else cell[1]


def csv_file(rows: Records) -> str:
    """Return the rows as CSV, with the documented texts of values."""
    cells = [[text_of(value) or "" for value in row.values()] for row in rows]
    return as_csv(list(rows[0]), cells, lineterminator="\r\n")


def jsonl_file(rows: Records) -> str:
    """Return the rows as JSON, each value that JSON has as such, the others as texts."""
    return "".join(
        json.dumps({name: json_value(value) for name, value in row.items()}) + "\n" for row in rows
    )


def json_value(value: Any) -> Any:
    is_json = isinstance(value, str | bool | int | float | None) and text_of(value) is not None
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return text_of(value)
    return value if is_json else text_of(value)


def refused(planned: PlannedMapping) -> list[dict[str, str]]:
    """Return the refused rows as in the file, without where they come from."""
    return [
        {name: cell for name, cell in row.items() if name not in ("bulklink_file", "bulklink_line")}
        for row in planned.rejects
    ]


def outcome(planner: MappingPlanner, mappings: Any, options: MappingOptions) -> dict[str, Any]:
    planned = planner.plan_files(to_mappings(mappings), options)
    own = [
        {
            name: cell or None
            for name, cell in row.items()
            if name not in ("bulklink_file", "bulklink_line")
        }
        for row in planned.plan
    ]
    return {
        "digest": planned.digest,
        "messages": planned.messages,
        "counts": (planned.rows, planned.rejected, planned.duplicates),
        "refused": refused(planned),
        "faults": [(f.row, f.reason, f.column, f.raw, f.message) for f in planned.faults],
        "warnings": planned.warnings,
        "plan": own,
    }


@pytest.mark.parametrize("form", [*FORMS, "jsonl"])
@ROUGH
@given(rows=records(), op=st.sampled_from([LINK, MIXED]))
def test_any_rows_are_the_same_as_in_a_csv_file(
    tmp_path: Path, form: str, rows: Records, op: MappingOptions
) -> None:
    if op.op is not None:
        rows = [{name: cell for name, cell in row.items() if name != "op"} for row in rows]
    with closing(MappingPlanner(tmp_path)) as planner:
        expected = outcome(planner, (planner.write(csv_file(rows), "rows.csv"),), op)
        json_path = planner.write(jsonl_file(rows), "rows.jsonl")
        mappings = (json_path,) if form == "jsonl" else FORMS[form](rows)
        assert outcome(planner, mappings, op) == expected


SAMPLE: Records = [
    {
        "contact_id": 5843104000000424162 + n % 2,
        "owner_id": "5843104000000424672",
        "message_id": f"m{n}",
        "deal_id": "x" if n == 3 else "77",
        "Note": ["a\x01b", None, "é\n"][n % 3],
        "Price": 1.0 * n,
        "Sent": datetime(2026, 11, 22, 10, 15, 0, 500_000, UTC),
    }
    for n in range(7)
]


@pytest.mark.parametrize("form", FORMS)
def test_a_sample_is_the_same_as_in_a_csv_file(planner: MappingPlanner, form: str) -> None:
    rows = [*SAMPLE, SAMPLE[0]]
    expected = outcome(planner, (planner.write(csv_file(rows)),), LINK)
    assert expected["counts"] == (8, 1, 1)
    assert outcome(planner, FORMS[form](rows), LINK) == expected


@pytest.mark.parametrize("form", FRAMES)
def test_rows_are_numbered_by_their_place_in_the_frame(planner: MappingPlanner, form: str) -> None:
    planned = planner.plan_files(to_mappings(FRAMES[form](SAMPLE)))
    assert planned.reasons == {4: ("bad-id", "deal_id")}
    (refused_row,) = planned.rejects
    assert refused_row["bulklink_file"].endswith(("DataFrame", "Table", "RecordBatchReader"))
    assert (refused_row["bulklink_row"], refused_row["bulklink_line"]) == ("4", "")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("form", [*(form for form in FORMS if form != "polars-chunks"), "parquet"])
def test_every_value_has_its_documented_text(
    planner: MappingPlanner, form: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    row = {"contact_id": "1", "owner_id": "2", "message_id": "m", "deal_id": "5"}
    row |= {name: value for name, value, _ in TEXTS}
    if form == "parquet":
        parquet.write_table(FORMS["pyarrow"]([row]), planner.folder / "rows.parquet")
        mappings = to_mappings((planner.folder / "rows.parquet",))
    else:
        mappings = to_mappings(FORMS[form]([row]))
    (planned_row,) = planner.plan_files(mappings).plan
    expected = {name: text for name, _, text in TEXTS}
    if form == "parquet":  # which has no durations, but whole numbers
        expected |= {"duration": "93600000000", "negative": "-1500000"}
    assert {name: planned_row[name] or "" for name in expected} == expected
