"""The user's rows come back in the order of the mapping, whatever the order of the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.mapping.checked import check
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.original_rows import load_user_columns, stream_mapping_rows
from tests.mapping.planner import LINK


@pytest.mark.parametrize("contacts", ["112233", "321321", "221133", "112231"])
def test_rows_are_in_the_order_of_the_mapping(contacts: str, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.csv"
    rows = [f"{contact},2,{number:x},9" for number, contact in enumerate(contacts, 1)]
    mapping.write_text("\n".join(["contact_id,owner_id,message_id,deal_id", *rows, ""]))
    with check(find_sources([str(mapping)]), LINK, tmp_path) as checked:
        checked.seal(tmp_path)
    plan = tmp_path / "plan.parquet"
    streamed = stream_mapping_rows(
        plan, tmp_path / "rejects.csv", load_user_columns(plan), tmp_path / "spill", lambda _: True
    )
    assert [",".join(map(str, row.cells)) for row in streamed] == rows
