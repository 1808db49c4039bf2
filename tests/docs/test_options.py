"""The guides explain every option of a run; the table in docs/running.md agrees with the code."""

from __future__ import annotations

import re

from tests.cli.command_tree import ALL
from tests.docs.test_reference import DOCS, GUIDES, options_of

TABLE = DOCS["running.md"].partition("## Options that matter")[2].partition("\n## ")[0]
OPTIONS = options_of(ALL["bulklink run"])


def test_every_option_of_the_table_exists() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", TABLE))
    assert len(named) > 20
    assert named - OPTIONS.keys() == set()


def test_the_defaults_of_the_table_are_those_of_the_command() -> None:
    checked = 0
    for name, default in re.findall(r"^\| `(--[a-z-]+)[^|]*\| ([^|]*) \|", TABLE, re.MULTILINE):
        if OPTIONS[name].show_default:
            assert default.strip("`") == str(OPTIONS[name].default).removesuffix(".0"), name
            checked += 1
    assert checked > 8


def test_every_option_of_a_run_is_explained_in_a_guide() -> None:
    explained = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", GUIDES))
    groups = {tuple(param.opts): param for param in OPTIONS.values()}
    unexplained = [names for names in groups if not explained & set(names)]
    assert unexplained == []


def test_every_option_that_a_guide_names_exists() -> None:
    known = {name for command in ALL.values() for name in options_of(command)}
    inline = {
        option
        for code in re.findall(r"`([^`\n]+)`", GUIDES)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)
    }
    assert inline - known - {"--help", "--version"} == set()
