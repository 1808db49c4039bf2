"""Usage errors of every command have one form, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest

from bulklink.cli.completion import RunPath
from bulklink.cli.param_types import (
    FailureTolerance,
    MemorySize,
    Number,
    NumberOrWord,
    OneOf,
    WholeNumber,
)
from tests.cli.command_tree import ALL, LEAVES
from tests.e2e.command import Command, CommandResult, rows, write_mapping
from tests.e2e.world import World

NOBODY = {"BULKLINK_API_URL": "http://127.0.0.1:9", "BULKLINK_ACCESS_TOKEN": "x"}
GIVEN = {
    "mapping": "m.csv",
    "job": "m.csv",
    "run": "nowhere",
    "runs": "nowhere",
    "message_id": "8937fb4a",
    "contacts": "5843104000000424162",
    "shell": "bash",
    "output": "out.csv",
    "messages": "1",
    "out": "world",
}
WITHOUT_JSON = [
    tuple(path.split()[1:])
    for path, command in LEAVES.items()
    if not any(param.name == "as_json" for param in command.params)
]
STRICT = (OneOf, WholeNumber, Number, NumberOrWord, MemorySize, FailureTolerance)


def required_words(command: click.Command, *, without: str = "") -> list[str]:
    """Return valid words of a command, `without` one parameter."""
    words: list[str] = []
    for param in command.params:
        is_required = (
            param.required
            or isinstance(param, click.Argument)
            or (command.name == "audit" and param.name == "output")  # not with --show-weights
        )
        if is_required and param.name != without:
            value = GIVEN.get(param.name or "", "1")
            words += [value] if isinstance(param, click.Argument) else [param.opts[0], value]
    return words


@dataclass(frozen=True)
class Mistake:
    """A command line, its error code, and words that its place, message or advice contains."""

    words: tuple[str, ...]
    code: str = "usage"
    texts: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = tuple(NOBODY.items())


Made = Iterator[tuple[str, Mistake]]
Maker = Callable[[str, click.Command, list[str]], Made]


def make_mistakes(maker: Maker, commands: dict[str, click.Command] = LEAVES) -> dict[str, Mistake]:
    """Create the mistakes of a kind for all commands; their names begin with the command."""
    mistakes: dict[str, Mistake] = {}
    for path, command in commands.items():
        for name, mistake in maker(path, command, path.split()[1:]):
            mistakes[f"{path.partition(' ')[2]} {name}".strip()] = mistake
    return mistakes


def unknown_option(path: str, command: click.Command, typed: list[str]) -> Made:
    del path, command
    yield "unknown option", Mistake((*typed, "--nonsense"), texts=("--nonsense",))


def misspelt_option(path: str, command: click.Command, typed: list[str]) -> Made:
    del path
    options = [param for param in command.params if isinstance(param, click.Option)]
    if options:
        name = max(options[0].opts, key=len)
        words = (*typed, *required_words(command), name[:-2] + name[-1])
        yield "misspelt option", Mistake(words, texts=("Did you mean", name))


def too_little(path: str, command: click.Command, typed: list[str]) -> Made:
    del path
    for param in command.params:
        if param.required:
            words = (*typed, *required_words(command, without=param.name or ""))
            yield (
                f"without {param.name}",
                Mistake(words, texts=("missing", "For example: bulklink")),
            )


def too_much(path: str, command: click.Command, typed: list[str]) -> Made:
    del path
    if all(param.nargs == 1 for param in command.params):
        words = (*typed, *required_words(command), "one", "more")
        yield "too many arguments", Mistake(words, texts=("more",))


def bad_value(path: str, command: click.Command, typed: list[str]) -> Made:
    del path
    for param in command.params:
        if isinstance(param.type, STRICT) and isinstance(param, click.Option):
            name = max(param.opts, key=len)
            words = (*typed, *required_words(command, without=param.name or ""))
            texts = (name, "nonsense")
            yield f"bad {name}", Mistake((*words, name, "nonsense"), texts=texts)
            if isinstance(param.envvar, str) and not param.multiple:
                env = (*NOBODY.items(), (param.envvar, "nonsense"))
                texts = (param.envvar, "nonsense")
                yield f"bad {param.envvar}", Mistake(words, texts=texts, env=env)


def no_run(path: str, command: click.Command, typed: list[str]) -> Made:
    del path
    if any(isinstance(param.type, RunPath) for param in command.params):
        for case_name, run in (("missing", "nowhere"), ("a file", "file"), ("no run", "folder")):
            words = [run if word == "nowhere" else word for word in required_words(command)]
            yield f"run is {case_name}", Mistake((*typed, *words), "run-dir", (run,))


def no_mapping(path: str, command: click.Command, typed: list[str]) -> Made:
    del path
    for param in command.params:
        if param.name in ("mapping", "job"):
            for case_name, name in (("missing", "nope.csv"), ("a folder", "folder")):
                op = [] if typed[0] in ("link", "unlink", "relink") else ["--dry-run"]
                words = [*typed, name, *(op if typed[0] == "run" else [])]
                code = "usage" if case_name == "a folder" and typed[0] == "" else "bad-file"
                yield f"mapping is {case_name}", Mistake(tuple(words), code, (name,))


def no_file_and_no_connection(path: str, command: click.Command, typed: list[str]) -> Made:
    """A wrong file is reported before a missing profile."""
    for maker in (no_run, no_mapping, no_output):
        for name, mistake in maker(path, command, typed):
            words = tuple(word for word in mistake.words if word != "--dry-run")
            yield f"{name}, no profile", replace(mistake, words=words, env=())
    if command.name == "plan":
        words = (*typed, "m.csv", "--look-up-names")
        yield (
            "no mapping to look up, no profile",
            Mistake((*typed, "nope.csv", "--look-up-names"), "bad-file", ("nope.csv",), ()),
        )
        yield (
            "no file to compare with, no profile",
            Mistake((*words, "--compare-with", "nope.csv"), "bad-file", ("nope.csv",), ()),
        )
    if command.name in ("fetch", "audit"):
        for option in ("--from-mapping", "--contacts-of-deals", "--emails-on"):
            name = "nope.csv" if option == "--from-mapping" else "@nope.csv"
            words = (*typed, *required_words(command), option, name)
            yield f"no file of {option}", Mistake(words, "bad-file", ("nope.csv",), ())
        words = (*typed, *required_words(command), "@nope.csv")
        yield "no list of contacts", Mistake(words, "bad-file", ("nope.csv",), ())


def no_connection(path: str, command: click.Command, typed: list[str]) -> Made:
    del path
    local = ("loadtest", "match", "ui")  # these connect to an org only on request
    has_log = any(param.name == "log" for param in command.params)
    if has_log and "auth" not in typed and command.name not in local:
        look_up = (
            ("--look-up-names",) if command.name == "plan" else ()
        )  # otherwise it opens no connection
        required = ["planned" if word == "nowhere" else word for word in required_words(command)]
        words = (*typed, *look_up, *required)
        yield "no data centre", Mistake(words, "config", ("BULKLINK_DC",), env=())
        yield (
            "unknown profile",
            Mistake((*words, "--profile", "tset"), "config", ("tset", "Did you mean test?"), ()),
        )
        yield (
            "broken profile",
            Mistake((*words, "--profile", "broken"), "config", ("broken.toml",), ()),
        )
        http = (("BULKLINK_API_URL", "http://example.com"), ("BULKLINK_ACCESS_TOKEN", "x"))
        yield "no https", Mistake(words, "config", ("BULKLINK_API_URL", "https"), env=http)
        log = str(Path("no") / "calls.jsonl")
        yield "log nowhere", Mistake((*words, "--log", log), "config", ("--log",))


def no_output(path: str, command: click.Command, typed: list[str]) -> Made:
    del path
    if any(
        param.name == "output" and param.required and getattr(param.type, "file_okay", True)
        for param in command.params
    ):
        for case_name, name in (
            *(("there", "m.csv"), ("a folder", "folder"), ("without a folder", "no/such.csv")),
            ("of no known format", "out.doc"),
        ):
            words = [name if word == "out.csv" else word for word in required_words(command)]
            yield (
                f"output is {case_name}",
                Mistake((*typed, *words), texts=(name.partition("/")[0],)),
            )


MISTAKES = {
    **make_mistakes(unknown_option, ALL),
    **make_mistakes(misspelt_option),
    **make_mistakes(too_little),
    **make_mistakes(too_much),
    **make_mistakes(bad_value),
    **make_mistakes(no_run),
    **make_mistakes(no_mapping),
    **make_mistakes(no_connection),
    **make_mistakes(no_output),
    **make_mistakes(no_file_and_no_connection),
    "misspelt command": Mistake(("lnk",), texts=("Did you mean link",)),
    "misspelt sub-command": Mistake(("auth", "logn"), texts=("Did you mean login",)),
    "misspelt choice": Mistake(
        ("link", "m.csv", "--on-invalid", "skp"), texts=("Did you mean skip?",)
    ),
    "misspelt shell": Mistake(("completion", "bsh"), texts=("Did you mean bash",)),
    "misspelt version": Mistake(("--verison",), texts=("Did you mean --version?",)),
    "option before the command": Mistake(("--profile", "x", "link"), texts=("follow the command",)),
    "a word for yes": Mistake(
        ("status",),
        texts=("BULKLINK_CHECK", "'perhaps' is not a valid boolean. Use yes or no."),
        env=(("BULKLINK_CHECK", "perhaps"),),
    ),
    "shares of more than all": Mistake(
        (
            *("generate", "--messages", "10", "--contacts", "2"),
            *("--linked-right", "0.9", "--linked-wrong", "0.9", "--out", "made"),
        ),
        texts=("--linked-right plus --linked-wrong, and --duplicates",),
    ),
    "no runs": Mistake(("history", "abc", "--runs-dir", "nope"), "run-dir", ("nope",)),
    "no message id": Mistake(("history", "a b"), texts=("MESSAGE_ID",)),
    "world is there": Mistake(
        ("generate", "--messages", "1", "--contacts", "1", "--out", "made"), texts=("--force",)
    ),
    "world cannot be": Mistake(
        ("generate", "--messages", "1", "--contacts", "1", "--out", "x", "--id-length", "1"),
        texts=("--id-length",),
    ),
    "no world": Mistake(("emulator", "--world", "nope.json"), "bad-file", ("nope.json",)),
    "no fault": Mistake(("emulator", "--fault", "nonsense"), texts=("nonsense",)),
    "no loopback": Mistake(("emulator", "--host", "0.0.0.0"), texts=("--host",)),
    "no job": Mistake(("run", "nope.toml"), "config", ("nope.toml",)),
    "a job among mappings": Mistake(("run", "job.toml", "m.csv"), texts=("job.toml",)),
    "misspelt key": Mistake(("run", "job.toml"), "config", ("job.toml:3", "Did you mean rate?")),
    "misspelt value of a key": Mistake(
        ("run", "value.toml"), "config", ("value.toml:3", "Did you mean skip?")
    ),
    "nothing to sign in with": Mistake(
        ("auth", "login", "--dc", "eu"), "config", ("BULKLINK_CLIENT_ID",), env=()
    ),
    "unknown profile to end": Mistake(("auth", "logout", "--profile", "tset"), "config", ("tset",)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the mistakes."""
    folder = tmp_path_factory.mktemp("mistakes")
    contact = World().add(free=3)
    write_mapping(folder / "m.csv", rows(contact.free, contact.a))
    planned = Command(folder)("plan", "m.csv", "--op", "link", "--run-dir", "planned")
    assert planned.code == 0, planned
    (folder / "folder").mkdir()
    (folder / "file").write_text("", "utf-8")
    (folder / "made").mkdir()
    (folder / "made" / "world.json").write_text("{}", "utf-8")
    (folder / "job.toml").write_text('op = "link"\nmapping = "m.csv"\nrte = 2\n', "utf-8")
    (folder / "value.toml").write_text(
        'op = "link"\nmapping = "m.csv"\non_invalid = "skp"\n', "utf-8"
    )
    profiles = folder / "config" / "bulklink" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "broken.toml").write_text("client_id = ", "utf-8")
    (profiles / "test.toml").write_text('client_id = "1"\nsecrets = "file"\n', "utf-8")
    return folder


@pytest.mark.parametrize("first_word", sorted({mistake.words[0] for mistake in MISTAKES.values()}))
def test_all_usage_errors_have_one_form(folder: Path, first_word: str) -> None:
    for name, mistake in MISTAKES.items():
        if mistake.words[0] == first_word:
            assert_one_form(Command(folder, dict(mistake.env)), name, mistake)


def assert_one_form(command: Command, name: str, mistake: Mistake) -> None:
    """Check what a command says of a mistake, as text and as JSON."""
    result, asked = command(*mistake.words), run_with_json(command, *mistake.words)
    assert (result.code, asked.code) == (2, 2), (name, result)
    error = asked.error
    assert error["code"] == mistake.code, (name, error)
    assert all(error.values()), (name, error)
    assert result.out == "", (name, result)
    assert error_block(result) == [
        f"error: {error['where']}: {error['message']}",
        *(f"  {line}" for line in error["advice"].splitlines()),
    ], name
    for word in mistake.texts:
        assert word in str(error), (name, error)


def run_with_json(command: Command, *words: str) -> CommandResult:
    """Run a command with JSON output, by its option or else by the environment."""
    if any(words[: len(path)] == path for path in WITHOUT_JSON):
        return command.with_env(BULKLINK_JSON="1")(*words)
    return command(*words, "--json")


def error_block(result: CommandResult) -> list[str]:
    """Return the text of an error, without warnings before it."""
    lines = [line for line in result.err.splitlines() if line]
    begins = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    assert all(line.startswith("warning: ") for line in lines[:begins]), result
    return lines[begins:]


def test_an_option_without_a_value_is_named_with_its_command(folder: Path) -> None:
    result = Command(folder)("auth", "login", "--json", "--dc").error
    assert result["message"] == "--dc needs a value."
    assert result["where"] == "bulklink auth login"


def test_every_command_is_tried_with_mistakes() -> None:
    for path in LEAVES:
        words = path.partition(" ")[2]
        assert sum(name.startswith(words) for name in MISTAKES) >= 2, path
