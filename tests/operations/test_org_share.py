"""The calls in flight of an org are divided among the commands of this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.errors import RunDirError
from bulklink.operations.org_share import (
    OrgShare,
    OrgShares,
    SharingCommand,
    fair_shares,
    next_share,
)

NAMES = st.text("0123456789abcdef", min_size=4, max_size=4)
KEY = "www.zohoapis.eu 20070891270"


@given(st.dictionaries(NAMES, st.integers(1, 25), min_size=1, max_size=40))
def test_shares_are_fair_and_together_use_the_whole_limit(limits: dict[str, int]) -> None:
    shares, total = fair_shares(limits), max(limits.values())
    assert shares.keys() == limits.keys()
    assert all(1 <= share <= limits[name] for name, share in shares.items())
    if len(limits) > total:
        assert set(shares.values()) == {1}
    else:
        assert sum(shares.values()) == min(total, sum(limits.values()))
    largest = max(shares.values())
    assert all(share in (limits[name], largest, largest - 1) for name, share in shares.items())


@pytest.mark.parametrize(
    ("limits", "shares"),
    [
        ((10,), (10,)),
        ((10, 10, 10), (3, 3, 4)),
        ((10, 4), (6, 4)),
        ((25, 1), (24, 1)),
        ((2, 2, 2), (1, 1, 1)),
    ],
    ids=lambda values: "-".join(map(str, values)),
)
def test_what_a_smaller_limit_leaves_goes_to_the_others(
    limits: tuple[int, ...], shares: tuple[int, ...]
) -> None:
    names = "abcdef"
    assert fair_shares(dict(zip(names, limits, strict=False))) == dict(
        zip(names, shares, strict=False)
    )


@dataclass
class Command:
    """One command, without files.

    Attributes:
        stated: what it states.
        ceiling: calls that it may have in flight.
        in_flight: calls that it has.
    """

    stated: SharingCommand
    ceiling: int = 0
    in_flight: int = 0


class Machine:
    """Commands of one machine that contact an org.

    Attributes:
        commands: the commands by name.
    """

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}

    def recount(self, name: str, limit: int) -> None:
        """Recount, as a session does, for a participant that may be new."""
        one = self.commands.setdefault(name, Command(SharingCommand(limit, 0)))
        others = {other: p.stated for other, p in self.commands.items() if other != name}
        held = max(one.ceiling, one.in_flight)
        share = next_share(name, limit, others, held=held, insists=False)
        one.stated, one.ceiling = SharingCommand(limit, max(share.places, held)), share.places

    @property
    def in_flight(self) -> int:
        """Calls that may be in flight at the next moment."""
        return sum(max(p.ceiling, p.in_flight) for p in self.commands.values())


@given(
    limit=st.integers(1, 12),
    steps=st.lists(st.tuples(st.sampled_from("rrrsefl"), st.integers(0, 3)), max_size=80),
)
def test_all_calls_together_never_exceed_the_limit(
    limit: int, steps: list[tuple[str, int]]
) -> None:
    """Whatever the order of joining, recounting, starting and ending calls, and leaving."""
    machine = Machine()
    for step, number in steps:
        name = str(number % limit)
        one = machine.commands.get(name)
        if step == "r":
            machine.recount(name, limit)
        elif one is not None and step == "s":
            one.in_flight += one.in_flight < one.ceiling
        elif one is not None and step == "f":
            one.in_flight = max(one.in_flight, one.ceiling)
        elif one is not None and step == "e":
            one.in_flight = max(0, one.in_flight - 1)
        elif one is not None and step == "l":
            del machine.commands[name]
        assert machine.in_flight <= limit
    for one in machine.commands.values():
        one.in_flight = 0
    for _ in range(3):
        for name in machine.commands:
            machine.recount(name, limit)
    if machine.commands:
        assert machine.in_flight == limit, "each has its fair share in the end"


@pytest.fixture
def shares(tmp_path: Path) -> OrgShares:
    """Return the shares of a machine."""
    return OrgShares(tmp_path / "orgs")


@pytest.fixture
def share(shares: OrgShares) -> Iterator[OrgShare]:
    """Return a share of the org, given up at the end."""
    own = shares.share_of(KEY)
    yield own
    own.leave()


def folder_of_org(tmp_path: Path) -> Path:
    """Return the folder of the participants."""
    (folder,) = (tmp_path / "orgs").glob("*.calls")
    return folder


def test_a_newcomer_waits_until_the_other_has_made_room(shares: OrgShares, share: OrgShare) -> None:
    newcomer = shares.share_of(KEY)
    assert share.recount(10, held=0).places == 10
    assert newcomer.recount(10, held=0).places == 0
    shrinking = share.recount(10, held=10)
    assert (shrinking.places, shrinking.others, shrinking.is_settled) == (5, 1, False)
    assert newcomer.recount(10, held=0).places == 0, "ten calls are still in flight"
    assert share.recount(10, held=8).places == 5
    assert newcomer.recount(10, held=0).places == 2
    assert share.recount(10, held=5).is_settled
    assert newcomer.recount(10, held=2).places == 5
    newcomer.leave()
    assert share.recount(10, held=5).places == 10


def test_a_newcomer_insists_on_its_share(shares: OrgShares, share: OrgShare) -> None:
    other = shares.share_of(KEY)
    other.recount(10, held=0)
    assert share.recount(10, held=0, insists=True).places == 5
    assert share.recount(10, held=5).places == 5, "it keeps what it took"
    other.leave()


def test_more_commands_than_places_have_one_each(shares: OrgShares) -> None:
    several = [shares.share_of(KEY) for _ in range(3)]
    assert [one.recount(2, held=0).places for one in several] == [2, 0, 1]
    first, second, third = several
    assert first.recount(2, held=2).places == 1
    assert second.recount(2, held=0).places == 1
    assert third.recount(2, held=1).places == 1
    for one in several:
        one.leave()


def test_orgs_are_counted_apart(shares: OrgShares, share: OrgShare) -> None:
    other = shares.share_of("www.zohoapis.eu 1")
    share.recount(10, held=0)
    assert other.recount(10, held=0).places == 10
    other.leave()


def test_a_share_that_was_given_up_leaves_no_file(tmp_path: Path, share: OrgShare) -> None:
    share.recount(10, held=0)
    share.leave()
    assert [path.name for path in folder_of_org(tmp_path).iterdir()] == ["lock"]


_TAKE_A_SHARE = """
import sys
from pathlib import Path
from bulklink.operations.org_share import OrgShares
share = OrgShares(Path(sys.argv[1])).share_of(sys.argv[2])
share.recount(10, held=0)
print("taken", flush=True)
sys.stdin.read()
"""


def test_a_killed_command_does_not_count(tmp_path: Path, share: OrgShare) -> None:
    arguments = (sys.executable, "-c", _TAKE_A_SHARE, str(tmp_path / "orgs"), KEY)
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"taken\n"
        assert share.recount(10, held=0).places == 0
        process.kill()
        process.wait()
        assert share.recount(10, held=0).places == 10
    assert len(list(folder_of_org(tmp_path).iterdir())) == 3, "and leaves no file"


def test_files_of_a_command_that_was_killed_before_it_had_a_share_are_removed(
    tmp_path: Path, share: OrgShare
) -> None:
    share.recount(10, held=0)
    folder = folder_of_org(tmp_path)
    left = [folder / f"0123456789abcdef.{suffix}" for suffix in ("json", "json.partial")]
    for path in (*left, folder / "fedcba9876543210.partial"):
        path.write_text('{"limit":10,"places":10}')
    assert share.recount(10, held=10).others == 0
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("content", ["", "[]", '{"limit":9999999999999,"places":-1}', "[" * 9999])
def test_a_command_whose_file_is_unreadable_has_one_place(
    tmp_path: Path, shares: OrgShares, share: OrgShare, content: str
) -> None:
    other = shares.share_of(KEY)
    other.recount(10, held=0)
    (path,) = folder_of_org(tmp_path).glob("*.json")
    path.write_text(content)
    assert share.recount(10, held=0).places == 9
    other.leave()


def test_links_in_the_folder_are_neither_followed_nor_counted(
    tmp_path: Path, share: OrgShare
) -> None:
    share.recount(10, held=0)
    folder, target = folder_of_org(tmp_path), tmp_path / "target"
    for path in (folder / "0123456789abcdef.lock", folder / "fedcba9876543210.json"):
        path.symlink_to(target)
    assert share.recount(10, held=10).others == 0
    assert not target.exists()
    target.write_text("unchanged")
    assert share.recount(10, held=10).others == 0
    assert target.read_text() == "unchanged"


@pytest.mark.parametrize("linked", ["folder", "lock"])
def test_a_folder_that_is_a_link_or_has_a_linked_lock_is_refused(
    tmp_path: Path, shares: OrgShares, share: OrgShare, linked: str
) -> None:
    other = shares.share_of(KEY)
    other.recount(10, held=0)
    other.leave()
    folder = folder_of_org(tmp_path)
    target = tmp_path / "target"
    if linked == "folder":
        folder.rename(target)
        folder.symlink_to(target)
    else:
        (folder / "lock").unlink()
        (folder / "lock").symlink_to(target)
    with pytest.raises(RunDirError, match="symbolic link"):
        share.recount(10, held=0)
