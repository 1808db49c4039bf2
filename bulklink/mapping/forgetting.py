"""Dropping from a sealed plan what belongs to the user: columns and names; ids and order stay."""
# ruff: noqa: S608

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from bulklink.atomic_files import replacing
from bulklink.mapping.database import Database, literal
from bulklink.mapping.headers import OWN_PREFIX
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_layout import OWN_COLUMNS, ROW_GROUP_ROWS, Layout, relation
from bulklink.mapping.schema import NAME_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

_MEMORY = "256MB"


def forget_columns(plan: Path) -> None:
    """Replace a sealed plan by one without the user's columns and without names.

    Raises:
        RunDirError: if it is no plan, or cannot be written.
    """
    columns = ", ".join(
        f"NULL::VARCHAR AS {OWN_PREFIX}{name}" if name in NAME_COLUMNS else OWN_PREFIX + name
        for name in OWN_COLUMNS
    )
    spill = plan.with_name(plan.name + ".spill")
    # One thread: the order of the plan is the order in which it is sent.
    with closing(Database(spill, Stop(), threads=1, memory=_MEMORY)) as database:
        query = f"SELECT {columns} FROM {relation(database, plan)}"
        with replacing(plan) as temporary:
            database.run(
                f"COPY ({query}) TO {literal(str(temporary))} "
                f"(FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, "
                f"KV_METADATA {Layout((), ()).metadata()})"
            )
