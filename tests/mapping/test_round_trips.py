"""What the user wrote comes back exactly, in the plan and in the rejects."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .desk import HEADER, LINK, Desk, as_csv

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROUGH = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ROUGH
@given(
    notes=st.lists(st.tuples(TEXT, TEXT, st.booleans()), min_size=1, max_size=20),
    dialect=st.sampled_from(
        [
            # Python writes a carriage return without quotes where lines end with LF alone.
            {"quoting": csv.QUOTE_MINIMAL, "lineterminator": "\r\n"},
            {"quoting": csv.QUOTE_ALL, "lineterminator": "\r\n"},
            {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"},
        ]
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    told=st.booleans(),
)
def test_any_text_in_csv_comes_back(
    tmp_path: Path,
    notes: list[tuple[str, str, bool]],
    dialect: dict[str, Any],
    delimiter: str,
    *,
    told: bool,
) -> None:
    rows = [["1" if good else "x", "2", f"m{n}", "5", a, b] for n, (a, b, good) in enumerate(notes)]
    header = ["contact_id", "owner_id", "message_id", "deal_id", "A", "B"]
    first = f"sep={delimiter}{dialect['lineterminator']}" if told else ""
    text = first + as_csv(header, rows, delimiter=delimiter, **dialect)
    desk = Desk(tmp_path)
    found = desk.plan(text)
    back = [(row["bulklink_row"], row["A"], row["B"]) for row in found.plan]
    back += [(int(row["bulklink_row"]), row["A"], row["B"]) for row in found.rejects]
    assert sorted(back) == [(n, a, b) for n, (a, b, _) in enumerate(notes, 1)]
    desk.close()


@ROUGH
@given(
    notes=st.lists(st.tuples(TEXT, st.one_of(st.none(), TEXT), st.booleans()), min_size=1),
    ascii_only=st.booleans(),
)
def test_any_text_in_jsonl_comes_back(
    tmp_path: Path, notes: list[tuple[str, str | None, bool]], *, ascii_only: bool
) -> None:
    lines = [
        json.dumps(
            {"contact_id": 1 if good else "x", "owner_id": 2, "message_id": f"m{n}"}
            | {"deal_id": "5", "A": a, "B": b},
            ensure_ascii=ascii_only,
        )
        for n, (a, b, good) in enumerate(notes)
    ]
    desk = Desk(tmp_path)
    found = desk.plan("\n".join(lines), LINK, "mapping.jsonl")
    back = {row["bulklink_row"]: (row["A"], row["B"]) for row in found.plan}
    lost = {int(row["bulklink_row"]): (row["A"], row["B"]) for row in found.rejects}
    assert back == {n: (a, b) for n, (a, b, good) in enumerate(notes, 1) if good}
    assert lost == {n: (a, b or "") for n, (a, b, good) in enumerate(notes, 1) if not good}
    desk.close()


def test_plan_and_rejects_are_the_whole_input(desk: Desk) -> None:
    text = f"{HEADER}1,2,a,5,\n1,2,a,5,\nx,2,a,5,\nbroken\n1,2,c,5,\n1,2,c,6,\n1,2,d,5,\n"
    found = desk.plan(text)
    planned = [row["bulklink_row"] for row in found.plan]
    refused = [int(row["bulklink_row"]) for row in found.rejects]
    assert sorted(planned + refused) == list(range(1, 8))
    assert found.rows == found.messages + found.duplicates + found.rejected == 7


def test_rejects_that_were_mended_are_a_mapping_again(desk: Desk) -> None:
    text = f'{HEADER}x,2,a,5,"n, 1"\n1,2,b,5,\n1,2,c,5,p\n1,2,c,6,q\n'
    desk.plan(text).rejects  # noqa: B018
    name = str(desk.folder / "rejects.csv")
    mended = (desk.folder / "rejects.csv").read_text().replace("x,2,a", "7,2,a", 1)
    mended = mended.replace("1,2,c,6", "1,2,d,6")
    found = desk.plan(mended, name="mended.csv")
    assert [(m.contact_id, m.message_id, m.deal_id) for m in found.sent] == [
        ("1", "c", "5"),
        ("1", "d", "6"),
        ("7", "a", "5"),
    ]
    assert [row["Note"] for row in found.plan] == ["p", "q", "n, 1"]
    assert name


def test_rejects_are_rfc_4180(desk: Desk) -> None:
    found = desk.plan(f'{HEADER}x,2,a,5,"say ""hi"""\n')
    assert found.rejected == 1
    assert found.rejects[0]["bulklink_line"] == "2"
    written = (desk.folder / "rejects.csv").read_bytes()
    assert written.endswith(b'x,2,a,5,"say ""hi""",' + _said(desk) + b"\r\n")


def _said(desk: Desk) -> bytes:
    name = str(desk.folder / "mapping.csv")
    return f"{name},1,2,contact_id,bad-id,x".encode()
