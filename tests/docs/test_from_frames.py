"""The programs in docs/from-frames.md run as written, from top to bottom, against a CRM."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from bulklink import Job, Op, PlanResult, RunResult, plan
from tests.guard import off_loop
from tests.mapping.forms import TEXTS
from tests.operations.local_crm import CONTACT, DEAL, EMAILS, OWNER, local_crm, message

TEXT = (Path(__file__).parents[2] / "docs" / "from-frames.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with an export, without the developer's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lines = [
        f"{CONTACT},{OWNER},{message(n)},{DEAL},{'APAC' if n == 0 else 'EMEA'}\n"
        for n in range(EMAILS)
    ]
    header = "contact_id,owner_id,message_id,deal_id,Region\n"
    (tmp_path / "export.csv").write_text(header + "".join(lines), "utf-8")
    return tmp_path


async def test_the_programs_run_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {}
    digests = []
    async with local_crm() as crm:
        for name in ("API_URL", "ACCOUNTS_URL"):
            monkeypatch.setenv(f"BULKLINK_{name}", crm.url)
        for name in ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN"):
            monkeypatch.setenv(f"BULKLINK_{name}", "demo")
        for program in PROGRAMS:
            cell = compile(program, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if cell.co_flags & inspect.CO_COROUTINE:
                await eval(cell, names)
            else:
                await off_loop(eval, cell, names)
            forecast = names["forecast"]
            assert isinstance(forecast, PlanResult)
            digests.append(forecast.digest)
        assert crm.linked == EMAILS - 1
    result, done, failed = names["result"], names["done"], names["failed"]
    assert isinstance(result, RunResult)
    assert (result.run_dir, result.counts["done"]) == ("emea", EMAILS - 1)
    assert isinstance(done, pl.DataFrame)
    assert (done.height, done["Region"].unique().to_list()) == (EMAILS - 1, ["EMEA"])
    assert isinstance(failed, pd.DataFrame)
    assert len(failed) == 0
    assert digests[0] == digests[-1] != digests[2]
    of_file = await off_loop(plan, Job(mappings=("export.csv",), op=Op.LINK))
    assert digests[0] == of_file.digest


def test_the_texts_of_values_are_those_that_the_forms_have() -> None:
    table = TEXT.partition("## How values become text")[2].partition("A value of another")[0]
    documented = set(re.findall(r"`([^`]+)`", table))
    shown = {"1", "1.0", "1e+16", "1.50", "true", "false", "2026-11-22", "2026-11-22 10:15:00"}
    shown |= {"2026-11-22 08:15:00+00:00", "10:15:00", "26:00:00", "[1,2]"}
    assert shown <= documented
    assert shown <= {text for _, _, text in TEXTS}
