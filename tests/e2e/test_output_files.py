"""Options that name a file to write spare the files of bulklink and the files that are read."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from bulklink.cli.output_types import OutputFile, OutputPath
from tests.cli.command_tree import LEAVES
from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.world import Contact

FOLDERS = {("cluster pull", "output")}
"""Options that name a folder, which must be missing or empty."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def run(connected_command: Command, contact: Contact) -> Path:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:3], contact.a))
    assert connected_command("link", "m.csv", "--run-dir", "run").code == 0
    return connected_command.folder / "run"


def test_every_option_for_an_output_has_a_type_for_outputs() -> None:
    found = {
        (path.removeprefix("bulklink "), param.name): param.type
        for path, command in LEAVES.items()
        for param in command.params
        if isinstance(param, click.Option) and param.name in ("output", "log", "rejects")
    }
    outputs = {key for key, type_ in found.items() if isinstance(type_, OutputFile | OutputPath)}
    assert outputs == found.keys() - FOLDERS
    assert {name for _, name in outputs} == {"output", "log", "rejects"}


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("export", "run", "-o", "run/ledger.jsonl", "--force"), "--output"),
        (("export", "run", "-o", "run/plan.parquet", "--force"), "--output"),
        (("report", "run", "-o", "run/ledger.jsonl", "--force"), "--output"),
        (("fetch", "--from-mapping", "m.csv", "-o", "run/plan.parquet", "--force"), "--output"),
        (("audit", "1", "-o", "run/plan.parquet", "--force"), "--output"),
        (("match", "m.csv", "--fetched", "m.csv", "-o", "run/rejects.csv"), "--output"),
        (("probe", "1", "-o", "run/run.json", "--force"), "--output"),
        (("loadtest", "--merge", "a", "b", "-o", "run/loadtest.json", "--force"), "--output"),
        (("plan", "--op", "link", "m.csv", "--rejects", "run/rejects.csv"), "--rejects"),
        (("resume", "run", "--log", "run/ledger.jsonl"), "--log"),
        (("verify", "run", "--log", "run/verify.jsonl"), "--log"),
        (("relink", "m.csv", "--run-dir", "other", "--log", "run/ledger.jsonl"), "--log"),
    ],
    ids=" ".join,
)
def test_no_option_writes_into_the_files_of_a_run(
    connected_command: Command, run: Path, words: tuple[str, ...], option: str
) -> None:
    before = contents(run)
    ended = connected_command(*words, "--json")
    assert ended.code == 2
    assert ended.error["code"] == "usage"
    assert ended.error["where"].startswith(f"{option} run/")
    assert "a file of a run" in ended.error["message"]
    assert contents(run) == before
    assert not (connected_command.folder / "other").exists()


def test_the_log_of_a_job_file_spares_a_run_too(connected_command: Command, run: Path) -> None:
    before = contents(run)
    job = connected_command.folder / "job.toml"
    job.write_text('op = "link"\nmapping = "m.csv"\nlog = "run/ledger.jsonl"\n', "utf-8")
    assert "--log run/ledger.jsonl" in connected_command("run", "job.toml", "--json").error["where"]
    job.write_text('op = "link"\nmapping = "m.csv"\nlog = "m.csv"\n', "utf-8")
    ended = connected_command("run", "job.toml", "--json")
    assert "a file that it reads" in ended.error["message"]
    assert contents(run) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fetch", "--from-mapping", "m.csv", "-o", "m.csv", "--force"), "a file that it reads"),
        (("fetch", "@m.csv", "-o", "m.csv", "--force"), "a file that it reads"),
        (("fetch", "1", "-o", "new.csv", "--log", "./new.csv"), "--log writes this file too"),
        (("link", "m.csv", "--log", "link.csv"), "a file that it reads"),
        (("match", "a.csv", "--fetched", "m.csv", "-o", "m.csv"), "a file that it reads"),
        (("loadtest", "--compare", "m.csv", "a", "-o", "m.csv", "--force"), "a file that it reads"),
        (
            ("plan", "--op", "link", "m.csv", "--run-dir", "new", "--rejects", "new/plan.parquet"),
            "a file of the run to be created",
        ),
    ],
    ids=" ".join,
)
def test_a_file_that_is_read_or_written_otherwise_is_not_replaced(
    connected_command: Command, contact: Contact, words: tuple[str, ...], message: str
) -> None:
    mapping = write_mapping(connected_command.folder / "m.csv", rows(contact.free[:3], contact.a))
    (connected_command.folder / "link.csv").symlink_to(mapping)
    before = contents(connected_command.folder)
    ended = connected_command(*words, "--json")
    assert ended.code == 2
    assert message in ended.error["message"]
    assert contents(connected_command.folder) == before


def test_pages_and_tables_can_be_written_into_a_run_folder(
    connected_command: Command, run: Path
) -> None:
    assert connected_command("report", "run").code == 0
    assert connected_command("report", "run", "-o", "run/report.html", "--force").code == 0
    assert connected_command("export", "run", "-o", "run/results.csv").code == 0
    assert (run / "results.csv").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "--op", "link", "m.csv", "--rejects", "-"),
        ("link", "m.csv", "--log", "-"),
        ("probe", "1", "-o", "-"),
        ("audit", "1", "-o", "-"),
        ("match", "m.csv", "--fetched", "a.csv", "-o", "-"),
        ("loadtest", "--compare", "a", "b", "-o", "-"),
    ],
    ids=" ".join,
)
def test_standard_output_is_refused_where_only_a_file_will_do(
    bulklink: Command, contact: Contact, words: tuple[str, ...]
) -> None:
    write_mapping(bulklink.folder / "m.csv", rows(contact.free[:3], contact.a))
    ended = bulklink(*words, "--json")
    assert ended.code == 2
    assert "./-" in ended.error["advice"]
    assert not (bulklink.folder / "-").exists()
