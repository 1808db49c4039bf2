"""Load tests on a virtual clock: what they measure, and that their ledger is true."""

from __future__ import annotations

import csv
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import msgspec
import orjson
import pytest

from bulklink import Connection, Job, LoadResult, LoadTest, RunCallbacks, RunState, StopController
from bulklink import load_test as run_load_test
from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault, FaultRegistry
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.errors import BulklinkError, ConfigError, RunDirError, UsageError
from bulklink.operations.check import check_run
from bulklink.operations.environment import Environment
from bulklink.operations.org_share import OrgShares
from bulklink.operations.resume import resume
from bulklink.runs.status import status
from bulklink.zoho.http import Answer, NoResponse, Transport
from tests.guard import off_loop
from tests.simulation.environment import simulated_environment
from tests.simulation.simulator import CONNECTION
from tests.virtual import now

OWNER, MODULE = "5843104000000424672", "5843104000000003735"
LOCAL = msgspec.structs.replace(CONNECTION, api_url="http://127.0.0.1:1", module_id=MODULE)
REMOTE = msgspec.structs.replace(CONNECTION, module_id=MODULE)
FAST = 0.05


def contact(number: int) -> str:
    return f"58431040000043{number:05}"


def deal(number: int) -> str:
    return f"58431040000044{number:05}"


def email(contact_number: int, number: int) -> str:
    return f"{contact_number:032x}{number:032x}"


@dataclass
class Lab:
    """A CRM with contacts of 40 emails, and a mapping of them all.

    Args:
        folder: folder of the mapping and the runs.
        contacts: number of contacts, each with two batches.
        linked: whether the emails are on their deals.
        settings: settings of the emulator.
        stall: a time in seconds after the first link call, and how long nothing is answered then.
        dies_at: seconds after the first link call from which nothing accepts connections.
        org_type: what the org says that it is.
        shares: shares of the calls in flight of orgs.
    """

    folder: Path
    contacts: int = 50
    linked: bool = False
    settings: Settings = field(default_factory=lambda: Settings(latency=FAST, concurrency=1000))
    stall: tuple[float, float] = (math.inf, 0.0)
    dies_at: float = math.inf
    org_type: str = "Sandbox"
    shares: OrgShares | None = None
    crm: Crm = field(init=False)

    def __post_init__(self) -> None:
        contacts = range(self.contacts)
        world: dict[str, Any] = {
            "module_id": MODULE,
            "org": {"type": self.org_type},
            "users": [{"id": OWNER, "full_name": "P. Boyle", "email": "p@us.example"}],
            "contacts": [{"id": contact(c), "name": "C", "email": ""} for c in contacts],
            "deals": [{"id": deal(c), "name": "D", "contact_id": contact(c)} for c in contacts],
            "emails": [
                {
                    "contact_id": contact(c),
                    "message_id": email(c, n),
                    "owner_id": OWNER,
                    "deal_id": deal(c) if self.linked else None,
                }
                for c in contacts
                for n in range(40)
            ],
        }
        self.crm = Crm(parse_world(world), self.settings)
        columns = ["contact_id", "owner_id", "owner_name", "message_id", "deal_id", "deal_name"]
        with (self.folder / "mapping.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(
                [contact(c), OWNER, "P. Boyle", email(c, n), deal(c), "D"]
                for c in contacts
                for n in range(40)
            )

    async def run(
        self,
        *,
        connection: Connection = LOCAL,
        concurrency: int | None = None,
        must_prepare: bool = False,
        callbacks: RunCallbacks | None = None,
        stop: StopController | None = None,
        job: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> LoadResult:
        """Run a load test in virtual time."""
        settings = {"rate": None, "runs_dir": self.folder / "runs"} | dict(job or {})
        mapping = str(self.folder / "mapping.csv")
        error: BulklinkError | None = None
        async with simulated_environment(self.crm) as environment:
            try:
                return await run_load_test(
                    Job(mappings=(mapping,), concurrency=concurrency, **settings),
                    LoadTest(**options),
                    connection,
                    must_prepare=must_prepare,
                    callbacks=callbacks,
                    stop=stop,
                    environment=self._with_troubles(environment),
                )
            except BulklinkError as raised:
                error = raised  # the environment would put it into a group
        raise error

    def _with_troubles(self, environment: Environment) -> Environment:
        begin, seconds = self.stall
        dies_at = self.dies_at
        first_call: list[float] = []

        @asynccontextmanager
        async def transport() -> AsyncIterator[Transport]:
            async with environment.transport() as inner:
                yield Troubled(inner)

        class Troubled:
            """Transport to a server that stalls or dies."""

            def __init__(self, inner: Transport) -> None:
                self._inner = inner

            async def send(
                self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
            ) -> Answer | NoResponse:
                if "link_record" in url:
                    first_call.append(now())
                since_first = now() - first_call[0] if first_call else 0.0
                if since_first >= dies_at:
                    await anyio.sleep(0.01)
                    return NoResponse("nothing accepts connections there", sent=False)
                if begin <= since_first < begin + seconds:
                    await anyio.sleep(begin + seconds - since_first)
                return await self._inner.send(
                    method, url.replace(LOCAL.api_url, "http://crm"), headers, body
                )

        return msgspec.structs.replace(environment, transport=transport, org_shares=self.shares)

    def links(self) -> dict[str, str | None]:
        """Return the deal of each email in the CRM."""
        return {
            email(c, n): self.crm.state.view(contact(c)).deal_of(mail)
            for c in range(self.contacts)
            for n, mail in enumerate(self.crm.state.view(contact(c)).mailbox.emails)
        }


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def ledger_lines(result: LoadResult) -> list[dict[str, Any]]:
    text = (Path(result.run_dir) / "ledger.jsonl").read_bytes()
    return [orjson.loads(line) for line in text.splitlines()]


async def test_a_stall_shows_in_latencies_from_the_intended_start(tmp_path: Path) -> None:
    lab = Lab(tmp_path, stall=(8.0, 2.0))
    result = await lab.run(arrival_rate=60, duration="20s", concurrency=4)
    intended, service = result.latency.intended, result.latency.service
    assert intended is not None
    assert service is not None
    assert intended.p99 >= 1.5
    assert service.p99 < 0.1
    assert result.late > 100
    assert result.calls + result.dropped == 1200
    assert result.limited_by != "the schedule"


async def test_the_arrival_rate_is_kept(lab: Lab) -> None:
    result = await lab.run(steps="50,100:10s", warm_up="2s")
    assert result.calls == pytest.approx(1500, rel=0.005)
    assert result.asked_calls_per_second == pytest.approx(75)
    assert [phase.calls for phase in result.phases] == pytest.approx([100, 500, 1000], abs=2)
    assert [phase.calls_per_second for phase in result.phases[1:]] == pytest.approx(
        [50, 100], rel=0.005
    )
    assert (result.late, result.dropped, result.errors, result.limited_by) == (
        *(0, 0, {}),
        "the schedule",
    )
    assert sum(interval.calls for interval in result.series) == result.calls
    assert result.messages == 20 * result.calls


async def test_a_closed_model_keeps_as_many_calls_in_flight_as_asked(lab: Lab) -> None:
    result = await lab.run(duration="10s", concurrency=10)
    assert result.calls_per_second == pytest.approx(10 / FAST, rel=0.02)
    assert result.asked_calls_per_second is None
    assert result.latency.service == result.latency.intended
    assert result.latency.service is not None
    assert result.latency.service.p50 == pytest.approx(FAST, rel=0.01)


async def test_the_ledger_says_where_each_email_is(lab: Lab) -> None:
    lab.crm.state.faults = FaultRegistry(
        [Fault("503", share=0.1), Fault("INVALID_DATA", share=0.05)]
    )
    result = await lab.run(duration="3s", concurrency=10)
    assert {"HTTP 503", "INVALID_DATA"} & result.errors.keys()
    last: dict[str, dict[str, Any]] = {}
    for line in ledger_lines(result):
        if line["event"] == "result" and line["status"] == "done":
            last[line["message_id"]] = line
    links = lab.links()
    assert len(last) == len(links)
    for message_id, line in last.items():
        wanted = line["deal_id"] if line["op"] == "link" else None
        assert links[message_id] == wanted, line
    assert (await off_loop(check_run, result.run_dir)).ok
    calls = [line for line in ledger_lines(result) if line["event"] == "call"]
    assert sum(line["op"] in ("link", "unlink") for line in calls) == result.calls
    assert all(line["attempt"] == 1 for line in calls)


async def test_emails_are_first_brought_into_the_state_that_the_test_begins_with(
    tmp_path: Path,
) -> None:
    for op, linked in (("link", True), ("unlink", False), ("alternate", True)):
        folder = tmp_path / op
        folder.mkdir()
        lab = Lab(folder, contacts=10, linked=linked)
        result = await lab.run(op=op, messages=400, must_prepare=True)
        assert (result.errors, result.messages, result.calls) == ({}, 400, 20), op


async def test_a_result_starts_with_its_first_phase_not_with_the_preparation(
    tmp_path: Path,
) -> None:
    lab = Lab(tmp_path, contacts=10, linked=True)
    result = await lab.run(op="link", messages=400, must_prepare=True)
    calls = [line for line in ledger_lines(result) if line["event"] == "call"]
    begins = {op: [line["ts"] for line in calls if line["op"] == op] for op in ("unlink", "link")}
    assert begins["unlink"][-1] < result.started <= begins["link"][0]


async def test_a_number_of_emails_ends_the_test(lab: Lab) -> None:
    result = await lab.run(messages=500, concurrency=5)
    assert (result.messages, result.calls) == (500, 25)
    assert result.seconds == pytest.approx(5 * FAST, rel=0.1)
    assert result.settings["op"] == "link"
    run = await off_loop(status, result.run_dir)
    assert (run.state, run.counts["done"], run.counts["pending"]) == (RunState.FINISHED, 500, 1500)
    assert (await off_loop(check_run, result.run_dir)).ok


async def test_emails_of_the_warm_up_are_not_among_those_to_send(lab: Lab) -> None:
    for rate, in_warm_up in ((None, 80), (40, 40)):
        result = await lab.run(
            op="alternate", messages=400, warm_up="1s", concurrency=4, arrival_rate=rate
        )
        assert result.calls == pytest.approx(20, abs=4), rate
        assert result.phases[0].calls == in_warm_up, rate


async def test_a_warm_up_that_uses_up_the_emails_leaves_nothing_to_measure(lab: Lab) -> None:
    result = await lab.run(op="link", messages=400, warm_up="60s", concurrency=4)
    assert (result.calls, result.seconds, result.phases[0].calls) == (0, 0, 100)


async def test_a_number_of_emails_at_a_kept_rate_is_not_measured_beyond_the_last_call(
    lab: Lab,
) -> None:
    result = await lab.run(arrival_rate=100, messages=400, thresholds=("rate > 99%",))
    assert result.calls == 20
    assert result.seconds == pytest.approx(0.2)
    assert result.calls_per_second == pytest.approx(100)
    assert result.asked_calls_per_second == pytest.approx(100)
    assert (result.limited_by, result.exit_code) == ("the schedule", 0)


async def test_a_number_of_emails_that_are_sent_late_takes_until_the_last_call(
    tmp_path: Path,
) -> None:
    lab = Lab(tmp_path, stall=(0.1, 2.0))
    result = await lab.run(arrival_rate=100, messages=800, concurrency=2)
    assert (result.calls, result.dropped) == (40, 0)
    assert result.seconds > 2
    assert result.calls_per_second < 20
    assert result.limited_by != "the schedule"


async def test_calls_never_started_count_also_if_there_are_emails_left_to_send(
    tmp_path: Path,
) -> None:
    lab = Lab(tmp_path, stall=(1.0, 4.0))
    result = await lab.run(arrival_rate=50, duration="2s", messages=100_000, concurrency=2)
    assert result.calls + result.dropped == 100
    assert result.dropped > 20
    assert result.seconds == 2


async def test_a_phase_lasts_as_long_as_its_schedule_not_until_its_last_call(lab: Lab) -> None:
    result = await lab.run(steps="1,2:4s", warm_up="2s")
    assert [phase.seconds for phase in result.phases] == [2, 4, 4]
    assert [phase.calls_per_second for phase in result.phases] == [1, 1, 2]


async def test_a_test_without_more_emails_ends_early(lab: Lab) -> None:
    result = await lab.run(op="link", duration="60s", concurrency=10)
    assert (result.messages, result.cut_short) == (2000, False)
    assert result.seconds < 5


async def test_a_mapping_with_fewer_batches_than_places_says_so(tmp_path: Path) -> None:
    warnings: list[str] = []

    class Warned(RunCallbacks):
        def on_warning(self, text: str) -> None:
            warnings.append(text)

    few = await Lab(tmp_path, contacts=2).run(duration="2s", concurrency=10, callbacks=Warned())
    assert few.limited_by == "too few emails to fill the calls in flight"
    assert any("more emails" in text for text in warnings)
    assert few.calls_per_second == pytest.approx(4 / FAST, rel=0.1)


async def test_refusals_are_shares_and_no_call_is_retried(tmp_path: Path) -> None:
    lab = Lab(tmp_path, settings=Settings(latency=0.1, concurrency=5))
    result = await lab.run(arrival_rate=100, duration="10s")
    assert result.calls == pytest.approx(1000, abs=2)
    assert result.answered_429 == result.errors["TOO_MANY_REQUESTS"] > 300
    assert (result.retried, result.late) == (0, 0)


async def test_refusals_of_the_warm_up_are_not_counted(tmp_path: Path) -> None:
    lab = Lab(tmp_path, settings=Settings(latency=0.1, concurrency=5))
    result = await lab.run(arrival_rate=100, duration="1s", warm_up="10s")
    assert result.calls == pytest.approx(100, abs=2)
    assert 0 < result.answered_429 == result.errors["TOO_MANY_REQUESTS"] < result.calls


async def test_thresholds_decide_the_exit_code(lab: Lab) -> None:
    met = await lab.run(arrival_rate=20, duration="5s", thresholds=("p99 < 100ms", "rate > 99%"))
    assert (met.exit_code, [threshold.met for threshold in met.thresholds]) == (0, [True, True])
    lab.crm.state.faults = FaultRegistry([Fault("503", share=0.2)])
    missed = await lab.run(duration="2s", thresholds=("errors < 1%", "p50 < 1s"))
    assert (missed.exit_code, [threshold.met for threshold in missed.thresholds]) == (
        1,
        [False, True],
    )


async def test_a_stopped_test_has_the_figures_so_far(lab: Lab) -> None:
    stop = StopController()

    class StopsAfterFiveSeconds(RunCallbacks):
        def on_load(self, progress: Any) -> None:
            if progress.seconds >= 5:
                stop.interrupt()

    result = await lab.run(
        arrival_rate=50, duration="60s", stop=stop, callbacks=StopsAfterFiveSeconds()
    )
    assert (result.cut_short, result.stopped_by, result.exit_code) == (True, "interrupted", 130)
    assert result.seconds == pytest.approx(5, abs=1)
    assert result.calls == pytest.approx(50 * result.seconds, rel=0.05)
    assert (Path(result.run_dir) / "loadtest.json").is_file()
    assert (await off_loop(check_run, result.run_dir)).ok


async def test_a_test_stopped_in_the_warm_up_still_has_a_schedule(lab: Lab) -> None:
    stop = StopController()

    class Stops(RunCallbacks):
        def on_load(self, progress: Any) -> None:
            stop.interrupt()

    result = await lab.run(
        arrival_rate=50, duration="9s", warm_up="60s", stop=stop, callbacks=Stops()
    )
    assert (result.cut_short, result.calls, result.seconds) == (True, 0, 0)
    assert result.asked_calls_per_second == 0, "none would be the closed model"


async def test_a_server_that_dies_ends_the_test(tmp_path: Path) -> None:
    lab = Lab(tmp_path, dies_at=5.0)
    stop = StopController()
    result = await lab.run(arrival_rate=20, duration="600s", concurrency=4, stop=stop)
    assert (result.cut_short, result.stopped_by) == (True, "no-answer")
    assert result.latency.intended is not None
    assert result.latency.intended.max > 5, "the calls that never started count with their wait"
    assert stop.reason is not None
    assert result.limited_by == "the server, which stopped answering"


async def test_figures_are_not_lost_with_the_disk(lab: Lab) -> None:
    warnings: list[str] = []

    class Warned(RunCallbacks):
        def on_load(self, progress: Any) -> None:
            for folder in (lab.folder / "runs").iterdir():
                (folder / "loadtest.json").mkdir(exist_ok=True)  # nothing can replace it

        def on_warning(self, text: str) -> None:
            warnings.append(text)

    result = await lab.run(messages=200, callbacks=Warned())
    assert (result.messages, result.exit_code) == (200, 3)
    assert "not complete" in warnings[0]
    assert "loadtest.json" in warnings[0]


async def test_the_folder_of_a_load_test_is_not_resumed(lab: Lab) -> None:
    result = await lab.run(messages=100)
    with pytest.raises(RunDirError, match="folder of a load test"):
        await resume(result.run_dir, LOCAL)


@pytest.mark.parametrize(
    "address", ["https://www.zohoapis.com", "https://zohoapis.eu", "https://odd.zohoapis.in"]
)
async def test_production_is_refused_before_anything_is_sent(address: str, lab: Lab) -> None:
    connection = msgspec.structs.replace(CONNECTION, api_url=address)
    with pytest.raises(ConfigError, match="never measures a production org"):
        await lab.run(connection=connection, messages=100)
    assert not (lab.folder / "runs").exists()


@pytest.mark.parametrize(
    ("org_type", "allowed"),
    [("Sandbox", True), ("Developer", True), ("Production", False)],
)
async def test_elsewhere_the_org_must_say_that_it_is_a_sandbox(
    org_type: str, allowed: bool, tmp_path: Path
) -> None:
    lab = Lab(tmp_path, contacts=5, org_type=org_type)
    run = lab.run(connection=REMOTE, messages=100, job={"yes": True})
    if allowed:
        assert (await run).messages == 100
    else:
        with pytest.raises(BulklinkError, match="load tests need a sandbox"):
            await run
        assert not any(lab.links().values())


async def test_a_load_test_shares_no_calls_in_flight(tmp_path: Path) -> None:
    """It measures its server alone, and several may measure one together."""
    lab = Lab(tmp_path, contacts=5, shares=OrgShares(tmp_path / "orgs"))
    await lab.run(connection=REMOTE, messages=100, job={"yes": True})
    assert not (tmp_path / "orgs").exists()


async def test_a_schedule_above_the_given_rate_is_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match="more than the limit"):
        await lab.run(arrival_rate=100, duration="1s", job={"rate": 50.0})
