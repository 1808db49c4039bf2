"""A mapping from its upload to a sealed plan, over a socket and without JavaScript."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from aiohttp import FormData

from bulklink.models import Op
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.plan import plan
from bulklink.operations.resume import apply
from bulklink.ui.commands import PageError
from bulklink.ui.draft_check import FAULTS_PER_PAGE, DraftChecks, check_draft
from bulklink.ui.drafts import Draft, Drafts, DraftSettings
from tests.operations.local_crm import CONTACT, DEAL, OWNER, job, local_crm, message
from tests.ui.form_client import PageClient, Shown, no_connection, page_client

HEADER = ("contact_id", "owner_id", "message_id", "deal_id")
NOTHING = {"op": "link", "on_invalid": "stop"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[PageClient]:
    async with page_client(tmp_path / "runs") as running:
        yield running


def mapping(
    rows: int = 3, header: Sequence[str] = HEADER, *, bad: int = 0, deal_name: str | None = None
) -> bytes:
    """Return a CSV file; the deal of its last rows is no id."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([*header, *(["deal_name"] if deal_name else [])])
    for number in range(rows + bad):
        deal = DEAL if number < rows else f"bad{number}"
        names = [deal_name] if deal_name else []
        writer.writerow([CONTACT, OWNER, message(number), deal, *names])
    return file.getvalue().encode()


def runs_of(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "runs").glob("[!.]*"))


def drafts_of(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "runs" / ".drafts").glob("*"))


async def seal(client: PageClient, shown: Shown) -> Shown:
    return await client.post(f"{shown.path}/seal", digest=shown.field("digest"))


async def seal_anyway(client: PageClient, shown: Shown) -> Shown:
    """Seal a plan that the page offers no button for."""
    digest = shown.html.partition("<dt>Digest</dt><dd><code>")[2][:64]
    return await client.post(f"{shown.path}/seal", digest=digest)


async def test_a_plan_is_shown_and_sealed(client: PageClient, tmp_path: Path) -> None:
    shown = await client.upload(mapping(deal_name="Travel Insurance"))
    assert "3 emails to change" in shown.text
    assert f"Travel Insurance {DEAL}" in shown.text
    assert "likely" in shown.text
    assert runs_of(tmp_path) == []
    run = await seal(client, shown)
    (folder,) = runs_of(tmp_path)
    assert run.path == f"/runs/{folder.name}"
    assert "waits for approval" in run.text
    assert "Approve and start" in run.text
    assert "mapping.csv" in run.text
    assert drafts_of(tmp_path) == []


async def test_the_plan_is_that_of_the_command_line(client: PageClient, tmp_path: Path) -> None:
    shown = await client.upload(mapping(30))
    expected = await anyio.to_thread.run_sync(plan, job(tmp_path, 30))
    assert shown.field("digest") == expected.digest
    await seal(client, shown)
    (folder,) = runs_of(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    assert record["digest"] == expected.digest
    assert "run_dir" not in record["asked"]
    assert record["asked"]["mappings"] == ["mapping.csv"]


async def test_refused_rows_are_shown_with_their_cure(client: PageClient) -> None:
    shown = await client.upload(mapping(2, bad=1))
    assert "1 row is refused" in shown.text
    assert "3 4 deal_id deal_id is 'bad2'; it must be 1 to 100 digits" in shown.text
    assert "A cell is not a valid Zoho id: correct it." in shown.text
    assert not shown.can_seal


async def test_refused_rows_are_not_left_out_unasked(client: PageClient, tmp_path: Path) -> None:
    shown = await client.upload(mapping(2, bad=1))
    refused = await seal_anyway(client, shown)
    assert refused.status == 409
    assert "rows are refused" in refused.text
    assert runs_of(tmp_path) == []


async def test_a_cure_names_the_setting_of_the_page(client: PageClient) -> None:
    shown = await client.upload(mapping(2) + f"{CONTACT},,{message(9)},{DEAL}\n".encode())
    assert "fill it, or set a value with “Value of empty cells”" in shown.text
    filled = await client.check(
        shown, **NOTHING, headers=shown.field("headers"), **{"default.owner_id": OWNER}
    )
    assert "3 emails to change" in filled.text


async def test_refused_rows_can_be_left_out(client: PageClient, tmp_path: Path) -> None:
    refused = await client.upload(mapping(2, bad=1))
    shown = await client.check(refused, op="link", on_invalid="skip")
    assert "1 refused row is left out" in shown.text
    await seal(client, shown)
    (folder,) = runs_of(tmp_path)
    assert json.loads((folder / "run.json").read_text())["counts"]["rejected"] == 1
    assert (folder / "rejects.csv").read_text().count("bad2") == 2


async def test_refused_rows_come_in_pages(client: PageClient) -> None:
    first = await client.upload(mapping(1, bad=FAULTS_PER_PAGE + 1))
    assert "Page 1 of 2" in first.text
    assert first.text.count("A cell is not a valid Zoho id") == FAULTS_PER_PAGE
    second = await client.get(first.path, page="2")
    assert second.text.count("A cell is not a valid Zoho id") == 1
    beyond = await client.get(first.path, page="999999999")
    assert beyond.status == 200


@pytest.mark.parametrize("on_invalid", ["skip", "stop"])
async def test_nothing_is_sealed_if_all_rows_are_refused(
    client: PageClient, on_invalid: str
) -> None:
    shown = await client.upload(mapping(0, bad=2), on_invalid=on_invalid)
    assert "Nothing is left to send" in shown.text
    assert not shown.can_seal
    refused = await seal_anyway(client, shown)
    assert refused.status == 409
    assert "the plan has no email to change" in refused.text


async def test_columns_are_chosen_where_headers_are_unknown(client: PageClient) -> None:
    shown = await client.upload(mapping(header=("Contact Id", "User", "Mail", "Ziel")))
    assert "There are no columns owner_id and deal_id" in shown.text or "no column" in shown.text
    assert '<option value="3">Ziel</option>' in shown.html
    chosen = await client.check(
        shown,
        **NOTHING,
        **{
            "headers": shown.field("headers"),
            "column.contact_id": "0",
            "column.owner_id": "1",
            "column.message_id": "2",
            "column.deal_id": "3",
        },
    )
    assert "3 emails to change" in chosen.text
    assert chosen.can_seal


async def test_likely_headers_are_chosen_already(client: PageClient) -> None:
    shown = await client.upload(mapping(header=("Contact", "Owner", "Message Id", "Deal")))
    for place in range(4):
        assert f'<option value="{place}" selected>' in shown.html


async def test_a_column_may_have_one_value_for_all_rows(client: PageClient) -> None:
    shown = await client.upload(mapping(header=("contact_id", "owner_id", "message_id", "Ziel")))
    chosen = await client.check(
        shown, **NOTHING, headers=shown.field("headers"), **{"default.deal_id": DEAL}
    )
    assert "3 emails to change" in chosen.text


async def test_two_columns_cannot_have_one_header(client: PageClient) -> None:
    shown = await client.upload(mapping(header=("a", "b", "c", "d")))
    same = {"column.contact_id": "1", "column.owner_id": "1"}
    refused = await client.post(
        f"{shown.path}/check", **NOTHING, headers=shown.field("headers"), **same
    )
    assert refused.status == 400
    assert "contact_id and owner_id have the same header, 'b'" in refused.text


async def test_columns_of_other_headers_are_not_chosen(client: PageClient) -> None:
    shown = await client.upload(mapping(header=("a", "b", "c", "d")))
    fields = {"headers": "0" * 16, "column.contact_id": "1"}
    refused = await client.post(f"{shown.path}/check", **NOTHING, **fields)
    assert refused.status == 409
    assert "Choose the columns again" in refused.text


async def test_headers_with_markup_are_texts(client: PageClient) -> None:
    evil = '"><script>alert(1)</script>'
    shown = await client.upload(mapping(header=(evil, "b\x1b[2J", "c", "d")), name=f"{evil}.csv")
    assert "<script>alert" not in shown.html
    assert "\x1b" not in shown.html
    chosen = await client.check(
        shown, **NOTHING, headers=shown.field("headers"), **{"column.contact_id": "0"}
    )
    assert "<script>alert" not in chosen.html
    assert "no column owner_id" in chosen.text or "no columns owner_id" in chosen.text


@pytest.mark.parametrize(
    ("content", "name", "text"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), "cat.csv", "", id="picture"),
        pytest.param(b"hello", "note.txt", "There are no columns", id="note"),
        pytest.param(b"PK\x03\x04garbage", "mapping.xlsx", "", id="damaged workbook"),
        pytest.param(b'{"a": ', "mapping.jsonl", "1 row is refused", id="damaged JSON"),
        pytest.param(
            b"contact_id,owner_id,message_id,deal_id\n", "m.csv", "only a header", id="header"
        ),
        pytest.param(mapping()[:-60] + b'"', "m.csv", "", id="open quote"),
        pytest.param("kontakt;größe\n1;2\n".encode("latin-1"), "m.csv", "", id="latin 1"),
    ],
)
async def test_what_is_no_mapping_is_explained(
    client: PageClient, content: bytes, name: str, text: str
) -> None:
    shown = await client.upload(content, name=name)
    assert shown.status == 200
    assert 'id="problem"' in shown.html or 'id="faults"' in shown.html
    assert text in shown.text
    assert not shown.can_seal
    assert "/.drafts/" not in shown.html


async def test_the_content_decides_whatever_the_suffix(client: PageClient) -> None:
    assert (await client.upload(mapping(), name="mapping.xlsx")).can_seal
    assert (await client.upload(mapping(), name="mapping")).can_seal


async def test_an_empty_file_is_refused(client: PageClient, tmp_path: Path) -> None:
    refused = await client.upload(b"")
    assert refused.status == 400
    assert "The file is empty" in refused.text
    assert drafts_of(tmp_path) == []


async def test_an_upload_without_a_file_is_refused(client: PageClient) -> None:
    form = FormData({"token": client.token, "op": "link"}, default_to_multipart=True)
    async with client.session.post(f"{client.base}/new", data=form) as response:
        assert response.status == 400
        assert "No file was chosen" in await response.text()


@pytest.mark.parametrize("token", [None, "", "0" * 32, "x" * 5000])
async def test_an_upload_without_the_token_is_not_read(
    client: PageClient, tmp_path: Path, token: str | None
) -> None:
    form = FormData()
    if token is not None:
        form.add_field("token", token)
    form.add_field("mapping", mapping(), filename="mapping.csv")
    async with client.session.post(f"{client.base}/new", data=form) as response:
        assert response.status in (401, 403)
    assert drafts_of(tmp_path) == []


async def test_an_upload_with_the_token_after_the_file_is_not_read(
    client: PageClient, tmp_path: Path
) -> None:
    form = FormData()
    form.add_field("mapping", mapping(), filename="mapping.csv")
    form.add_field("token", client.token)
    async with client.session.post(f"{client.base}/new", data=form) as response:
        assert response.status == 401
    assert drafts_of(tmp_path) == []


async def test_the_token_is_only_taken_from_its_field(client: PageClient, tmp_path: Path) -> None:
    form = FormData()
    form.add_field("op", client.token)
    form.add_field("mapping", mapping(), filename="mapping.csv")
    async with client.session.post(f"{client.base}/new", data=form) as response:
        assert response.status == 401
    assert drafts_of(tmp_path) == []


async def test_a_field_that_is_too_long_is_refused(client: PageClient, tmp_path: Path) -> None:
    refused = await client.upload(mapping(), note="x" * 5000)
    assert refused.status == 400
    assert "too long" in refused.text
    assert drafts_of(tmp_path) == []


async def test_an_upload_that_is_too_large_is_refused(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path / "runs", lambda: 1e9, max_bytes=100_000)
    async with page_client(tmp_path / "runs", drafts=drafts) as client:
        for size in (100_001, 2_000_000):
            refused = await client.upload(b"x" * size)
            assert refused.status == 413
            assert "larger than 100,000 bytes" in refused.text
        assert (await client.upload(mapping())).can_seal
    assert len(drafts_of(tmp_path)) == 1


async def test_an_upload_of_unknown_length_is_bounded(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000

    drafts = Drafts(tmp_path / "runs", lambda: 1e9, max_bytes=100_000)
    async with page_client(tmp_path / "runs", drafts=drafts) as client:
        refused = await client.upload(endless())
        assert refused.status == 413
    assert drafts_of(tmp_path) == []


async def test_a_form_with_too_many_fields_is_refused(client: PageClient) -> None:
    refused = await client.upload(mapping(), **{f"field{n}": "x" for n in range(50)})
    assert refused.status == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("op", "delete"),
        ("on_invalid", "ignore"),
        ("hidden_rows", "all"),
        ("skip_lines", "-1"),
        ("skip_lines", "9" * 40),
        ("skip_lines", "999999999"),
        ("encoding", "x" * 201),
        ("default.deal_id", "x" * 201),
    ],
)
async def test_an_invalid_setting_is_refused(client: PageClient, field: str, value: str) -> None:
    shown = await client.upload(mapping())
    refused = await client.post(f"{shown.path}/check", **NOTHING | {field: value})
    assert refused.status in (400, 409)
    assert "not a valid value" in refused.text
    assert (await client.get(shown.path)).can_seal


async def test_a_setting_is_named_by_its_label(client: PageClient) -> None:
    titled = b"Links of the third quarter\n" + mapping()
    shown = await client.upload(titled)
    assert "Skip the lines above them with “Lines above the headers” (1)" in shown.text
    assert "--" not in shown.text
    assert "skip_lines=" not in shown.text
    assert "Choose the header" not in shown.text
    assert (await client.check(shown, **NOTHING, skip_lines="1")).can_seal


async def test_the_digest_that_was_shown_is_sealed_and_no_other(
    client: PageClient, tmp_path: Path
) -> None:
    shown = await client.upload(mapping())
    await client.check(shown, op="unlink", on_invalid="stop")  # in another window
    refused = await seal(client, shown)
    assert refused.status == 409
    assert "the plan is another one than was shown" in refused.text
    assert runs_of(tmp_path) == []


async def test_a_change_of_the_file_after_the_check_does_not_matter(
    client: PageClient, tmp_path: Path
) -> None:
    shown = await client.upload(mapping())
    (draft,) = drafts_of(tmp_path)
    (draft / "mapping").write_bytes(mapping(30))
    await seal(client, shown)
    (folder,) = runs_of(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    assert (record["digest"], record["messages"]) == (shown.field("digest"), 3)


async def test_a_plan_that_was_changed_is_not_sealed(client: PageClient, tmp_path: Path) -> None:
    shown = await client.upload(mapping())
    (draft,) = drafts_of(tmp_path)
    record = draft / "plan" / "run.json"
    record.write_text(record.read_text().replace(shown.field("digest"), "0" * 64))
    assert (await seal(client, shown)).status == 409
    assert runs_of(tmp_path) == []


async def test_a_draft_is_sealed_once(client: PageClient, tmp_path: Path) -> None:
    shown = await client.upload(mapping())
    answers: list[int] = []

    async def press() -> None:
        answers.append((await seal(client, shown)).status)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(press)
    sealed, *refused = sorted(answers)
    assert sealed == 200
    assert set(refused) <= {404, 409}
    assert len(runs_of(tmp_path)) == 1


@pytest.mark.parametrize("action", ["check", "seal", "discard"])
async def test_a_draft_that_is_gone_is_said_to_be(client: PageClient, action: str) -> None:
    shown = await client.upload(mapping())
    discarded = await client.post(f"{shown.path}/discard")
    assert discarded.path == "/new"
    gone = await client.post(f"{shown.path}/{action}", **NOTHING, digest="0" * 64)
    assert gone.status == 404
    assert "This mapping is gone" in gone.text
    assert (await client.get(shown.path)).status == 404


async def test_a_draft_outlives_the_page(tmp_path: Path) -> None:
    async with page_client(tmp_path / "runs") as client:
        path = (await client.upload(mapping())).path
    async with page_client(tmp_path / "runs") as client:
        assert "mapping.csv" in (await client.get("/new")).text
        shown = await client.get(path)
        assert "Check it to see its plan" in shown.text
        assert (await client.check(shown, **NOTHING)).can_seal


async def test_the_columns_of_a_draft_outlive_the_page(tmp_path: Path) -> None:
    async with page_client(tmp_path / "runs") as client:
        shown = await client.upload(mapping(header=(*HEADER[:3], "Ziel")))
        fields = {"headers": shown.field("headers"), "column.deal_id": "3"}
        path = (await client.check(shown, **NOTHING, **fields)).path
    async with page_client(tmp_path / "runs") as client:
        assert (await client.check(await client.get(path), **NOTHING)).can_seal


async def test_old_drafts_are_removed_at_the_start(tmp_path: Path) -> None:
    async with page_client(tmp_path / "runs") as client:
        await client.upload(mapping())
    later = Drafts(tmp_path / "runs", lambda: 1e11)
    async with page_client(tmp_path / "runs", drafts=later):
        assert drafts_of(tmp_path) == []


async def test_a_program_sends_what_the_page_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with page_client(tmp_path / "runs") as client:
        shown = await client.upload(mapping())
        await seal(client, shown)
    (folder,) = runs_of(tmp_path)
    async with local_crm() as crm:
        result = await apply(folder, crm.connection, expect=shown.field("digest"), yes=True)
        assert (result.counts["done"], crm.linked) == (3, 3)


class SlowPlanning:
    """A machine on which checks take until the gate opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def environment(self) -> Environment:
        return msgspec.structs.replace(real_environment(), run_blocking=self.run)

    def checks(self, runs: Path) -> DraftChecks:
        """Return the checks of a folder of runs, which wait for the gate."""
        return DraftChecks(Drafts(runs, lambda: 1e9), runs, self.environment(), no_connection)

    async def run(self, work: Callable[[], Any]) -> Any:
        if isinstance(work, partial) and work.func is check_draft:
            await anyio.to_thread.run_sync(self.gate.wait)
        return await anyio.to_thread.run_sync(work)


@pytest.fixture
def slow() -> Iterator[SlowPlanning]:
    planning = SlowPlanning()
    yield planning
    planning.gate.set()


def draft_of(drafts: Drafts) -> Draft:
    upload = drafts.begin()
    upload.write(mapping())
    return upload.complete("mapping.csv", DraftSettings(op=Op.LINK))


async def test_a_draft_that_is_being_checked_is_left_alone(
    tmp_path: Path, slow: SlowPlanning
) -> None:
    checks = slow.checks(tmp_path / "runs")
    draft = draft_of(checks.drafts)
    await checks.start(draft, draft.record.settings)
    for again in (checks.start(draft, draft.record.settings), checks.seal(draft, "0" * 64)):
        with pytest.raises(PageError, match="being checked"):
            await again
    slow.gate.set()
    await checks.close()


async def test_only_so_many_drafts_are_checked_at_a_time(
    tmp_path: Path, slow: SlowPlanning
) -> None:
    checks = slow.checks(tmp_path / "runs")
    for _ in range(3):
        draft = draft_of(checks.drafts)
        await checks.start(draft, draft.record.settings)
    fourth = draft_of(checks.drafts)
    with pytest.raises(PageError, match="3 mappings are being checked"):
        await checks.start(fourth, fourth.record.settings)
    slow.gate.set()
    await checks.close()


async def test_a_draft_that_is_discarded_stops_its_check(
    tmp_path: Path, slow: SlowPlanning
) -> None:
    checks = slow.checks(tmp_path / "runs")
    draft = draft_of(checks.drafts)
    await checks.start(draft, draft.record.settings)
    async with anyio.create_task_group() as group:
        group.start_soon(checks.discard, draft)
        slow.gate.set()
    assert drafts_of(tmp_path) == []
    assert checks.activity_of(draft) is None
