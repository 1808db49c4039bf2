"""The Tab key completes commands, options, choices, profiles, files and run folders."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tree_sitter_powershell
from click.shell_completion import split_arg_string
from tree_sitter import Language, Parser

from bulklink.cli.app import cli
from bulklink.cli.completion import SHELLS, completion_script
from tests.e2e.command import Command

Offered = Callable[..., list[str]]
BIN = str(Path(sys.executable).parent)


def write_run(runs: Path, name: str, changed: int, **record: object) -> None:
    """Create a run folder with this modification time."""
    (runs / name).mkdir(parents=True)
    (runs / name / "run.json").write_text(json.dumps(record), "utf-8")
    os.utime(runs / name / "run.json", (changed, changed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs, one of them damaged, and profiles."""
    folder = tmp_path_factory.mktemp("complete")
    write_run(folder / "runs", "1-link", 30, op="link", state="finished")
    write_run(folder / "runs", "2-undo", 20, op="mixed", state="stopped", stopped_by="credits")
    (folder / "runs" / "3-bad").mkdir()
    (folder / "runs" / "3-bad" / "run.json").write_text("[", "utf-8")
    os.utime(folder / "runs" / "3-bad" / "run.json", (10, 10))
    (folder / "runs" / "no-run").mkdir()
    write_run(folder / "my runs", "4-link", 1, op="link", state="planned")
    profiles = folder / "config" / "bulklink" / "profiles"
    profiles.mkdir(parents=True)
    for name in ("default", "test-eu"):
        (profiles / f"{name}.toml").write_text("", "utf-8")
    return folder


@pytest.fixture
def complete(folder: Path) -> Offered:
    """Request completion as a shell does; return the lines of the answer."""

    def ask(typed: str, shell: str = "bash", **env: str) -> list[str]:
        word_index = str(len(typed.split(" ")) - 1)
        word = typed.rpartition(" ")[2] if shell == "fish" else word_index
        completion_env = {
            "_BULKLINK_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": typed,
            "COMP_CWORD": word,
        }
        result = Command(folder, {**completion_env, **env})()
        assert result.err == ""
        return [line for line in result.out.splitlines() if line]

    return ask


RUNS = ["runs/1-link", "runs/2-undo", "runs/3-bad"]
CASES = {
    "command": ("bulklink l", ["plain,link", "plain,loadtest"]),
    "sub-command": ("bulklink auth log", ["plain,login", "plain,logout"]),
    "option": ("bulklink link --on-", ["plain,--on-invalid"]),
    "choice": ("bulklink link m.csv --on-invalid s", ["plain,stop", "plain,skip"]),
    "choice-behind-an-equals-sign": ("bulklink plan --op = unl", ["plain,unlink"]),
    "run": ("bulklink resume ", [f"plain,{run}" for run in RUNS]),
    "run-by-its-name": ("bulklink undo 2", ["plain,runs/2-undo"]),
    "run-by-its-path": ("bulklink verify runs/1", ["plain,runs/1-link"]),
    "run-elsewhere": ("bulklink export appr", ["dir,appr"]),
    "profile": ("bulklink link --profile t", ["plain,test-eu"]),
    "profile-of-a-sign-in": ("bulklink auth logout --profile ", ["plain,default", "plain,test-eu"]),
    "message": ("bulklink history ", []),
    "mapping": ("bulklink link ma", ["file,ma"]),
    "output": ("bulklink export runs/1-link -o ", ["file,"]),
    "folder": ("bulklink link --run-dir n", ["dir,n"]),
    "shell": ("bulklink completion ", [f"plain,{shell}" for shell in SHELLS]),
}


@pytest.mark.parametrize("name", CASES)
def test_bash_is_offered_matching_words(complete: Offered, name: str) -> None:
    typed, wanted = CASES[name]
    assert complete(typed) == wanted


def test_zsh_and_fish_show_op_and_state_of_a_run(complete: Offered) -> None:
    zsh = complete("bulklink resume ", "zsh")
    assert zsh == [
        *("plain", "runs/1-link", "link finished"),
        *("plain", "runs/2-undo", "mixed stopped (credits)"),
        *("plain", "runs/3-bad", "_"),
    ]
    assert complete("bulklink resume ", "fish") == [
        "plain,runs/1-link\tlink finished",
        "plain,runs/2-undo\tmixed stopped (credits)",
        "plain,runs/3-bad",
    ]


def test_runs_are_completed_from_the_folder_in_the_environment_or_the_option(
    complete: Offered,
) -> None:
    assert complete("bulklink resume ", BULKLINK_RUNS_DIR="my runs") == ["plain,my runs/4-link"]
    assert complete("bulklink status --runs-dir nothing 1") == ["dir,1"]
    assert complete("bulklink status --runs-dir runs ") == [f"plain,{run}" for run in RUNS]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_never_prints_errors_into_the_prompt(folder: Path, shell: str) -> None:
    for words, place in (("bulklink link", "x"), ("", ""), ('bulklink link "', "2")):
        variables = {"_BULKLINK_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
        assert Command(folder, {**variables, "COMP_CWORD": place})().err == ""
    assert Command(folder, {"_BULKLINK_COMPLETE": "tcsh_complete"})().output == ""


def test_a_broken_environment_does_not_break_completion(complete: Offered) -> None:
    assert complete("bulklink li", BULKLINK_BATCH_SIZE="many", BULKLINK_PROFILE="?") == [
        "plain,link"
    ]


POWERSHELL_CASES = {
    "run": (
        "bulklink resume ",
        [
            ("plain", "runs/1-link", "link finished"),
            ("plain", "runs/2-undo", "mixed stopped (credits)"),
            ("plain", "runs/3-bad", "_"),
        ],
    ),
    "run-whose-path-has-a-space": (
        "bulklink status --runs-dir 'my runs' 4",
        [("plain", "my runs/4-link", "link planned")],
    ),
    "value-with-a-comma": (
        "bulklink link --group-by contact,",
        [("plain", "contact,owner", "_")],
    ),
    "path-with-backslashes": (
        r"bulklink status --runs-dir C:\runs C:\runs\1",
        [("dir", r"C:\runs\1", "_")],
    ),
    "mapping": (r"bulklink link .\ma", [("file", r".\ma", "_")]),
}


@pytest.mark.parametrize("name", POWERSHELL_CASES)
def test_powershell_is_offered_type_value_and_help_on_three_lines(folder: Path, name: str) -> None:
    """The variables are set, and the lines read, as the script does."""
    typed, wanted = POWERSHELL_CASES[name]
    elements = len(split_arg_string(typed))
    variables = {
        "_BULKLINK_COMPLETE": "powershell_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(elements if typed.endswith(" ") else elements - 1),
    }
    result = Command(folder, variables)()
    lines = result.out.removesuffix("\n").split("\n")
    assert result.err == ""
    assert list(zip(lines[::3], lines[1::3], lines[2::3], strict=True)) == wanted


def test_the_powershell_script_is_valid_and_quotes_every_word_that_it_inserts() -> None:
    script = completion_script("powershell", cli)
    tree = Parser(Language(tree_sitter_powershell.language())).parse(script.encode())
    assert not tree.root_node.has_error
    inserted = re.findall(r"CompletionResult\]::new\(\s*(.+?), \$\w", script)
    assert inserted == ["(& $quote $value)", *["(& $quote $_.FullName)"] * 2]
    (plain_words,) = re.findall(r"-match '(.+?)'", script)
    for word in ("runs/1-link", r"C:\runs\1-link", "--on-invalid", "test-eu"):
        assert re.search(plain_words, word), "PowerShell takes it as it is"
    for word in ("my runs/1", "contact,owner", "@contacts.txt", "$x", "a;b", "it's", "(a)", "`"):
        assert not re.search(plain_words, word), "it must be quoted"


def find_shell(name: str) -> str:
    """Return the path of a shell; skip the test if it is missing, but never on CI."""
    path = shutil.which(name)
    if path is None:
        assert not os.environ.get("CI"), f"{name} is not installed"
        pytest.skip(f"{name} is not installed: its completion is not tried")
    return path


def environment(folder: Path) -> dict[str, str]:
    env = Command(folder).environment()
    return {**env, "PATH": f"{BIN}{os.pathsep}{env['PATH']}"}


def run(shell: list[str], folder: Path) -> str:
    process = subprocess.run(
        shell, cwd=folder, env=environment(folder), capture_output=True, timeout=50, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def write_script(folder: Path, shell: str) -> Path:
    """Write the completion script of a shell to the folder."""
    result = Command(folder)("completion", shell)
    assert result.out == completion_script(shell, cli)
    path = folder / f"completion.{shell}"
    path.write_text(result.out, "utf-8")
    return path


def test_bash_completes_a_run_folder_whose_path_has_a_space(folder: Path) -> None:
    program = f"""
        source {write_script(folder, "bash")}
        complete -p bulklink
        export BULKLINK_RUNS_DIR="my runs"
        compopt() {{ :; }}
        COMP_WORDS=(bulklink resume 4); COMP_CWORD=2
        _bulklink_completion bulklink
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert run([find_shell("bash"), "--norc", "-c", program], folder).splitlines() == [
        "complete -o nosort -F _bulklink_completion bulklink",
        "my runs/4-link",
    ]


def test_zsh_completes_a_run_folder(folder: Path) -> None:
    program = f"""
        compdef() {{ print -r -- "compdef $*" }}
        _describe() {{ print -r -l -- $completions_with_descriptions }}
        compadd() {{ print -r -l -- $completions }}
        source {write_script(folder, "zsh")}
        words=(bulklink resume ''); CURRENT=3
        _bulklink_completion
    """
    assert run([find_shell("zsh"), "-f", "-c", program], folder).splitlines() == [
        "compdef _bulklink_completion bulklink",
        *("runs/1-link:link finished", "runs/2-undo:mixed stopped (credits)", "runs/3-bad"),
    ]


def test_fish_completes_run_folders_and_values_with_commas(folder: Path) -> None:
    program = f"""
        source {write_script(folder, "fish")}
        complete -C "bulklink resume "
        complete -C "bulklink link --group-by contact,"
    """
    assert run([find_shell("fish"), "--no-config", "-c", program], folder).splitlines() == [
        *("runs/1-link\tlink finished", "runs/2-undo\tmixed stopped (credits)", "runs/3-bad"),
        "contact,owner",
    ]
