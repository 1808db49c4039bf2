"""Results of several clients as one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bulklink.errors import UsageError
from bulklink.load_analysis.figures import histogram_of_bins
from bulklink.load_analysis.merging import merge_results
from bulklink.load_results import ClientLoad, LoadResult, LoadTarget, ThresholdResult
from tests.load_results import SimulatedServer, load_result

TARGET = LoadTarget(url="http://127.0.0.1:8080", world_digest=None)


def client(seed: int = 1, **changes: Any) -> LoadResult:
    """Return the result of a client of a server that all clients share."""
    options: dict[str, Any] = {"seconds": 10, "rate": 50, "target": TARGET}
    return load_result(seed=seed, **options | changes)


@pytest.fixture(scope="module")
def merged() -> LoadResult:
    slow = SimulatedServer(median=0.2)
    return merge_results([client(), client(2, server=slow, rate=100, run_dir="runs/loadtest-2")])


def test_counts_rates_and_histograms_are_added(merged: LoadResult) -> None:
    one = client()
    two = client(2, server=SimulatedServer(median=0.2), rate=100)
    assert merged.calls == one.calls + two.calls == 1500
    assert merged.messages_per_second == one.messages_per_second + two.messages_per_second
    assert merged.asked_calls_per_second == 150
    assert (merged.seconds, merged.exit_code, merged.run_dir) == (10, 0, "")
    assert merged.latency.service is not None
    assert one.latency.service is not None
    assert two.latency.service is not None
    histogram = histogram_of_bins(merged.histogram.service)
    assert histogram.count == 1500
    assert merged.latency.service.p90 == histogram.quantile(0.9)
    assert one.latency.service.p50 < merged.latency.service.p50 < two.latency.service.p50


def test_the_settings_of_each_client_are_kept(merged: LoadResult) -> None:
    rates = [settings["arrival_rate"] for settings in merged.settings["clients"]]
    assert rates == [50, 100]
    again = merge_results([merged, client(3, rate=25)])
    assert [settings["arrival_rate"] for settings in again.settings["clients"]] == [50, 100, 25]


def test_a_merged_result_is_the_same_in_any_order() -> None:
    late = client(2, server=SimulatedServer(error_share=0.1), started="2026-11-22T13:00:01.5+01:00")
    one, other = merge_results([client(), late]), merge_results([late, client()])
    assert one.started == client().started
    assert one.seconds == other.seconds == 11.5
    assert one.errors == other.errors == late.errors
    assert one.latency == other.latency
    assert [each.calls for each in one.series] == [each.calls for each in other.series]
    assert one.phases[0].errors == other.phases[0].errors == sum(late.errors.values())


def test_intervals_are_put_on_one_clock() -> None:
    """The second client starts its measured time two seconds later, half of it for a warm-up."""
    first, second = client(), client(2)
    (phase,) = second.phases
    warm_up = msgspec.structs.replace(phase, name="warm-up", seconds=1.0)
    later = msgspec.structs.replace(
        second,
        phases=[warm_up, msgspec.structs.replace(phase, at=1.0)],
        started="2026-11-22T12:00:01.000+00:00",
    )
    merged = merge_results([first, later])
    assert [each.at for each in merged.series] == list(range(12))
    assert [each.calls for each in merged.series] == [50] * 2 + [100] * 8 + [50] * 2
    assert [each.asked for each in merged.series] == [each.calls for each in merged.series]
    assert [(phase.name, phase.at) for phase in merged.phases] == [
        *(("constant", 0), ("warm-up", 1), ("constant", 2)),
    ]


def test_equal_phases_are_added(merged: LoadResult) -> None:
    (phase,) = merged.phases
    assert (phase.name, phase.calls, phase.asked_last) == ("constant", 1500, 150)


def test_percentiles_of_an_interval_lie_between_those_of_the_clients(merged: LoadResult) -> None:
    slow = client(2, server=SimulatedServer(median=0.2), rate=100)
    for low, mean, high in zip(client().series, merged.series, slow.series, strict=True):
        assert low.latency.service is not None
        assert mean.latency.service is not None
        assert high.latency.service is not None
        assert low.latency.service.p50 < mean.latency.service.p50 < high.latency.service.p50
        assert mean.latency.service.max == max(low.latency.service.max, high.latency.service.max)


def test_thresholds_are_evaluated_anew() -> None:
    slow = SimulatedServer(median=0.5)
    met = ThresholdResult(expression="p50 < 300ms", value=0.05, met=True)
    missed = ThresholdResult(expression="p90 < 300ms", value=0.5, met=False)
    merged = merge_results(
        [client(rate=80, thresholds=[met]), client(2, server=slow, thresholds=[met, missed])]
    )
    assert [(one.expression, one.met) for one in merged.thresholds] == [
        *(("p50 < 300ms", True), ("p90 < 300ms", False)),
    ]
    assert merged.exit_code == 1


def test_the_busiest_client_and_a_client_cut_short_are_not_hidden() -> None:
    busy = ClientLoad(cpu=0.97, loop_lag_p99=0.001, flush_seconds=0, gc_seconds=2, bottleneck=True)
    merged = merge_results(
        [
            client(machine={"system": "Linux"}),
            client(
                2,
                client=busy,
                machine={"system": "Darwin"},
                versions={"bulklink": "0.8.0"},
                seconds=9,
                cut_short=True,
                stopped_by="interrupted",
                exit_code=130,
            ),
        ]
    )
    assert merged.client == ClientLoad(
        cpu=0.97, loop_lag_p99=0.002, flush_seconds=0.3, gc_seconds=2, bottleneck=True
    )
    assert merged.machine == {"clients": [{"system": "Linux"}, {"system": "Darwin"}]}
    assert merged.versions["bulklink"] == "0.9.0, 0.8.0"
    assert (merged.cut_short, merged.stopped_by, merged.exit_code) == (True, "interrupted", 130)


def test_a_closed_client_leaves_no_asked_rate() -> None:
    merged = merge_results([client(), client(2, rate=None, places=2)])
    assert merged.asked_calls_per_second is None
    assert merged.series[0].asked is None


def with_error(result: LoadResult, error: float) -> LoadResult:
    bins = msgspec.structs.replace(result.histogram.service, relative_error=error)
    histograms = msgspec.structs.replace(result.histogram, service=bins)
    return msgspec.structs.replace(result, histogram=histograms)


def test_what_cannot_be_added_is_refused() -> None:
    other = msgspec.structs.replace(TARGET, url="https://b.example")
    own = LoadTarget(url="emulator", world_digest="1")
    for results, message in [
        ([client()], "nothing to merge"),
        ([client(), client()], "given twice"),
        ([client(), client(2, target=other)], "http://127.0.0.1:8080, https://b.example"),
        ([client(target=own), client(2, target=own)], "an emulator of its own"),
        ([client(), with_error(client(2), 0.02)], "different errors"),
        (
            [client(), client(2, started="2026-11-22T12:00:04+00:00")],
            "ran together for 6.0 s of 10.0 s",
        ),
        ([client(), client(2, started="2026-11-22T12:01:00+00:00")], "for 0.0 s of 10.0 s"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            merge_results(results)
        assert caught.value.advice
