"""A probe finds out each way in which an org can answer, and leaves its links as they were."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from bulklink import Connection
from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault
from bulklink.emulator.http import Request as WireRequest
from bulklink.emulator.like import read_probe_file
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.engine.shutdown import StopController
from bulklink.errors import (
    ConfigError,
    NotConfirmedError,
    RefusedError,
    RunDirError,
    UsageError,
    WrongOrgError,
)
from bulklink.operations.callbacks import ProbeConfirmation, RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.probe import probe
from bulklink.operations.probing.result import ProbeResult
from bulklink.zoho.http import Answer, NoResponse, Transport
from tests.probed_world import (
    ANA,
    FLEET,
    JACOB,
    PRIVATE,
    ROLE,
    SHARED,
    TOM,
    TOMS,
    TRAVEL,
    message,
    mixed_variants,
    setting_variants,
    wanted_answer,
    world_file,
)
from tests.simulation.environment import simulated_environment
from tests.simulation.simulator import CONNECTION
from tests.virtual import now, run_virtual

Variant = tuple[str, Settings]
VARIANTS = [*setting_variants(), *mixed_variants()]
KEYS = sorted({key for key, _ in VARIANTS})


RECORDS = {"other_contact": TOM, "role_deal": ROLE, "private_email": PRIVATE}


class Interrupter:
    """Counts the requests of a probe, and acts once one was executed, before its answer arrives.

    Args:
        at: number of the request, from 1; 0 for none.
        action: called then.
    """

    def __init__(self, at: int = 0, action: Callable[[], None] = lambda: None) -> None:
        self.requests = 0
        self._at = at
        self._actions = {at: action}

    def then(self, later: int, action: Callable[[], None]) -> None:
        """Also call `action` some requests later."""
        self._actions[self._at + later] = action

    def wrap(self, environment: Environment) -> Environment:
        """Return the environment with a transport that is watched."""

        @asynccontextmanager
        async def transport() -> AsyncIterator[Transport]:
            async with environment.transport() as inner:
                yield _WatchedTransport(inner, self)

        return msgspec.structs.replace(environment, transport=transport)

    async def count(self) -> None:
        """Count a request that was executed."""
        self.requests += 1
        if self.requests in self._actions:
            self._actions[self.requests]()
            await anyio.lowlevel.checkpoint()


class _WatchedTransport:
    def __init__(self, inner: Transport, interrupter: Interrupter) -> None:
        self._inner = inner
        self._interrupter = interrupter

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        outcome = await self._inner.send(method, url, headers, body)
        await self._interrupter.count()
        return outcome


class User(RunCallbacks):
    """A user at a terminal.

    Args:
        probes: whether the user confirms the probe.
        refuses: titles of the experiments that the user does not want.
    """

    can_ask = True

    def __init__(self, *, probes: bool = True, refuses: frozenset[str] = frozenset()) -> None:
        self.warnings: list[str] = []
        self.price = 0
        self._probes = probes
        self._refuses = refuses

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)

    def on_probe(self, request: ProbeConfirmation) -> None:
        self.price = request.credits

    def confirm_probe(self, request: ProbeConfirmation) -> bool:
        return self._probes

    def confirm_experiment(self, title: str, sends: str) -> bool:
        return title not in self._refuses


def make_crm(settings: Settings, *faults: Fault, **world: Any) -> Crm:
    return Crm(parse_world(world_file(**world)), settings, faults, clock=now)


async def links(crm: Crm) -> str:
    """Return the digest of which email is on which deal."""
    answer = await crm.handle(WireRequest("GET", "/_emulator/state", "", {}, b""))
    return str(json.loads(bytes(answer.body))["digest"])


async def run_probe(
    crm: Crm,
    folder: Path,
    *,
    interrupter: Interrupter | None = None,
    stop: StopController | None = None,
    callbacks: RunCallbacks | None = None,
    connection: Connection = CONNECTION,
    contact: str = ANA,
    **options: Any,
) -> ProbeResult:
    """Probe a CRM with all records that it has, into `probe.json` of a folder."""
    refusal: RefusedError | None = None
    async with simulated_environment(crm) as environment:
        try:
            return await probe(
                contact,
                folder / "probe.json",
                connection,
                **{**RECORDS, "force": True, **options},
                callbacks=callbacks or User(),
                stop=stop,
                environment=(interrupter or Interrupter()).wrap(environment),
            )
        except RefusedError as error:
            refusal = error  # a task group would wrap it
    raise refusal


def left_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def answers_of(result: ProbeResult) -> dict[str, str | None]:
    return {row.key: row.answer for row in result.answers}


@pytest.mark.parametrize("key", KEYS)
async def test_a_probe_finds_each_answer_and_the_emulator_then_gives_it(
    key: str, tmp_path: Path
) -> None:
    for _, settings in (variant for variant in VARIANTS if variant[0] == key):
        wanted = wanted_answer(key, settings)
        crm, user = make_crm(settings), User()
        before = await links(crm)
        result = await run_probe(crm, tmp_path, callbacks=user)
        assert answers_of(result)[key] == wanted, (key, wanted, result)
        assert await links(crm) == before, wanted
        assert result.credits <= user.price, wanted
        org = read_probe_file(tmp_path / "probe.json")
        assert org.unsupported == (), wanted
        world_settings = Settings(private_mailboxes=settings.private_mailboxes)
        liked = org.apply(world_settings, frozenset())
        assert wanted_answer(key, liked) == wanted
        again = await run_probe(make_crm(liked), tmp_path)
        assert answers_of(again) == answers_of(result), wanted


def test_links_are_as_before_after_ctrl_c_at_any_request(tmp_path: Path) -> None:
    for at in _every_request(tmp_path):
        run_virtual(_stop_at(at, tmp_path))


async def _stop_at(at: int, folder: Path) -> None:
    crm, stop = make_crm(Settings()), StopController()
    before = await links(crm)
    result = await run_probe(crm, folder, interrupter=Interrupter(at, stop.interrupt), stop=stop)
    assert await links(crm) == before, at
    assert (result.not_restored, result.exit_code) == (0, 130), at
    assert left_in(folder) == [], at


def test_a_later_command_puts_back_what_a_kill_at_any_request_left(tmp_path: Path) -> None:
    left = sum(run_virtual(_kill_at(at, tmp_path)) for at in _every_request(tmp_path))
    assert left > 20


async def _kill_at(at: int, folder: Path) -> bool:
    """Kill a probe once a request was executed; return whether it left links changed."""
    crm = make_crm(Settings())
    if at % 2:  # the command that puts the emails back does not know how this org wants links
        crm = make_crm(
            Settings(names="refused"), deals=dict.fromkeys(map(message, (1, 2, 3)), FLEET)
        )
    before = await links(crm)
    with anyio.CancelScope() as scope:
        await run_probe(crm, folder, interrupter=Interrupter(at, scope.cancel))
    is_changed = await links(crm) != before
    result = await run_probe(crm, folder, put_back=True)
    assert await links(crm) == before, at
    assert (result.not_restored, result.exit_code) == (0, 0), at
    assert left_in(folder) == [], at
    return is_changed


@pytest.mark.parametrize("op", ["link", "unlink"])
def test_a_call_that_lands_after_the_kill_is_waited_for(op: str, tmp_path: Path) -> None:
    for at in range(8, 24):
        run_virtual(_kill_before_a_late_call(op, at, tmp_path))


async def _kill_before_a_late_call(op: str, at: int, folder: Path) -> None:
    crm = make_crm(Settings())
    before = await links(crm)

    def make_late() -> None:
        crm.state.faults.add(Fault("late", op=op, seconds=5))

    with anyio.CancelScope() as scope:
        interrupter = Interrupter(at, make_late)
        interrupter.then(1, scope.cancel)
        await run_probe(crm, folder, interrupter=interrupter)
    crm.state.faults.clear()
    await run_probe(crm, folder, put_back=True)
    await anyio.sleep(100)
    assert await links(crm) == before, at


def _every_request(folder: Path) -> Iterator[int]:
    """Yield the number of each request of a whole probe."""
    interrupter = Interrupter()
    run_virtual(_probe_once(folder, interrupter))
    assert interrupter.requests > 50
    (folder / "probe.json").unlink()
    yield from range(1, interrupter.requests + 1)


async def _probe_once(folder: Path, interrupter: Interrupter) -> None:
    await run_probe(make_crm(Settings()), folder, interrupter=interrupter)


@pytest.mark.parametrize("first_seed", range(30, 70, 20))
def test_faults_change_no_answer_and_no_link(first_seed: int, tmp_path: Path) -> None:
    """An answer that a fault spoilt is unknown; all others are those of a calm org."""
    expected = run_virtual(_calm_answers(tmp_path))
    known = 0
    for seed in range(first_seed, first_seed + 20):
        known += run_virtual(_check_faults(seed, tmp_path, expected))
    assert known > 20 * len(expected) / 3


async def _calm_answers(folder: Path) -> dict[str, str | None]:
    return answers_of(await run_probe(make_crm(Settings()), folder))


async def _check_faults(seed: int, folder: Path, expected: dict[str, str | None]) -> int:
    """Probe a CRM with random faults; return the number of answers found."""
    rng = random.Random(seed)
    kinds = ("lost-answer", "lost-request", "late", "503", "500-applied", "TOO_MANY_REQUESTS")
    share, op = rng.choice([0.05, 0.15, 0.3]), rng.choice(["link", "unlink", None])
    crm = make_crm(Settings(), Fault(rng.choice(kinds), op=op, share=share, seed=seed))
    before = await links(crm)
    result = await run_probe(crm, folder)
    await anyio.sleep(100)
    assert (await links(crm) == before) is (result.not_restored == 0), seed
    if result.not_restored:
        crm.state.faults.clear()
        assert (await run_probe(crm, folder, put_back=True)).exit_code == 0
        assert await links(crm) == before, seed
    found = {
        key: answer
        for key, answer in answers_of(result).items()
        if answer is not None and key not in ("too-many-body", "retry-after")
    }
    assert found.items() <= expected.items(), seed
    return len(found)


async def test_emails_that_are_all_linked_are_moved_and_put_back(tmp_path: Path) -> None:
    deals: dict[str, str | None] = dict.fromkeys(map(message, (1, 2, 3)), FLEET)
    crm, user = make_crm(Settings(), deals=deals | {SHARED: TRAVEL}), User()
    before = await links(crm)
    result = await run_probe(crm, tmp_path, callbacks=user)
    assert await links(crm) == before
    assert result.credits <= user.price
    calm = await run_probe(make_crm(Settings()), tmp_path)
    assert answers_of(result) == answers_of(calm)


async def test_a_linked_email_is_left_if_it_could_not_be_linked_again(tmp_path: Path) -> None:
    """The fault refuses each link, which an email on no deal need not fear."""
    deals: dict[str, str | None] = dict.fromkeys((*map(message, (1, 2, 3)), SHARED), FLEET)
    crm = make_crm(Settings(), Fault("NO_PERMISSION", op="link"), deals=deals)
    stop = StopController()
    result = await run_probe(crm, tmp_path, stop=stop)
    assert (result.exit_code, result.not_restored, result.file) == (3, 0, None)
    assert crm.state.change_count == 0
    assert "refuses to link an email to the deal it is on" in str(stop.reason)
    assert "HTTP 403 NO_PERMISSION" in str(stop.reason)
    assert left_in(tmp_path) == []


async def test_each_linked_email_is_tried_before_it_is_unlinked(tmp_path: Path) -> None:
    """Links of Jacob's emails are refused, and one of them is linked."""
    settings = Settings(private_mailboxes=(JACOB,))
    crm = make_crm(settings, deals={message(3): FLEET})
    before = await links(crm)
    result = await run_probe(crm, tmp_path, private_email=None, emails=[message(1), message(3)])
    assert (result.exit_code, await links(crm)) == (0, before)
    reasons = {row.key: f"{row.reason} {row.seen}" for row in result.answers}
    assert reasons["mixed-owners"] == "An email could not be put back. HTTP 400 NOT_ALLOWED"


async def test_emails_that_cannot_be_put_back_are_named_and_their_deals_kept(
    tmp_path: Path,
) -> None:
    """All emails are linked, and from the tenth link on links are refused."""
    deals: dict[str, str | None] = dict.fromkeys((*map(message, (1, 2, 3)), SHARED), FLEET)
    crm, user = make_crm(Settings(), deals=deals), User()

    def refuse_links() -> None:
        crm.state.faults.add(Fault("NO_PERMISSION", op="link"))

    before = await links(crm)
    result = await run_probe(
        crm, tmp_path, callbacks=user, interrupter=Interrupter(40, refuse_links)
    )
    assert (result.exit_code, result.file) == (3, None)
    assert result.not_restored > 0
    named = [text for text in user.warnings if "is not on deal" in text]
    assert len(named) == result.not_restored
    assert left_in(tmp_path) == ["probe.json.probing"]
    crm.state.faults.clear()
    result = await run_probe(crm, tmp_path)  # an ordinary probe puts them back first
    assert (result.exit_code, await links(crm)) == (0, before)
    assert left_in(tmp_path) == ["probe.json"]


async def test_without_an_answer_nothing_is_changed(tmp_path: Path) -> None:
    crm, stop = make_crm(Settings(), Fault("lost-request")), StopController()
    result = await run_probe(crm, tmp_path, stop=stop)
    assert (result.exit_code, result.stopped_by, result.not_restored) == (3, "no-answer", 0)
    assert "The CRM does not answer" in str(stop.reason)
    assert left_in(tmp_path) == []


async def test_an_outage_leaves_the_rest_to_a_later_command(tmp_path: Path) -> None:
    crm = make_crm(Settings())
    before = await links(crm)

    def begin_outage() -> None:
        crm.state.faults.add(Fault("lost-request"))

    result = await run_probe(crm, tmp_path, interrupter=Interrupter(12, begin_outage))
    assert (result.exit_code, result.stopped_by) == (3, "no-answer")
    assert result.not_restored == 5
    assert result.folder == str(tmp_path / "probe.json.probing")
    crm.state.faults.clear()
    assert await links(crm) != before
    assert (await run_probe(crm, tmp_path, put_back=True)).restored == 5
    assert await links(crm) == before


async def test_a_limit_of_credits_stops_the_probe_but_not_putting_back(tmp_path: Path) -> None:
    for limit in (15, 16, 17, 30):
        crm = make_crm(Settings())
        before = await links(crm)
        result = await run_probe(crm, tmp_path, max_credits=limit)
        assert (result.exit_code, result.stopped_by) == (4, "max-credits"), limit
        assert (result.not_restored, await links(crm)) == (0, before), limit
        assert left_in(tmp_path) == []


async def test_an_org_without_credits_leaves_the_rest_to_a_later_command(tmp_path: Path) -> None:
    crm = make_crm(Settings(credits=1000, credit_window=3600))
    before = await links(crm)
    crm.state.credits.spend(1000 - 12, now())
    result = await run_probe(crm, tmp_path)
    assert (result.exit_code, result.stopped_by) == (4, "credits")
    assert result.folder is not None
    await anyio.sleep(4000)
    assert (await run_probe(crm, tmp_path, put_back=True)).exit_code == 0
    assert await links(crm) == before


async def test_a_refused_experiment_is_not_sent_and_unknown(tmp_path: Path) -> None:
    crm = make_crm(Settings())
    user = User(refuses=frozenset({"another owner", "more than 20 emails"}))
    result = await run_probe(crm, tmp_path, callbacks=user)
    unknown = {row.key: row.reason for row in result.answers if row.answer is None}
    refused = "The user did not want to send it."
    assert (unknown["wrong-owner"], unknown["over-max"]) == (refused, refused)
    assert answers_of(result)["mixed-owners"] == "accept"


async def test_nothing_is_changed_unless_somebody_agrees(tmp_path: Path) -> None:
    crm = make_crm(Settings())
    with pytest.raises(NotConfirmedError, match="Not confirmed"):
        await run_probe(crm, tmp_path, callbacks=User(probes=False))
    with pytest.raises(NotConfirmedError, match="cannot be asked"):
        await run_probe(crm, tmp_path, callbacks=RunCallbacks())
    with pytest.raises(UsageError, match="only emails that are named"):
        await run_probe(crm, tmp_path, callbacks=RunCallbacks(), yes=True)
    assert crm.state.calls.keys() <= {"token", "lookup", "read"}
    assert left_in(tmp_path) == []
    result = await run_probe(
        crm, tmp_path, callbacks=RunCallbacks(), yes=True, emails=[message(3), message(1)]
    )
    assert (result.restored, answers_of(result)["mixed-owners"]) == (3, "accept")


@pytest.mark.parametrize(
    ("body", "header", "credits_of_calls"),
    [("current", "off", (1, 1)), ("old", "on", (2, 3)), ("stated", "off", (0, 1))],
)
async def test_what_a_429_and_the_credits_show_by_the_way_is_an_answer(
    body: Any, header: Any, credits_of_calls: tuple[int, int], tmp_path: Path
) -> None:
    """More than half of the credits are used, and other programs are busy for three seconds."""
    settings = Settings(
        credits=1000,
        concurrency=1,
        background_plan=("0=1", "3=0"),
        link_credits=credits_of_calls[0],
        read_credits=credits_of_calls[1],
        too_many_body=body,
        retry_after=header,
    )
    crm = make_crm(settings)
    crm.state.credits.spend(600, now())
    result = await run_probe(crm, tmp_path)
    answers = answers_of(result)
    assert (answers["link-credits"], answers["read-credits"]) == tuple(map(str, credits_of_calls))
    assert (answers["too-many-body"], answers["retry-after"]) == (body, header)
    liked = read_probe_file(tmp_path / "probe.json").apply(Settings(), frozenset())
    assert (liked.link_credits, liked.read_credits) == credits_of_calls
    assert (liked.too_many_body, liked.retry_after) == (body, header)


async def test_the_file_identifies_nobody(tmp_path: Path) -> None:
    crm = make_crm(Settings(link_timeline="both", link_source="crm_ui"))
    await run_probe(crm, tmp_path)
    text = (tmp_path / "probe.json").read_text()
    identifying = re.findall(r"[0-9a-f]{16,}|\d{5,}|[A-Z][a-z]+ [A-Z][a-z]+|@", text)
    assert identifying == []
    assert json.loads(text)["version"] == 1
    assert '"crm_ui"' in text


BAD_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"contact": "../Users"}, "is not an id"),
    ({"emails": ["a,b"]}, "is not an id"),
    ({"contact": "999"}, "could not be read. HTTP"),
    ({"emails": [message(1), message(9)]}, f"has no email {message(9)}"),
    ({"role_deal": TRAVEL}, "is the contact's own"),
    ({"role_deal": TOMS}, "does not have the contact by a contact role"),
    ({"role_deal": "77"}, "does not exist"),
]


@pytest.mark.parametrize(("options", "problem"), BAD_REQUESTS)
async def test_records_that_do_not_fit_are_refused_before_any_change(
    options: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    crm = make_crm(Settings())
    with pytest.raises(UsageError, match=problem) as caught:
        await run_probe(crm, tmp_path, **options)
    assert caught.value.advice
    assert crm.state.change_count == 0
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("missing", "problem"),
    [("deals", "no deal of its own"), ("emails", "lists no emails")],
)
async def test_a_contact_without_deals_or_emails_is_refused(
    missing: str, problem: str, tmp_path: Path
) -> None:
    world = world_file(deals={})
    world[missing] = [record for record in world[missing] if record["contact_id"] != ANA]
    crm = Crm(parse_world(world), Settings(), clock=now)
    with pytest.raises(UsageError, match=problem):
        await run_probe(crm, tmp_path, private_email=None, role_deal=None)


async def test_an_email_on_a_deal_of_somebody_else_is_never_touched(tmp_path: Path) -> None:
    """It might be refused when it is linked again."""
    crm = make_crm(Settings(), deals=dict.fromkeys((*map(message, (1, 2, 3)), SHARED), TOMS))
    with pytest.raises(UsageError, match="no email to probe with"):
        await run_probe(crm, tmp_path)
    with pytest.raises(UsageError, match="not the contact's own"):
        await run_probe(crm, tmp_path, emails=[message(1)])
    with pytest.raises(UsageError, match=f"{message(2)} is on a deal"):
        await run_probe(make_crm(Settings()), tmp_path, private_email=message(2))


@pytest.mark.parametrize(
    "connection",
    [
        Connection.from_values(dc="eu", access_token="token-for-a-probe"),
        Connection.from_values(
            api_url="https://www.zohoapis.eu", environment="sandbox", access_token="a-token"
        ),
        Connection.from_values(
            api_url="https://WWW.zohoapis.eu.:443", environment="sandbox", access_token="a-token"
        ),
    ],
    ids=["environment", "host", "the same host in another spelling"],
)
async def test_production_is_refused_before_a_token_is_requested(
    connection: Connection, tmp_path: Path
) -> None:
    interrupter = Interrupter()
    with pytest.raises(ConfigError, match="never runs in production"):
        await run_probe(
            make_crm(Settings()), tmp_path, connection=connection, interrupter=interrupter
        )
    assert (interrupter.requests, left_in(tmp_path)) == (0, [])


@pytest.mark.parametrize(("org_type", "is_refused"), [("Production", True), ("Developer", False)])
async def test_off_this_machine_the_type_of_the_org_decides(
    org_type: str, is_refused: bool, tmp_path: Path
) -> None:
    world = world_file() | {"org": {"type": org_type}}
    crm = Crm(parse_world(world), Settings(), clock=now)
    if is_refused:
        with pytest.raises(ConfigError, match="of type Production"):
            await run_probe(crm, tmp_path)
        assert crm.state.calls.keys() == {"token", "lookup"}
    else:
        assert (await run_probe(crm, tmp_path)).exit_code == 0


async def test_what_was_left_is_put_back_only_where_it_was_probed(tmp_path: Path) -> None:
    crm = make_crm(Settings())
    with anyio.CancelScope() as scope:
        await run_probe(crm, tmp_path, interrupter=Interrupter(30, scope.cancel))
    other = Crm(parse_world(world_file() | {"org": {"id": "7"}}), Settings(), clock=now)
    with pytest.raises(WrongOrgError):
        await run_probe(other, tmp_path, put_back=True)
    elsewhere = msgspec.structs.replace(CONNECTION, api_url="http://elsewhere")
    with pytest.raises(WrongOrgError):
        await run_probe(crm, tmp_path, put_back=True, connection=elsewhere)
    assert (await run_probe(crm, tmp_path, put_back=True)).restored == 5
    nothing = await run_probe(crm, tmp_path, put_back=True)
    assert (nothing.restored, nothing.exit_code, nothing.calls) == (0, 0, {})


@pytest.mark.parametrize(
    ("old", "new"), [(ANA, "../x"), (message(1), "a,b"), ('"emails"', '"emais"'), ("{", "[")]
)
async def test_a_record_that_was_changed_is_refused_and_kept(
    old: str, new: str, tmp_path: Path
) -> None:
    crm, record = make_crm(Settings()), tmp_path / "probe.json.probing" / "before.json"
    with anyio.CancelScope() as scope:
        await run_probe(crm, tmp_path, interrupter=Interrupter(30, scope.cancel))
    record.write_text(record.read_text().replace(old, new))
    with pytest.raises(RunDirError, match="not the record of a probe"):
        await run_probe(crm, tmp_path, put_back=True)
    assert record.exists()
