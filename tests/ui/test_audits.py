"""Audits on the page: which are listed, what their review pages may do, who may read them."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import pytest

from bulklink.finding.verdicts import Tier
from bulklink.ui.audits import MAX_AUDITS, Audits
from tests.guard import off_loop
from tests.html_pages.review.audits import usual_contact, write_audit
from tests.ui.page_client import PageAnswer, PageClient
from tests.ui.planned import seal_plan


async def make_audit(folder: Path, name: str = "m.csv") -> Path:
    """Write an audit, and return its review page."""
    make = partial(write_audit, folder, [usual_contact(0, Tier.SURE)], name)
    return (await off_loop(make)).review


def links(answer: PageAnswer) -> list[str]:
    """Return the paths of the listed audits."""
    return re.findall(r'href="(/audits/[0-9a-f]{16})\?', answer.text)


async def frame_address(page: PageClient) -> str:
    """Return path and query of the frame of the only audit."""
    (path,) = links(await page.get("/audits"))
    source = re.search(r'<iframe[^>]* src="([^"]*)"', (await page.get(path)).text)
    assert source is not None
    return source[1]


async def test_audits_beside_the_runs_and_among_them_are_listed(
    page: PageClient, runs: Path, tmp_path: Path
) -> None:
    assert "There is no audit yet" in (await page.get("/audits")).text
    await off_loop(runs.mkdir)
    for folder, name in ((tmp_path, "march.xlsx"), (runs, "march.csv"), (tmp_path, "april.csv")):
        await make_audit(folder, name)
    listed = await page.get("/audits")
    assert len(set(links(listed))) == 3
    assert str(tmp_path) not in listed.text.replace(str(runs), "")
    for path in links(listed):
        answer = await page.get(path)
        assert answer.status == 200
        assert str(tmp_path) not in answer.text.replace(str(runs), "")


async def test_another_folder_of_audits_can_be_chosen(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    await off_loop(elsewhere.mkdir)
    await make_audit(elsewhere)
    await make_audit(tmp_path, "beside.csv")
    near = partial(Audits.near, tmp_path / "runs")
    assert [a.name for a in await off_loop((await off_loop(near)).all)] == ["beside"]
    chosen = await off_loop(partial(near, elsewhere))
    assert [a.name for a in await off_loop(chosen.all)] == ["m"]


@pytest.mark.parametrize(("here", "runs_dir"), [("runs", "."), ("runs/march", ".."), (".", "runs")])
async def test_audits_are_found_beside_a_relative_folder_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, runs_dir: str
) -> None:
    await off_loop(partial((tmp_path / "runs" / "march").mkdir, parents=True))
    await make_audit(tmp_path, "beside.csv")
    monkeypatch.chdir(tmp_path / here)
    audits = await off_loop(partial(Audits.near, Path(runs_dir)))
    assert [audit.name for audit in await off_loop(audits.all)] == ["beside"]


async def test_the_newest_are_listed_and_only_regular_files(tmp_path: Path) -> None:
    def write() -> list[str]:
        for number in range(MAX_AUDITS + 3):
            path = tmp_path / f"{number}.review.html"
            path.write_text("")
            os.utime(path, (1_000_000 + number, 1_000_000 + number))
        (tmp_path / "folder.review.html").mkdir()
        (tmp_path / "link.review.html").symlink_to(tmp_path / "0.review.html")
        return [audit.name for audit in Audits((tmp_path, tmp_path / "missing")).all()]

    assert await off_loop(write) == [str(n) for n in range(MAX_AUDITS + 2, 2, -1)]


@pytest.mark.parametrize("audit", ["m", "0" * 16, "..", "%2e%2e%2fm.review.html", "<script>"])
@pytest.mark.parametrize("end", ["", "/review"])
async def test_only_a_listed_audit_can_be_named(
    page: PageClient, tmp_path: Path, audit: str, end: str
) -> None:
    await make_audit(tmp_path)
    answer = await page.get(f"/audits/{audit}{end}")
    assert answer.status == 404
    assert "<script>" not in answer.text


async def test_a_review_page_runs_only_the_script_of_this_version(
    page: PageClient, tmp_path: Path
) -> None:
    review = await make_audit(tmp_path)
    address = await frame_address(page)
    answer = await page.request("GET", address)
    assert answer.status == 200
    assert answer.text == await off_loop(partial(review.read_text, "utf-8"))
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.endswith("sandbox allow-scripts allow-downloads; frame-ancestors 'self'")
    assert "unsafe" not in policy
    assert "form-action 'none'" in policy
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_frame_gets_a_ticket_for_its_page_and_not_the_token(
    page: PageClient, tmp_path: Path
) -> None:
    await make_audit(tmp_path)
    address = await frame_address(page)
    assert page.token not in address
    path, _, ticket = address.partition("?")
    assert ticket.startswith("ticket=")
    for other in ("/", "/audits", path.removesuffix("/review"), "/connections", "/new"):
        assert (await page.request("GET", f"{other}?{ticket}")).status == 401
    assert (await page.request("POST", f"{path}?{ticket}")).status == 401
    for wrong in ("ticket=", f"ticket={'0' * 64}", f"token={ticket[7:]}", "ticket=%ff"):
        assert (await page.request("GET", f"{path}?{wrong}")).status in (401, 403)
    framed = await page.request("GET", address, headers={"Sec-Fetch-Site": "cross-site"})
    assert framed.status == 403


async def test_a_page_of_another_version_is_not_framed(page: PageClient, tmp_path: Path) -> None:
    review = await make_audit(tmp_path)
    text = await off_loop(partial(review.read_text, "utf-8"))
    await off_loop(partial(review.write_text, text.replace("sha256-", "sha256-A"), "utf-8"))
    (path,) = links(await page.get("/audits"))
    answer = await page.get(path)
    assert answer.status == 200
    assert "Another version of bulklink" in answer.text
    assert "<iframe" not in answer.text


async def test_an_audit_without_proposals_is_shown(page: PageClient, tmp_path: Path) -> None:
    await off_loop(partial(write_audit, tmp_path, []))
    assert (await page.request("GET", await frame_address(page))).status == 200


async def test_a_review_page_that_is_gone_is_an_error(page: PageClient, tmp_path: Path) -> None:
    review = await make_audit(tmp_path)
    (path,) = links(await page.get("/audits"))
    await off_loop(review.unlink)
    answer = await page.get(path)
    assert answer.status == 404
    assert "its review page is gone" in answer.text


async def test_the_report_does_not_know_the_token_either(page: PageClient, runs: Path) -> None:
    await seal_plan(runs)
    shown = (await page.get("/runs/march")).text
    address = re.search(r'href="(/runs/march/report\?[^"]*)"', shown)
    assert address is not None
    assert page.token not in address[1]
    assert (await page.request("GET", address[1])).status == 200
