"""Commands that are shown can be copied to a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bulklink.advice import NextCall
from bulklink.cli.console import command_words
from bulklink.engine.failure_limit import FailureCounter
from bulklink.shell import bulklink_command, format_command, path_word


def test_a_plain_command_is_not_quoted() -> None:
    assert bulklink_command("resume", "runs/a-link") == "`bulklink resume runs/a-link`"


def test_a_path_is_never_taken_for_an_option() -> None:
    assert format_command("bulklink", "plan", Path("-r.csv"), "-o", "x") == (
        "bulklink plan ./-r.csv -o x"
    )
    assert [path_word(path) for path in ("-r", "--force", "a-r", "./-r", "-")] == [
        *("./-r", "./--force", "a-r", "./-r", "-")
    ]
    assert command_words(NextCall("resume", "-r")) == "`bulklink resume ./-r`"


@pytest.mark.skipif(os.name == "nt", reason="quoted for another shell there")
def test_a_path_with_a_space_is_one_word_for_the_shell() -> None:
    command = format_command("bulklink", "resume", "my runs/it's")
    assert shlex.split(command) == ["bulklink", "resume", "my runs/it's"]
    stop_reason = FailureCounter().stop_reason("my runs/x")
    typed = stop_reason.guidance.worded(command_words)
    assert f"`{format_command('bulklink', 'resume', 'my runs/x')}`" in typed


@pytest.mark.skipif(os.name == "nt", reason="quoted for another shell there")
@pytest.mark.parametrize("path", ["a\nb", "a'b\\\x1b[2Jc", "é\u202ex y", os.fsdecode(b"x\xffy")])
def test_control_characters_in_a_path_are_shown_as_escapes(path: str) -> None:
    command = format_command("printf", "%s", path)
    assert command.isprintable()
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    typed = subprocess.run([bash, "-c", command], capture_output=True, check=True)
    assert typed.stdout == os.fsencode(path)
