"""Rows of an undo as they are written."""

from __future__ import annotations

from io import BytesIO, StringIO

from hypothesis import given
from hypothesis import strategies as st

from bulklink.models import Op, Status
from bulklink.operations.applied_changes import DoneLinks
from bulklink.operations.undo_plan import UndoWriter
from bulklink.operations.undo_steps import AppliedChange

CELLS = st.text(st.sampled_from("0aé ,\"\r\n\x00;'"), max_size=4)


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 99), CELLS, CELLS, CELLS, CELLS.filter(bool), CELLS | st.none()),
        min_size=1,
        max_size=4,
    )
)
def test_done_links_are_undone_together_as_one_by_one(
    rows: list[tuple[int, str, str, str, str, str | None]],
) -> None:
    together, singly = StringIO(newline=""), StringIO(newline="")
    writer = UndoWriter(together, BytesIO(), include_settled=False)
    writer.add_links(DoneLinks(*zip(*rows, strict=True)))
    other = UndoWriter(singly, BytesIO(), include_settled=False)
    for row, contact_id, owner_id, message_id, deal_id, name in rows:
        other.add(
            AppliedChange(
                row, Op.LINK, contact_id, owner_id, message_id, deal_id, name, status=Status.DONE
            )
        )
    assert together.getvalue() == singly.getvalue()
    assert (writer.rows, writer.remarks) == (other.rows, other.remarks)
