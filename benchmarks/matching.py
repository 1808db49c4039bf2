"""How right `match` is on generated worlds, and what it costs compared with a bare join.

Quality: the emulator serves a world of conversations, `fetch` reads it, and the list of another
system is made of what it shows: with other times (a wrong zone, and up to 90 s of jitter), 5 % of
the subjects cut, 2 % of the emails twice, and 3 % that Zoho does not have. The deals are those of
truth.json, under ids that no email is on, so that each matched email is in the mapping; a copy in
another mailbox, which the list does not have, belongs with the email that it is a copy of.
`squeezed` worlds have all their emails within days instead of years, so that many have the same
people, subject and minute.

Speed: a fetched world is repeated under other ids and addresses. DuckDB alone joins the same tables
by contact and hour and writes the rows as CSV, with the same memory and threads; processes take
turns. Quote the ratios.

    python benchmarks/matching.py quality [--messages 20000] [--seeds 5] [--write]
    python benchmarks/matching.py speed [--fetched 500000 5000000] [--rounds 2] [--write]
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from typing import NamedTuple

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import measure
from servers import BULKLINK, emulator_environment, serve
from tables import put_table, table

KINDS = ("plain", "no-names", "hijacked", "languages", "merged", "shared-mailboxes", "renewals")
FIRST_SEED = 401
"""Seed of the first world; smaller ones were used while `match` was written."""
JITTER_SECONDS = 90
CUT_SHARE, TWICE_SHARE, ABSENT_SHARE = 0.05, 0.02, 0.03
COPY_SECONDS = 60
SQUEEZE = 500
OTHER_DEAL = "9"
"""Prefix of the ids of the wanted deals."""
WANTED_HEADER = ("from_address", "to_addresses", "cc_addresses", "subject", "time", "deal_id")
QUALITY_HEADER = (
    *("world", "wanted", "precision", "recall", "ambiguous", "missing", "not in Zoho", "matched"),
)
SPEED_HEADER = (
    *("wanted", "fetched", "CPU", "time", "peak memory", "CPU of the join", "times the join"),
    *("time of the join", "times its time"),
)
_JOIN = """
import duckdb, sys
fetched, wanted, output = sys.argv[1:]
config = {"threads": 2, "memory_limit": "512MB", "temp_directory": output + ".spill"}
key = "CASE WHEN direction = 'sent' THEN to_addresses ELSE from_address END AS contact"
hour = "date_trunc('hour', time::TIMESTAMPTZ) AS hour"
duckdb.connect(config=config).execute(
    f"COPY (SELECT contact_id, owner_id, owner_name, message_id, w.deal_id, from_deal_id, subject,"
    f" time FROM (SELECT *, {key}, {hour} FROM read_parquet('{fetched}')) AS f"
    f" JOIN (SELECT deal_id, {key}, {hour} FROM read_parquet('{wanted}')) AS w"
    f" ON f.contact = w.contact AND f.hour = w.hour) TO '{output}'"
)
"""


class World(NamedTuple):
    """A world of conversations.

    Args:
        kind: kind of the world.
        seed: its seed.
        squeeze: how many times closer its emails are to each other.
    """

    kind: str
    seed: int
    squeeze: int = 1


class Quality(NamedTuple):
    """Counts of a match.

    Args:
        wanted: wanted emails that the fetched file has.
        proposed: emails of the mapping.
        right: those of them that are on the right deal.
        ambiguous: wanted emails that are ambiguous.
        missing: wanted emails that are missing.
        absent: wanted emails that the fetched file does not have.
        absent_matched: emails of the mapping for which no wanted email stands.
    """

    wanted: int = 0
    proposed: int = 0
    right: int = 0
    ambiguous: int = 0
    missing: int = 0
    absent: int = 0
    absent_matched: int = 0

    def plus(self, other: Quality) -> Quality:
        """Return the sum of two counts."""
        return Quality(*map(sum, zip(self, other, strict=True)))


def fetch_world(world: World, messages: int, folder: Path) -> list[dict[str, str]]:
    """Generate a world and fetch all its emails from the emulator; return the rows."""
    generate = ("--kind", "conversations", "--world", world.kind, "--seed", str(world.seed))
    sizes = ("--messages", str(messages), "--out", str(folder))
    subprocess.run([*BULKLINK, "generate", *generate, *sizes], check=True, capture_output=True)
    path = folder / "world.json"
    contacts = folder / "contacts.txt"
    ids = [contact["id"] for contact in json.loads(path.read_bytes())["contacts"]]
    contacts.write_text("\n".join(ids))
    with serve([*BULKLINK, "emulator", "--world", str(path), "--latency", "0"]) as url:
        subprocess.run(
            [*BULKLINK, "fetch", f"@{contacts}", "-o", str(folder / "all.csv"), "--rate", "off"],
            env=emulator_environment(url),
            check=True,
            capture_output=True,
        )
    with (folder / "all.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def squeeze(rows: list[dict[str, str]], factor: int) -> None:
    """Bring the times of emails closer together."""
    times = [datetime.fromisoformat(row["time"]) for row in rows]
    first = min(times)
    for row, moment in zip(rows, times, strict=True):
        seconds = int((moment - first).total_seconds() / factor)
        row["time"] = (first + timedelta(seconds=seconds)).isoformat()


def find_originals(rows: list[dict[str, str]]) -> dict[str, list[str]]:
    """Return the messages of the same content and nearly the same time as each message."""
    parts = ("from_address", "to_addresses", "cc_addresses", "subject")
    alike: dict[tuple[str, ...], dict[str, datetime]] = {}
    for row in rows:
        key = tuple(row[part] for part in parts)
        alike.setdefault(key, {})[row["message_id"]] = datetime.fromisoformat(row["time"])
    return {
        message: [
            other
            for other, other_time in group.items()
            if other != message and abs((other_time - moment).total_seconds()) <= COPY_SECONDS
        ]
        for group in alike.values()
        for message, moment in group.items()
    }


def make_lists(
    world: World, rows: list[dict[str, str]], originals: dict[str, list[str]], folder: Path
) -> dict[str, str | None]:
    """Write the fetched file and the list of wanted emails; return the deal of each message.

    The deal is None for a message that the fetched file does not have.

    Args:
        world: the world.
        rows: its emails.
        originals: the messages that each message may be a copy of.
        folder: folder of the world and the lists.
    """
    rng = random.Random(f"{world}")
    zone = timezone(timedelta(minutes=rng.choice([-480, -300, 60, 120, 330, 345, 600])))
    truth = {
        entry["message_id"]: entry["deal_id"]
        for entry in json.loads((folder / "truth.json").read_bytes())
    }
    messages = {row["message_id"]: row for row in rows}
    deals: dict[str, str | None] = {}
    wanted = []
    for message_id, row in messages.items():
        if truth.get(message_id) is None:
            continue
        deals[message_id] = None if rng.random() < ABSENT_SHARE else OTHER_DEAL + truth[message_id]
        line = _wanted_line(row, OTHER_DEAL + truth[message_id], zone, rng)
        wanted.append(line)
        if rng.random() < TWICE_SHARE:
            wanted.append(_wanted_line(row, OTHER_DEAL + truth[message_id], zone, rng))
    for message_id in messages.keys() - deals.keys():
        known = [truth[original] for original in originals[message_id] if truth.get(original)]
        if known:
            deals[message_id] = OTHER_DEAL + known[0]
    rng.shuffle(wanted)
    with (folder / "wanted.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([WANTED_HEADER, *wanted])
    kept = [row for row in rows if deals.get(row["message_id"], "") is not None]
    with (folder / "fetched.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return deals


def _wanted_line(
    row: dict[str, str], deal_id: str, zone: timezone, rng: random.Random
) -> list[str]:
    """Return a row of the other system: local times that claim to be UTC, and names in quotes."""
    jitter = timedelta(seconds=rng.randint(-JITTER_SECONDS, JITTER_SECONDS))
    local = (datetime.fromisoformat(row["time"]) + jitter).astimezone(zone).replace(tzinfo=UTC)
    subject = row["subject"]
    if rng.random() < CUT_SHARE:
        subject = subject[: max(len(subject) // 2, 5)] + rng.choice(["", "…"])
    sender = f'"{row["from_name"]}" <{row["from_address"]}>'
    return [sender, row["to_addresses"], row["cc_addresses"], subject, local.isoformat(), deal_id]


def measure_quality(world: World, messages: int) -> Quality:
    """Match the lists of a world and compare the mapping with the truth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = fetch_world(world, messages, folder)
        originals = find_originals(rows)
        squeeze(rows, world.squeeze)
        deals = make_lists(world, rows, originals, folder)
        mapping = folder / "mapping.csv"
        match = [*BULKLINK, "match", str(folder / "wanted.csv"), "-o", str(mapping), "--json"]
        result = subprocess.run(
            [*match, "--fetched", str(folder / "fetched.csv")], capture_output=True, check=False
        )
        counts = json.loads(result.stdout)
        with mapping.open(newline="", encoding="utf-8") as file:
            proposed = {row["message_id"]: row["deal_id"] for row in csv.DictReader(file)}
    present = {message: deal for message, deal in deals.items() if deal is not None}
    return Quality(
        wanted=len(present),
        proposed=len(proposed),
        right=sum(present.get(message) == deal for message, deal in proposed.items()),
        ambiguous=counts["ambiguous"],
        missing=sum(counts["missing"].values()),
        absent=len(deals) - len(present),
        absent_matched=sum(message not in present for message in proposed),
    )


def quality_row(name: str, quality: Quality) -> list[str]:
    """Return a row of the table of qualities."""
    return [
        name,
        f"{quality.wanted:,}",
        f"{quality.right / quality.proposed:.5f}",
        f"{quality.right / quality.wanted:.4f}",
        f"{quality.ambiguous:,}",
        f"{quality.missing:,}",
        f"{quality.absent:,}",
        f"{quality.absent_matched:,}",
    ]


def quality_rows(messages: int, seeds: int) -> Iterator[list[str]]:
    """Measure the quality on worlds of each kind, and on squeezed ones."""
    total = Quality()
    for kind in KINDS:
        quality = Quality()
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            quality = quality.plus(measure_quality(World(kind, seed), messages))
        total = total.plus(quality)
        yield quality_row(kind, quality)
    yield quality_row("all of these", total)
    squeezed = Quality()
    for kind in KINDS:
        squeezed = squeezed.plus(measure_quality(World(kind, FIRST_SEED, SQUEEZE), messages))
    yield quality_row(f"squeezed {SQUEEZE} times", squeezed)


def write_large_lists(base: Path, repetitions: int, folder: Path) -> tuple[Path, Path]:
    """Repeat fetched emails under other ids and addresses; 40 % of them are wanted, in one zone."""
    fetched, wanted = folder / "fetched.parquet", folder / "wanted.parquet"
    own, theirs = "{0}", "'r' || r || '.' || {0}"
    sent = f"CASE WHEN direction = 'sent' THEN {own} ELSE {theirs} END"
    received = f"CASE WHEN direction = 'sent' THEN {theirs} ELSE {own} END"
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        connection.execute(
            "COPY (SELECT (contact_id::HUGEINT + r * 1000000000)::VARCHAR AS contact_id, owner_id,"
            " owner_name, lpad(r::VARCHAR, 6, '0') || message_id[7:] AS message_id, deal_id,"
            " from_deal_id, from_deal_name, subject, time, direction, deal_name,"
            f" {sent.format('from_address')} AS from_address, from_name,"
            f" {received.format('to_addresses')} AS to_addresses, cc_addresses, source, summary,"
            f" has_attachment, intent FROM read_csv('{base}', all_varchar = true),"
            f" range({repetitions}) AS repetitions(r) ORDER BY r) TO '{fetched}' (FORMAT parquet)"
        )
        connection.execute(
            "COPY (SELECT from_address, to_addresses, cc_addresses, subject,"
            " strftime(time::TIMESTAMPTZ + to_seconds((hash(message_id) % 181)::INTEGER - 90),"
            " '%Y-%m-%dT%H:%M:%SZ') AS time, direction,"
            " '9' || lpad((hash(subject) % 1000)::VARCHAR, 12, '0') AS deal_id"
            f" FROM read_parquet('{fetched}') WHERE hash(message_id, 1) % 10 < 4)"
            f" TO '{wanted}' (FORMAT parquet)"
        )
    return fetched, wanted


def speed_row(base: Path, emails: int, rows: int, rounds: int, folder: Path) -> list[str]:
    """Measure one size; return its row: medians over the rounds, ratios within each round."""
    fetched, wanted = write_large_lists(base, emails // rows, folder)
    output = folder / "mapping.csv"
    match = [*BULKLINK, "match", str(wanted), "--fetched", str(fetched), "-o", str(output)]
    join = [sys.executable, "-c", _JOIN, str(fetched), str(wanted), str(folder / "bare.csv")]
    figures = [
        (measure([*match, "--force", "--json", "--progress", "none"], (0, 1)), measure(join))
        for _ in range(rounds)
    ]
    matches, joins = zip(*figures, strict=True)
    with duckdb.connect() as connection:
        counted = connection.execute(f"SELECT count(*) FROM read_parquet('{wanted}')").fetchone()
    return [
        f"{counted[0] if counted else 0:,}",
        f"{emails:,}",
        f"{median(one.cpu for one in matches):.1f} s",
        f"{median(one.seconds for one in matches):.1f} s",
        f"{max(one.memory for one in matches) / 1e6:.0f} MB",
        f"{median(one.cpu for one in joins):.1f} s",
        f"{median(one.cpu / other.cpu for one, other in figures):.1f}",
        f"{median(one.seconds for one in joins):.1f} s",
        f"{median(one.seconds / other.seconds for one, other in figures):.1f}",
    ]


def speed_rows(sizes: list[int], rounds: int) -> Iterator[list[str]]:
    """Measure the speed on lists of several sizes, made of one world."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = fetch_world(World("plain", FIRST_SEED), 20_000, folder)
        for emails in sizes:
            yield speed_row(folder / "all.csv", emails, len(rows), rounds, folder)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["quality", "speed"])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fetched", type=int, nargs="+", default=[500_000, 5_000_000])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    is_quality = arguments.what == "quality"
    header = QUALITY_HEADER if is_quality else SPEED_HEADER
    measured = (
        quality_rows(arguments.messages, arguments.seeds)
        if is_quality
        else speed_rows(arguments.fetched, arguments.rounds)
    )
    rows = []
    for row in measured:
        rows.append(row)
        print(" | ".join(row), flush=True)
    text = table(header, rows)
    print(text)
    if arguments.write:
        put_table(f"matching {arguments.what}", text)


if __name__ == "__main__":
    main()
