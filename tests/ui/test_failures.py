"""Failures of a run on the page: by code, and row by row."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from bulklink.ledger.records import Result, result_line
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import Op, Status
from bulklink.operations.report import failure_pages
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, RunState
from bulklink.ui import failures
from bulklink.ui.commands import Commands
from tests.guard import off_loop
from tests.operations.local_crm import LocalCrm
from tests.ui.form_client import page_client
from tests.ui.page_client import PageAnswer, PageClient
from tests.ui.planned import activity_of, digest_of, seal_plan
from tests.ui.test_run_view import ENDED_WELL, STARTED, write_run

TS = "2026-11-30T12:00:30.000Z"
INVALID, REFUSED = "INVALID_DATA", "NO_PERMISSION"
PATH = "/runs/march/failures"
HOSTILE = '</td><script>document.title="x"</script><img src=x onerror=alert(1)>\x07\u202e{{7*7}}'


def line(row: int, code: str | None = INVALID, **fields: Any) -> bytes:
    values: dict[str, Any] = {
        "op": Op.LINK,
        "contact_id": f"10{row}",
        "owner_id": "7",
        "message_id": f"m{row}",
        "deal_id": f"20{row}",
        "status": Status.FAILED,
        "message": f"refused {row}",
        "http_status": 200,
    }
    return result_line(TS, Result(row=row, code=code, **(values | fields)))


async def write_failures(runs: Path, lines: Iterable[bytes], **changed: Any) -> RunFolder:
    """Write a finished run without a plan, whose ledger has these lines."""
    options = {"state": RunState.FINISHED, "invocations": (ENDED_WELL,), "rows": 500} | changed

    def write() -> RunFolder:
        run = write_run(runs / "march", **options)
        run.ledger.write_bytes(b"".join(lines))
        return run

    return await off_loop(write)


def text_of(answer: PageAnswer) -> str:
    return " ".join(unescape(re.sub("<[^>]*>", " ", answer.text)).split())


def code_links(answer: PageAnswer) -> dict[str, dict[str, str]]:
    """Return the query of the link of each code."""
    links = re.findall(r'<a href="[^"]*/failures\?([^"]*code=[^"]*)">([^<]*)</a>', answer.text)
    return {
        unescape(code): dict(part.split("=") for part in unescape(query).split("&"))
        for query, code in links
    }


def shown_rows(answer: PageAnswer) -> list[int]:
    cells = re.findall(r'<tr><td class="n" data-name="Row">([\d,]+)</td>', answer.text)
    return [int(cell.replace(",", "")) for cell in cells]


async def open_code(page: PageClient, /, code: str = INVALID, **query: str) -> PageAnswer:
    link = code_links(await page.get(PATH))[code]
    return await page.get(PATH, code=link["code"], **query)


async def test_codes_are_on_the_page_of_the_run_and_lead_to_their_rows(
    page: PageClient, runs: Path
) -> None:
    lines = [line(1), line(2, REFUSED), line(3), line(4, "HTTP", status=Status.DONE)]
    await write_failures(runs, lines)
    run = await page.get("/runs/march")
    assert f"{INVALID} 2 A value or its type is wrong" in text_of(run)
    assert f"{REFUSED} 1" in text_of(run)
    link = code_links(run)[INVALID]
    rows = await page.get(PATH, code=link["code"], stage=link["stage"])
    assert shown_rows(rows) == [1, 3]
    assert "1 101 m1 201 failed refused 1" in text_of(rows)
    assert "check the ids of the row" in text_of(rows)


async def test_the_last_result_of_a_row_counts(page: PageClient, runs: Path) -> None:
    lines = [line(1), line(2), line(3), line(1, REFUSED), line(2, status=Status.DONE)]
    await write_failures(runs, lines)
    listed = await page.get(PATH)
    assert code_links(listed).keys() == {INVALID, REFUSED}
    assert shown_rows(await open_code(page, INVALID)) == [3]
    assert shown_rows(await open_code(page, REFUSED)) == [1]


async def test_in_doubt_and_refused_rows_have_their_status(page: PageClient, runs: Path) -> None:
    unsure = line(1, None, status=Status.IN_DOUBT, http_status=None)
    bad = line(2, "bad-id", status=Status.REJECTED, contact_id=None, deal_id=None)
    server_error = line(3, None, http_status=502, previous_deal_id="99", deal_id=None)
    await write_failures(runs, [unsure, bad, server_error])
    assert "101 m1 201 in doubt refused 1" in text_of(await open_code(page, "no code"))
    refused = text_of(await open_code(page, "bad-id"))
    assert "1 row was refused" in refused
    assert "2 \u2013 m2 \u2013 rejected refused 2" in refused
    assert "103 m3 99 failed" in text_of(await open_code(page, "HTTP 502"))


@pytest.mark.parametrize(
    ("number", "first", "last", "shown"),
    [
        ("", 1, 50, 1),
        ("1", 1, 50, 1),
        ("2", 51, 100, 2),
        ("3", 101, 120, 3),
        ("4", 101, 120, 3),
        ("999999999", 101, 120, 3),
        ("9" * 5000, 1, 50, 1),
        ("0", 1, 50, 1),
        ("-1", 1, 50, 1),
        ("²", 1, 50, 1),
        ("x", 1, 50, 1),
    ],
)
async def test_rows_are_paged_in_their_order(
    page: PageClient, runs: Path, number: str, first: int, last: int, shown: int
) -> None:
    await write_failures(runs, [line(row) for row in range(120, 0, -1)])
    answer = await open_code(page, page=number)
    assert answer.status == 200
    assert shown_rows(answer) == list(range(first, last + 1))
    assert f"Page {shown} of 3" in text_of(answer)
    assert ('rel="prev"' in answer.text) == (shown > 1)
    assert ('rel="next"' in answer.text) == (shown < 3)


async def test_pages_far_into_a_large_ledger_are_read(page: PageClient, runs: Path) -> None:
    """Rows are far from each other, and their blocks begin anywhere in the ledger."""
    order = [(7919 * n) % 20_011 for n in range(1, 20_011)]
    padding = "x" * 100
    lines = [line(row, [INVALID, REFUSED][row % 2], message=padding + str(row)) for row in order]
    run = await write_failures(runs, lines, rows=20_011)
    stop = PlanningStop()
    read = await off_loop(partial(failure_pages.LedgerLines, run.ledger, stop))
    results = await off_loop(partial(read.results, range(1, read.count + 1)))
    assert [result.row for result in results] == order
    answer = await open_code(page, REFUSED, page="100")
    expected = list(range(1, 20_011, 2))[99 * 50 : 100 * 50]
    assert shown_rows(answer) == expected
    for row in expected:
        assert f"{padding}{row} " in text_of(answer) + " "


@pytest.mark.parametrize("key", ["x", "0" * 16, "../../etc", HOSTILE, INVALID])
async def test_only_a_listed_code_can_be_named(page: PageClient, runs: Path, key: str) -> None:
    await write_failures(runs, [line(1)])
    answer = await page.get(PATH, code=key)
    assert answer.status == 404
    assert "<script>document" not in answer.text


async def test_hostile_texts_are_shown_as_texts(page: PageClient, runs: Path) -> None:
    evil = line(
        1, HOSTILE, message=HOSTILE * 1000, contact_id=HOSTILE, message_id=HOSTILE, deal_id=HOSTILE
    )
    await write_failures(runs, [evil])
    run = await page.get("/runs/march")
    (link,) = code_links(run).values()
    assert re.fullmatch("[0-9a-f]{16}", link["code"])
    for answer in (run, await page.get(PATH), await page.get(PATH, code=link["code"])):
        assert answer.status == 200
        assert "<img src=x" not in answer.text
        assert '<script>document.title="x"' not in answer.text
        assert not {"\x07", "\u202e"} & set(answer.text)
        assert len(answer.text) < 50_000, "texts are shortened"


@pytest.mark.parametrize("damage", ["missing", "damaged"])
async def test_the_plan_is_not_needed(page: PageClient, runs: Path, damage: str) -> None:
    run = await seal_plan(runs)
    await off_loop(run.ledger.write_bytes, line(1))
    if damage == "missing":
        await off_loop(run.plan.unlink)
    else:
        await off_loop(run.plan.write_bytes, b"PAR1")
    assert shown_rows(await open_code(page)) == [1]


async def test_a_run_that_goes_on_elsewhere_is_shown_as_it_stood(
    page: PageClient, runs: Path
) -> None:
    run = await write_failures(
        runs,
        [line(1), b'{"event":"res'],
        state=RunState.RUNNING,
        invocations=(Invocation(STARTED),),
    )
    lock = run.run_lock()
    await off_loop(lock.__enter__)
    shown = await page.get("/runs/march")
    assert "Failures by code and row" in shown.text
    first = await open_code(page)
    assert shown_rows(first) == [1]
    assert "The run goes on" in first.text
    (stage,) = {link["stage"] for link in code_links(await page.get(PATH)).values()}
    await off_loop(run.ledger.write_bytes, line(1) + line(2))
    assert shown_rows(await open_code_of(page, first, stage=stage)) == [1]
    assert shown_rows(await open_code_of(page, first)) == [1, 2]
    assert shown_rows(await open_code_of(page, first, stage="99")) == [1, 2]
    await off_loop(partial(lock.__exit__, None, None, None))


async def open_code_of(page: PageClient, opened: PageAnswer, /, **query: str) -> PageAnswer:
    """Open the code of a page again, without a look at the list of codes."""
    found = re.search(r"code=([0-9a-f]{16})", opened.text)
    assert found is not None
    return await page.get(PATH, code=found[1], **query)


async def test_failures_are_shown_while_the_page_drives_the_run(
    page: PageClient, runs: Path, commands: Commands, crm: LocalCrm
) -> None:
    run = await seal_plan(runs)
    crm.gate.clear()
    await page.post("/runs/march/apply", digest=digest_of(run))
    await crm.arrived.wait()
    assert activity_of(commands, run).is_active
    assert "Failures by code and row" in (await page.get("/runs/march")).text
    answer = await page.get(PATH)
    assert answer.status == 200
    assert "No row has failed" in answer.text
    assert "The run goes on" in answer.text
    crm.gate.set()


async def test_a_run_that_was_refused_has_its_refused_rows(page: PageClient, runs: Path) -> None:
    run = await write_failures(runs, (), state=RunState.REFUSED, invocations=())
    rejects = (
        "bulklink_row,bulklink_reason,bulklink_file,bulklink_line,bulklink_column,bulklink_raw\n"
        '3,bad-id,m.csv,4,deal_id,"x,<b>"\n5,conflict,m.csv,6,,y\n'
    )
    await off_loop(run.rejects.write_text, rejects)
    assert code_links(await page.get("/runs/march")).keys() == {"bad-id", "conflict"}
    answer = await open_code(page, "bad-id")
    assert "3 \u2013 \u2013 \u2013 rejected m.csv:4, deal_id: x,<b>" in text_of(answer)


async def test_a_run_without_failures_shows_none(page: PageClient, runs: Path) -> None:
    run = await write_failures(runs, [line(1, "SUCCESS", status=Status.DONE)])
    assert "Failures by code<" not in (await page.get("/runs/march")).text
    assert "No row has failed" in (await page.get(PATH)).text
    await off_loop(run.ledger.unlink)
    assert "No row has failed" in (await page.get(PATH)).text


async def test_a_large_ledger_does_not_slow_the_page_of_the_run(
    page: PageClient, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_SMALL_LEDGER_BYTES", 10)
    await write_failures(runs, [line(1)])
    run = await page.get("/runs/march")
    assert code_links(run) == {}
    assert f'href="{PATH}?' in run.text
    await page.get(PATH)
    assert code_links(await page.get("/runs/march")).keys() == {INVALID}, "it is staged by now"


async def test_a_changed_ledger_is_an_error(page: PageClient, runs: Path) -> None:
    run = await write_failures(runs, [line(row) for row in range(1, 60)])
    stage = code_links(await page.get(PATH))[INVALID]
    await off_loop(run.ledger.write_bytes, b"{}\n" * 5)
    answer = await page.get(PATH, **stage)
    assert answer.status == 409
    assert "not a ledger line of this run" in answer.text


@pytest.mark.parametrize(
    "damage",
    [b"\xff{\n", b"[]\n", b"\n", b'{"event":"result"}\n', b"x" * 9, b"x" * (2 << 20) + b"\n"],
)
async def test_a_damaged_line_gives_an_error_or_the_right_rows(
    page: PageClient, runs: Path, damage: bytes
) -> None:
    await write_failures(runs, [line(1), damage, line(2), line(3)])
    run = await page.get("/runs/march")
    assert run.status == 200
    assert PATH in run.text
    answer = await page.get(PATH)
    if answer.status == 200:
        answer = await open_code(page)
    if answer.status == 200:
        assert shown_rows(answer)[0] == 1
        for row in shown_rows(answer):
            assert f"{row} 10{row} m{row} 20{row} failed refused {row}" in text_of(answer)
    else:
        assert answer.status == 409
        assert "ledger line of this run" in answer.text or "longer than 1 MiB" in answer.text


async def test_rows_behind_a_blank_line_are_not_taken_for_others(
    page: PageClient, runs: Path
) -> None:
    """DuckDB does not count blank lines, so the numbers of the lines behind one are wrong."""
    await write_failures(runs, [line(1), b"\n", *map(line, range(2, 121))])
    answer = await open_code(page, page="3")
    assert answer.status == 409
    assert "not a ledger line of this run" in answer.text


async def test_a_link_in_place_of_the_ledger_is_not_followed(
    page: PageClient, runs: Path, tmp_path: Path
) -> None:
    run = await write_failures(runs, ())
    other = tmp_path / "other"
    await off_loop(other.write_bytes, line(1, "SECRET"))
    await off_loop(run.ledger.unlink)
    await off_loop(os.symlink, other, run.ledger)
    answer = await page.get(PATH)
    assert answer.status == 409
    assert "SECRET" not in answer.text


async def test_rare_codes_are_counted(page: PageClient, runs: Path) -> None:
    await write_failures(runs, [line(row, f"CODE_{row}") for row in range(1, 61)])
    answer = await page.get(PATH)
    assert len(code_links(answer)) == 40
    assert "20 rarer codes are not listed" in text_of(answer)


async def test_a_code_with_too_many_rows_is_cut(
    page: PageClient, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_pages, "MAX_ROWS_PER_CODE", 60)
    await write_failures(runs, [line(row) for row in range(1, 101)])
    answer = await open_code(page, page="9")
    assert "Page 2 of 2" in text_of(answer)


async def test_stages_are_few_and_removed_at_the_end(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    await off_loop(scratch.mkdir)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def staged() -> list[str]:
        return sorted(path.name for path in scratch.glob("bulklink-*/*"))

    async with page_client(runs) as page:
        for number in range(6):
            await write_failures(runs / str(number), [line(1)])
            await off_loop((runs / str(number) / "march").rename, runs / f"run{number}")
            assert (await page.get(f"/runs/run{number}/failures")).status == 200
        assert await off_loop(staged) == [f"{n}.parquet" for n in (3, 4, 5, 6)]
        await page.get("/runs/run5/failures")
        await off_loop((runs / "run5" / "ledger.jsonl").write_bytes, line(1) + line(2))
        await page.get("/runs/run5/failures")
        assert await off_loop(staged) == [f"{n}.parquet" for n in (3, 4, 5, 7)]
    assert list(scratch.iterdir()) == []
