"""How often a run needs the credits that its forecasts said, by the share of emails linked before.

    python benchmarks/forecast.py [--seeds N] [--write]

Each run links the emails of a generated world in which some contacts have very many emails, with
one or three owners per contact. The emulator serves it in this process, on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tables import put_table, table

from bulklink import Connection, Job, Op, RunResult, plan, run
from bulklink.emulator.generate import generate
from bulklink.emulator.server import Emulator
from bulklink.emulator.synthetic import Recipe
from bulklink.emulator.worldfile import load_world
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CreditRange

EMAILS, CONTACTS = 1_500, 40
SHARES = (0.0, 0.1, 0.5, 1.0)
OWNERS = (1, 3)
COLUMNS = (
    "linked before",
    "owners per contact",
    "credits used",
    "at planning",
    "in range",
    "width after the canary",
    "in range",
    "read first",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Forecasts of one run, and the credits it used."""

    used: int
    planned: CreditRange
    renewed: CreditRange
    reads_first: bool


async def measure(share: float, owners: int, seed: int) -> Sample:
    """Link the emails of one world and return the forecasts and the credits used."""
    recipe = Recipe(
        messages=EMAILS,
        contacts=CONTACTS,
        owners_per_contact=owners,
        skew=1.0,
        linked_right=share,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = name
        generate(recipe, folder)
        job = Job(
            mappings=(str(folder / "mapping.csv"),),
            op=Op.LINK,
            rate=None,
            settle_after=0,
            sync=False,
            run_dir=folder / "run",
        )
        planned = await asyncio.to_thread(plan, Job(mappings=job.mappings, op=Op.LINK))
        async with Emulator(load_world(folder / "world.json")) as emulator:
            connection = Connection.from_values(
                api_url=emulator.url,
                accounts_url=emulator.url,
                client_id="demo",
                client_secret="demo",
                refresh_token="demo",
            )
            result = await run(job, connection)
        record = RunFolder(folder / "run").read()
    if record.renewed is None or record.snapshot_choice is None:
        raise SystemExit("the run had no canary")
    return Sample(
        _credits_used(result),
        planned.credits,
        record.renewed.credits,
        record.snapshot_choice.reads_first,
    )


def _credits_used(result: RunResult) -> int:
    calls = result.calls
    return calls.link + calls.unlink + calls.read + calls.lookup


def summarize(share: float, owners: int, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the row of the table for runs of one kind."""

    def in_range(ranges: Sequence[CreditRange]) -> str:
        hits = sum(
            forecast.least <= sample.used <= forecast.most
            for forecast, sample in zip(ranges, samples, strict=True)
        )
        return f"{hits} of {len(samples)}"

    planned, renewed = ([getattr(s, name) for s in samples] for name in ("planned", "renewed"))
    used = [sample.used for sample in samples]
    width = max((forecast.most - forecast.least) / forecast.likely for forecast in renewed)
    return (
        f"{share:.0%}",
        str(owners),
        f"{min(used):,} to {max(used):,}",
        f"{min(r.least for r in planned):,} to {max(r.most for r in planned):,}",
        in_range(planned),
        f"{width:.0%} at most",
        in_range(renewed),
        f"{sum(sample.reads_first for sample in samples)} of {len(samples)}",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    rows = []
    for share in SHARES:
        for owners in OWNERS:
            samples = [
                asyncio.run(measure(share, owners, seed)) for seed in range(1, arguments.seeds + 1)
            ]
            rows.append(summarize(share, owners, samples))
            print(*rows[-1], sep=" | ")
    text = table(COLUMNS, rows)
    print(text)
    if arguments.write:
        put_table("forecast", text)


if __name__ == "__main__":
    main()
