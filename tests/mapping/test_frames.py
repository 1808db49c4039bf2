"""Frames and rows that cannot be a mapping are refused; the others are, however large."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.input.rows import to_mappings
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.forms import FORMS, FRAMES
from tests.mapping.planner import LINK, UNLINK, MappingPlanner, PlannedMapping

ROW = {"contact_id": "1", "owner_id": "2", "message_id": "m", "deal_id": "5"}
NESTED: list[Any] = []
NESTED.append(NESTED)
GUARDED = MappingOptions(op=Op.RELINK)


def plan(planner: MappingPlanner, mappings: Any, options: MappingOptions = LINK) -> PlannedMapping:
    return planner.plan_files(to_mappings(mappings), options)


@pytest.mark.parametrize("values", [[5.0, 6.0], [None, None], [float("nan"), 5.0]], ids=str)
@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda data: pd.DataFrame(data).astype({"deal_id": "float64"}), "dtype=str"),
        (lambda data: pd.DataFrame(data).astype({"deal_id": "Float64"}), "dtype=str"),
        (lambda data: pl.DataFrame(data, schema_overrides={"deal_id": pl.Float64}), "overrides"),
        (lambda data: pl.DataFrame(data, schema_overrides={"deal_id": pl.Float32}), "overrides"),
        (
            lambda data: pa.table({**data, "deal_id": pa.array(data["deal_id"], pa.float64())}),
            "column_types",
        ),
    ],
    ids=["pandas", "pandas-nullable", "polars", "polars-32", "pyarrow"],
)
def test_a_column_of_ids_that_are_floats_is_refused_whatever_its_values(
    planner: MappingPlanner, make: Any, advice: str, values: list[float | None]
) -> None:
    data = {name: [cell, cell] for name, cell in ROW.items()} | {"deal_id": values}
    with pytest.raises(BadFileError, match="deal_id holds floats") as raised:
        plan(planner, make(data))
    assert advice in raised.value.advice
    assert raised.value.where.endswith(("DataFrame", "Table"))


@pytest.mark.parametrize(
    "make",
    [
        lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.float64())),
        lambda values: pd.Series(pd.Categorical(np.array(values, dtype=float))),
        lambda values: pd.Series(pd.arrays.SparseArray(np.array(values, dtype=float))),
        lambda values: pd.Series(np.array(values, dtype=np.longdouble)),
    ],
    ids=["arrow", "categorical", "sparse", "longdouble"],
)
@pytest.mark.parametrize("values", [[5.0, 6.0], [float("nan"), 5.0]], ids=str)
def test_floats_in_any_form_of_pandas_are_refused_as_ids(
    planner: MappingPlanner, make: Any, values: list[float]
) -> None:
    data = {name: [cell, cell] for name, cell in ROW.items()} | {"deal_id": make(values)}
    with pytest.raises(BadFileError, match="deal_id holds floats") as raised:
        plan(planner, pd.DataFrame(data))
    assert "dtype=str" in raised.value.advice
    assert plan(planner, pd.DataFrame(data), UNLINK).rows == 2  # its deals are not ids to it


def test_decimals_as_ids_are_named_as_such(planner: MappingPlanner) -> None:
    overrides = {"deal_id": pl.Decimal(38, 2)}
    frame = pl.DataFrame([ROW | {"deal_id": Decimal("5.00")}], schema_overrides=overrides)
    with pytest.raises(BadFileError, match=r"numbers with decimals \(DECIMAL\(38,2\)\)"):
        plan(planner, frame)


def test_python_objects_in_a_polars_frame_are_texts_as_elsewhere(planner: MappingPlanner) -> None:
    values = [uuid.UUID(int=7), "line\nbreak", None, 5, True]
    rows = [
        {**ROW, "message_id": f"{place:064x}", "Note": value} for place, value in enumerate(values)
    ]
    notes = pl.Series("Note", values, dtype=pl.Object)
    frame = pl.DataFrame([{k: v for k, v in row.items() if k != "Note"} for row in rows])
    frame = frame.with_columns(notes)
    ids = pl.Series("message_id", [row["message_id"] for row in rows], dtype=pl.Object)
    expected = [row["Note"] for row in plan(planner, rows).plan]
    assert expected == [str(uuid.UUID(int=7)), "line\nbreak", None, "5", "true"]
    for same in (frame, frame.with_columns(ids)):
        assert [row["Note"] for row in plan(planner, same).plan] == expected
        assert plan(planner, same).digest == plan(planner, rows).digest
    only_ids = MappingOptions(op=Op.LINK, keep=("contact_id",))
    hidden = frame.with_columns(pl.Series("Note", [object()] * len(rows), dtype=pl.Object))
    assert plan(planner, hidden, only_ids).messages == len(rows)
    with pytest.raises(BadFileError, match="The value of Note in row 1 is"):
        plan(planner, hidden)


def test_a_column_of_floats_is_accepted_where_it_is_the_users_own(planner: MappingPlanner) -> None:
    assert plan(planner, pd.DataFrame([{**ROW, "deal_id": 5.0}]), UNLINK).messages == 1


@pytest.mark.parametrize("column", ["contact_id", "owner_id", "message_id", "from_deal_id"])
def test_each_column_of_ids_must_not_be_floats(planner: MappingPlanner, column: str) -> None:
    frame = pl.DataFrame([{**ROW, column: 7.0}])
    with pytest.raises(BadFileError, match=f"{column} holds floats"):
        plan(planner, frame, GUARDED)


@pytest.mark.parametrize("values", [[True, False], [["1"], ["2"]]], ids=["truth", "lists"])
def test_a_column_of_ids_of_another_type_is_refused(
    planner: MappingPlanner, values: list[Any]
) -> None:
    frame = pl.DataFrame([ROW, ROW]).with_columns(pl.Series("message_id", values))
    with pytest.raises(BadFileError, match=r"message_id has the type .*; ids are text or whole"):
        plan(planner, frame)


def test_a_float_among_the_objects_of_a_column_refuses_its_row(planner: MappingPlanner) -> None:
    rows = [ROW, {**ROW, "message_id": "n", "deal_id": 5843104000000424162.0}]
    for form in (list(rows), pd.DataFrame(rows, dtype=object)):
        assert plan(planner, form).reasons == {2: ("rounded-id", "deal_id")}


@pytest.mark.parametrize(
    "dtype", ["int64", "uint64", "Int64", "object", "str", "string", "category"]
)
def test_ids_of_pandas_keep_every_digit(planner: MappingPlanner, dtype: str) -> None:
    ids = [5843104000000424162, 9007199254740993]
    frame = pd.DataFrame([ROW, {**ROW, "message_id": "n"}])
    objects: Any = pd.Series(ids, dtype=object)
    frame["deal_id"] = objects.astype(dtype)
    planned = plan(planner, frame)
    assert {message.deal_id for message in planned.sealed_messages} == set(map(str, ids))


@pytest.mark.parametrize("form", [form for form in FORMS if form != "tuple"])
def test_no_rows_are_refused(planner: MappingPlanner, form: str) -> None:
    empty = FORMS[form]([ROW]) if form in FRAMES else FORMS[form]([])
    if form == "batches":
        empty = empty.read_all().slice(0, 0).to_reader()
    elif form in FRAMES:
        empty = empty[:0]
    with pytest.raises(BadFileError, match="There are no rows"):
        plan(planner, empty)


def test_a_frame_without_columns_has_no_rows(planner: MappingPlanner) -> None:
    for frame in (pd.DataFrame(), pl.DataFrame(), pa.table({})):
        with pytest.raises(BadFileError, match="There are no rows"):
            plan(planner, frame)


@pytest.mark.parametrize("form", FORMS)
def test_other_column_names_are_refused_with_the_nearest(
    planner: MappingPlanner, form: str
) -> None:
    row = {("Kontakt" if name == "contact_id" else name): cell for name, cell in ROW.items()}
    with pytest.raises(BadFileError, match="There is no column contact_id"):
        plan(planner, FORMS[form]([row]))
    renamed = MappingOptions(op=Op.LINK, columns=(("contact_id", "Kontakt"),))
    assert plan(planner, FORMS[form]([row]), renamed).messages == 1


def test_two_columns_of_one_name_are_refused(planner: MappingPlanner) -> None:
    frame = pd.DataFrame([[*ROW.values(), "7"]], columns=[*ROW, "Deal ID"])
    repeated = pd.DataFrame([[*ROW.values(), "7"]], columns=[*ROW, "deal_id"])
    table = pa.Table.from_arrays(
        [pa.array([cell]) for cell in (*ROW.values(), "7")], names=[*ROW, "deal_id"]
    )
    for mapping in (frame, repeated, table):
        with pytest.raises(BadFileError, match="Several headers match the column deal_id"):
            plan(planner, mapping)


def test_an_own_column_may_have_the_name_of_another(planner: MappingPlanner) -> None:
    table = pa.Table.from_arrays(
        [pa.array([cell]) for cell in (*ROW.values(), "a", "b")], names=[*ROW, "Note", "Note"]
    )
    (planned_row,) = plan(planner, table).plan
    assert (planned_row["Note"], planned_row["Note_2"]) == ("a", "b")


@pytest.mark.parametrize("form", ["iterator", "batches"])
def test_what_gives_its_rows_once_is_refused_the_second_time(
    planner: MappingPlanner, form: str
) -> None:
    mappings = to_mappings(FORMS[form]([ROW]))
    assert planner.plan_files(mappings).messages == 1
    with pytest.raises(UsageError, match="read before"):
        planner.plan_files(mappings)


@pytest.mark.parametrize("form", ["list", "pandas", "polars", "pyarrow"])
def test_what_can_be_read_again_is(planner: MappingPlanner, form: str) -> None:
    mappings = to_mappings(FORMS[form]([ROW]))
    assert [planner.plan_files(mappings).messages for _ in range(2)] == [1, 1]


def failing_rows() -> Iterator[dict[str, str]]:
    yield ROW
    raise OSError("the database is gone")


def test_the_error_of_an_iterator_surfaces(planner: MappingPlanner) -> None:
    with pytest.raises(OSError, match="the database is gone"):
        plan(planner, failing_rows())


def test_the_error_of_a_stream_surfaces(planner: MappingPlanner) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from pa.Table.from_pylist([ROW]).to_batches()
        raise OSError("the database is gone")

    schema = pa.Table.from_pylist([ROW]).schema
    with pytest.raises(BadFileError, match=r"cannot be read: .*the database is gone") as raised:
        plan(planner, pa.RecordBatchReader.from_batches(schema, batches()))
    assert "Traceback" not in str(raised.value)


class Broken:
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise RuntimeError("no connection")


def test_the_error_of_an_object_without_its_stream_surfaces(planner: MappingPlanner) -> None:
    with pytest.raises(BadFileError, match="RuntimeError: no connection") as raised:
        plan(planner, Broken())
    assert isinstance(raised.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([ROW, ("1", "2")], "Row 2 is a tuple, not a dict"),
        ([("1", "2")], "Row 1 is a tuple, not a dict"),
        ([7], "Row 1 is an int, not a dict"),
        (iter(["mapping.csv"]), "Row 1 is a str, not a dict"),
        (iter([pl.DataFrame([ROW])]), "Row 1 is a polars.DataFrame, not a dict"),
        ([dict([*ROW.items(), (7, "x")])], "Row 1 has the key 7, which is not text"),
        ([ROW, {**ROW, "Note": object()}], "The value of Note in row 2 is an object, which has"),
        ([{**ROW, "Note": {(1, 2): 3}}], "The value of Note in row 1 is a dict, which has no text"),
        ([{**ROW, "\ud800": "x"}], "of a column holds half a surrogate pair"),
        ([{**ROW, "Note": NESTED}], "The value of Note in row 1 is a list, which has no text"),
        ([{**ROW, "Note": 10**5000}], "The value of Note in row 1 is an int, which has no text"),
        ([{**ROW, "Note": 1j}], "The value of Note in row 1 is a complex, which has no text"),
        (pd.DataFrame([{**ROW, "Note": object()}]), "The value of Note in row 1 is an object"),
        (pl.DataFrame([ROW])["deal_id"].to_frame().to_struct("a").to_frame(), "no column"),
        (
            pl.DataFrame([ROW]).with_columns(pl.lit(1).cast(pl.Int128).alias("Big")),
            "The column Big has a type that cannot be read",
        ),
        (pa.table({"a": pa.array([1], pa.float16())}), "There are no columns|has a type that"),
        ([{f"column {n}": "" for n in range(1001)}], "more than 1,000 columns"),
        (pd.DataFrame([{f"column {n}": "" for n in range(1001)}]), "more than 1,000 columns"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_that_are_none_are_refused(planner: MappingPlanner, rows: Any, problem: str) -> None:
    with pytest.raises(BadFileError, match=problem):
        plan(planner, rows)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "batches"])
def test_a_column_that_is_not_kept_may_have_any_value(planner: MappingPlanner, form: str) -> None:
    options = MappingOptions(op=Op.LINK, keep=("Note",))
    row = {**ROW, "Note": "n", "Other": 1 if form in FRAMES else None}
    planned = plan(planner, FORMS[form]([row]), options)
    assert [(row["Note"], "Other" in row) for row in planned.plan] == [("n", False)]


def test_an_object_of_pandas_that_is_not_kept_needs_no_text(planner: MappingPlanner) -> None:
    frame = pd.DataFrame([{**ROW, "Shape": object()}])
    assert plan(planner, frame, MappingOptions(op=Op.LINK, keep=())).messages == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_row_that_is_too_long_is_refused_as_in_a_file(planner: MappingPlanner, form: str) -> None:
    rows = [ROW, {**ROW, "message_id": "n" * (1 << 20)}]
    planned = plan(planner, FORMS[form](rows))
    assert planned.reasons == {2: ("broken-record", None)}
    assert "longer than 1024 KiB" in planned.faults[0].message


def test_half_a_surrogate_pair_is_no_text(planner: MappingPlanner) -> None:
    rows = [ROW, {**ROW, "message_id": "n", "Note": "\ud800"}]
    assert plan(planner, rows).reasons == {2: ("bad-encoding", None)}
    with pytest.raises(BadFileError, match="surrogate"):
        plan(planner, pd.DataFrame(rows, dtype=object))


def test_paths_and_frames_are_one_mapping(planner: MappingPlanner) -> None:
    path = planner.write("contact_id,owner_id,message_id,deal_id\n1,2,a,5\n1,2,x-,5\n")
    frame = pl.DataFrame([{**ROW, "message_id": "b"}, {**ROW, "message_id": "y-"}])
    planned = plan(planner, (path, frame, pd.DataFrame([{**ROW, "message_id": "a"}])))
    assert (planned.rows, planned.messages, planned.duplicates) == (5, 2, 1)
    places = [(r["bulklink_file"], r["bulklink_row"], r["bulklink_line"]) for r in planned.rejects]
    assert places == [(path, "2", "3"), ("polars.DataFrame 2", "4", "")]


def test_rows_of_sqlite_are_rows(planner: MappingPlanner) -> None:
    with sqlite3.connect(":memory:", check_same_thread=False) as connection:
        connection.row_factory = sqlite3.Row
        cursor = connection.execute("SELECT '1' contact_id, 2 owner_id, 'm' message_id, 5 deal_id")
        assert plan(planner, cursor).messages == 1
    connection.close()


def test_the_index_of_pandas_plays_no_part(planner: MappingPlanner) -> None:
    frame = pd.DataFrame([ROW, {**ROW, "message_id": "x-"}], index=pd.Index([7, 7], name="n"))
    frame["Note"] = pd.Series(["a", None], index=frame.index, dtype="category")
    assert plan(planner, frame).reasons == {2: ("bad-id", "message_id")}


def test_a_frame_of_several_parts_is_numbered_throughout(planner: MappingPlanner) -> None:
    rows = 400_001
    data = {"contact_id": 1, "owner_id": 2, "deal_id": 5, "message_id": np.arange(rows)}
    frame = pd.DataFrame(data)
    frame["Note"] = None
    frame.loc[rows - 1, ["Note"]] = 1.5
    frame["Kind"] = pd.Series(np.where(np.arange(rows) % 2, "a", "b"), dtype="category")
    planned = plan(planner, frame)
    assert (planned.rows, planned.messages) == (rows, rows)
    assert planned.plan[-1]["Note"] == "1.5"
    ids = [int(message.message_id) for message in planned.sealed_messages]
    assert ids == list(range(rows))


@pytest.mark.parametrize("value", ["x", 1.5, b"b"], ids=str)
def test_an_object_may_come_after_thousands_of_empty_cells(
    planner: MappingPlanner, value: object
) -> None:
    rows = 5_000
    notes: list[object] = [None] * rows
    notes[rows - 2] = value
    frame = pd.DataFrame({"contact_id": 1, "owner_id": 2, "deal_id": 5, "message_id": range(rows)})
    frame["Note"] = pd.Series(notes, dtype=object)
    expected = value.decode() if isinstance(value, bytes) else str(value)
    assert plan(planner, frame).plan[-2]["Note"] == expected
