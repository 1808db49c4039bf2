"""The README's table of options is that of the commands; tests/docs/test_walk runs its blocks."""

from __future__ import annotations

import re

import click

from bulklink.cli.app import cli
from tests.docs.test_walk import README

_RUN = cli.commands["run"]
_HELP = _RUN.get_help(click.Context(_RUN, info_name="run"))


def test_every_option_of_the_table_exists() -> None:
    table = README.partition("## Options")[2].partition("## Run folder")[0]
    options = set(re.findall(r"`(--[a-z-]+)", table))
    assert len(options) > 10
    assert {option for option in options if option not in _HELP} == set()


def test_every_option_of_a_run_is_in_the_readme() -> None:
    known = set(re.findall(r"(?<![\w-])(--[a-z-]+)", _HELP)) - {"--help", "--group-by"}
    short = {"--verbose": "-v", "--quiet": "-q", "--allow-round-ids": "rounded"}
    assert {o for o in known if o not in README and short.get(o, o) not in README} == set()
