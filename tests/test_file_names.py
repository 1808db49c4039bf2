"""Names of files as valid UTF-8 text."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from bulklink.errors import UsageError
from bulklink.file_names import file_name_text
from bulklink.operations.job import Job
from bulklink.shell import format_command


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain [x]~.csv", "plain [x]~.csv"),
        ("caf\u00e9", "caf\u00e9"),
        ("caf\udcc3\udca9", "caf\u00e9"),
        ("\udcff\udcfex\udce9.csv", "\\xff\\xfex\\xe9.csv"),
        (Path("a\udcff"), "a\\xff"),
    ],
)
def test_bytes_outside_the_locale_become_utf8_or_escapes(name: str | Path, text: str) -> None:
    assert file_name_text(name) == text


@pytest.mark.skipif(os.name == "nt", reason="quoted for another shell there")
def test_a_command_shows_the_bytes_of_a_name_in_bash_syntax() -> None:
    name = os.fsdecode(b"it's \xff\n\\[x]")
    command = format_command("printf", "%s", name)
    assert command.isascii()
    shown = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, check=True).stdout
    assert shown == os.fsencode(name)
    assert shlex.split(format_command("x", "it's")) == ["x", "it's"]


@pytest.mark.parametrize(
    "options",
    [
        {"columns": (("contact_id", "\udcff"),)},
        {"defaults": (("owner_name", "\udce9"),)},
        {"only": (("x", "\udce9"),)},
        {"keep": ("\udce9",)},
        {"delimiter": "\udce9"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_option_that_is_not_text_is_refused_by_name(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as failure:
        Job(mappings=("m.csv",), **options)  # type: ignore[arg-type]
    assert failure.value.where == next(iter(options))
    assert "locale" in failure.value.message
