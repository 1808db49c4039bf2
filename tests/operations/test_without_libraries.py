"""Rows and results need no library of frames, and pandas and polars need no pyarrow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib.abc
import sys
import warnings

folder, form, *hidden = sys.argv[1:]
warnings.simplefilter("error")


class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden())

import duckdb
from bulklink import Job, Op, plan, results

rows = [
    {"contact_id": 5843104000000424162, "owner_id": "2", "message_id": f"m{n}", "deal_id": "5",
     "Note": ["é", None][n % 2], "Price": 1.5 * n}
    for n in range(4)
]
if form == "pandas":
    import pandas

    make = read = pandas.DataFrame
elif form == "polars":
    import polars

    make = read = polars.DataFrame
else:
    make, read = iter, list
planned = plan(Job(mappings=make(rows), op=Op.LINK, run_dir=folder))
opened = results(folder)
assert len(read(opened)) == 4
assert opened._repr_html_()
assert duckdb.sql("SELECT count(*) FROM opened").fetchall() == [(4,)]
assert not [name for name in hidden if name in sys.modules], "imported all the same"
print(planned.digest, planned.messages)
"""


def run_program(folder: Path, form: str, *hidden: str) -> str:
    command = [sys.executable, "-c", PROGRAM, str(folder), form, *hidden]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_rows_and_results_are_the_same_with_fewer_libraries(tmp_path: Path) -> None:
    outputs = {
        run_program(tmp_path / "1", "dicts", "pandas", "polars", "pyarrow", "numpy"),
        run_program(tmp_path / "2", "pandas", "pyarrow", "polars"),
        run_program(tmp_path / "3", "polars", "pyarrow", "pandas", "numpy"),
        run_program(tmp_path / "4", "pandas"),
    }
    assert len(outputs) == 1
    assert outputs.pop().endswith(" 4\n")
