"""Worlds of conversations: what they contain, and that the truth agrees with them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import click
import pytest

from bulklink.cli.commands.generate import generate as command
from bulklink.emulator.conversations.knobs import (
    KNOB_RANGES,
    ConversationRecipe,
)
from bulklink.emulator.conversations.writer import CONVERSATION_FILES, generate_conversations
from bulklink.emulator.server import Emulator
from bulklink.emulator.settings import PredictionMode
from bulklink.emulator.worldfile import load_world
from bulklink.errors import ExitCode, UsageError
from tests.emulator.made_worlds import (
    KINDS,
    SECOND_DOMAIN,
    SIZE,
    Library,
    Made,
    Replay,
    by_id,
    make,
    seconds,
)
from tests.emulator.test_server import granted

MAIL_KINDS = {"deal", "hijacked", "copy", "bulk", "invitation", "private", "office"}
PAGE = (Path(__file__).parents[2] / "docs" / "worlds.md").read_text("utf-8")
DIGESTS: list[tuple[str, PredictionMode, int, str]] = [
    ("plain", "strict", 1, "f638edc49d6cd880ebdf60788ef3d0c36f5a24f919fb066cd3971a70f81682a1"),
    ("plain", "loose", 2, "f7f16255c9dd0112140d8007cb810e82953d9b37ca60968bdc9e3de7bf9ee32f"),
    ("no-names", "strict", 3, "eeb4bb87615e383a25424b44e91d78c5123a6002ba1b3305d6be2144c8048254"),
    (
        "hijacked",
        "last-modified-first",
        4,
        "5ebf5fb2c74e1b54fe811943782c3ab3c9da4ed58fd5ebf0412cf3b60cd0157f",
    ),
    (
        "one-product",
        "strict",
        5,
        "50a2f9602fa687d256cff60574f0875e10456df5aa5f36fdfa1e96ae2a0c8511",
    ),
    (
        "shared-mailboxes",
        "loose",
        6,
        "9b3104aac3c16ab41333bf1ea4c949d364b7644ffef7725148c0beae6178123d",
    ),
    ("all-right", "strict", 7, "8d5861d7938c479eb5e1798436cfdbcf9c1abe06aab112b04da3179702277267"),
    (
        "languages",
        "last-modified-first",
        8,
        "69b66d08d694ee5d04aeb8bfe045a739c2bca83f89da2c4b026b42c6ea77c3cd",
    ),
    ("merged", "strict", 9, "208f4aa6aadf8465ffc6b55c0dfc1cac8b7ee61c5eb9b8feb0902a04420938be"),
    ("renewals", "loose", 10, "db00914b126bec300b2cdf81863845fa49fde68efaf31e273db4498b1ae4b78b"),
]


# The truth


def test_the_world_has_the_emails_asked_for_and_the_truth_names_each_once(made: Made) -> None:
    listed = [(email["contact_id"], email["message_id"]) for email in made.emails]
    assert len(listed) == len(set(listed)) == SIZE
    assert [(truth["contact_id"], truth["message_id"]) for truth in made.truths] == listed
    assert {truth["kind"] for truth in made.truths} <= MAIL_KINDS


def test_the_truth_has_one_email_per_line(made: Made) -> None:
    lines = (made.folder / "truth.json").read_text("utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("[", "]")
    assert [json.loads(line.rstrip(",")) for line in lines[1:-1]] == made.truths


def test_the_right_deal_is_of_the_contact_itself_or_by_role(made: Made) -> None:
    deals = by_id(made.world["deals"])
    for truth in made.truths:
        for deal_id in {truth["deal_id"]} - {None}:
            deal = deals[deal_id]
            people = {deal["contact_id"], *deal.get("contact_roles", [])}
            assert truth["contact_id"] in people


def test_every_link_is_to_a_deal_of_the_contact_itself_or_by_role(made: Made) -> None:
    deals = by_id(made.world["deals"])
    for email in made.emails:
        if email["deal_id"]:
            deal = deals[email["deal_id"]]
            assert email["contact_id"] in {deal["contact_id"], *deal.get("contact_roles", [])}


def test_only_an_inquiry_comes_before_its_deal_exists(made: Made) -> None:
    """The deal is created within days of the first email; a hijacked thread may be earlier."""
    deals = by_id(made.world["deals"])
    early = [
        (seconds(deals[truth["deal_id"]]["created_time"]) - seconds(email["time"]), truth["kind"])
        for email, truth in made.pairs
        if truth["deal_id"]
        and seconds(email["time"]) < seconds(deals[truth["deal_id"]]["created_time"])
    ]
    assert 0 < len(early) < SIZE / 6
    assert max(delay for delay, _ in early) < 6 * 86_400


def test_an_email_that_concerns_no_deal_has_none(made: Made) -> None:
    for truth in made.truths:
        if truth["kind"] in {"bulk", "invitation", "private", "office", "copy"}:
            assert truth["deal_id"] is None
        elif truth["kind"] == "deal":
            assert truth["deal_id"] is not None


def test_what_made_a_link_fits_the_link(made: Made) -> None:
    for email, truth in made.pairs:
        assert (truth["linked_by"] == "none") == (email["deal_id"] is None)
        if truth["linked_by"] == "rule":
            assert email["received"]
        assert (truth["linked_by"] == "sent") == email.get("sent_from_deal", False)
        if truth["linked_by"] == "sent":
            assert not email["received"]


# The rule, replayed from the world file alone


def assert_links_are_the_rule_s(made: Made, reading: str) -> None:
    replay = Replay(made, reading)
    linked = 0
    for email, truth in made.pairs:
        if truth["linked_by"] == "rule":
            assert replay.predict(email) == email["deal_id"], email
            linked += 1
        elif email["received"] and truth["linked_by"] == "none" and truth["deal_id"]:
            is_second = email["from"]["email"].endswith(SECOND_DOMAIN)
            assert is_second or replay.predict(email) is None, email
    assert linked > SIZE / 6


def test_a_replay_over_the_histories_gives_every_link_that_the_rule_made(made: Made) -> None:
    assert_links_are_the_rule_s(made, "strict")


@pytest.mark.parametrize("reading", ["loose", "last-modified-first"])
@pytest.mark.parametrize("kind", ["plain", "renewals", "merged"])
def test_the_rule_follows_the_reading_asked_for(
    kind: str, reading: PredictionMode, tmp_path: Path
) -> None:
    made = make(tmp_path / "other", kind, reading)
    assert_links_are_the_rule_s(made, reading)
    strict = make(tmp_path / "strict", kind)
    assert made.world["deals"] == strict.world["deals"]
    assert made.emails != strict.emails


def test_mail_from_before_a_mailbox_was_connected_is_linked_only_to_a_single_deal(
    worlds: Library,
) -> None:
    backlog = linked = 0
    for made in worlds["plain"]:
        users = by_id(made.world["users"])
        for email, truth in made.pairs:
            connected = seconds(users[email["owner_id"]]["connected_time"])
            if email["received"] and seconds(email["time"]) < connected:
                backlog += 1
                linked += truth["linked_by"] == "rule"
    assert 0 < linked < backlog


# The files


def digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in CONVERSATION_FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize(("kind", "reading", "seed", "digest"), DIGESTS)
def test_worlds_are_frozen(
    kind: str, reading: PredictionMode, seed: int, digest: str, tmp_path: Path
) -> None:
    """Results of today can be compared with later ones only if worlds stay as they are."""
    generate_conversations(ConversationRecipe(700, kind, reading, seed=seed), tmp_path)
    assert digest_of(tmp_path) == digest


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_the_bytes_do_not_depend_on_the_order_of_hashes(hash_seed: str, tmp_path: Path) -> None:
    recipe = ConversationRecipe(300, "shared-mailboxes", seed=3)
    generate_conversations(recipe, tmp_path / "here")
    program = (
        "import sys; from pathlib import Path; "
        "from bulklink.emulator.conversations.knobs import ConversationRecipe as Recipe; "
        "from bulklink.emulator.conversations.writer import generate_conversations as generate; "
        "generate(Recipe(300, 'shared-mailboxes', seed=3), Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "there")], env=environment, check=True
    )
    assert digest_of(tmp_path / "here") == digest_of(tmp_path / "there")


def test_only_the_three_files_are_left(tmp_path: Path) -> None:
    generate_conversations(ConversationRecipe(50), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CONVERSATION_FILES)


MEMORY_PROGRAM = """
import sys
from pathlib import Path
from bulklink.emulator.conversations.knobs import ConversationRecipe
from bulklink.emulator.conversations.writer import generate_conversations
generate_conversations(ConversationRecipe(int(sys.argv[1])), Path(sys.argv[2]))
print(Path("/proc/self/status").read_text("utf-8").partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory from /proc")
def test_memory_does_not_grow_with_the_number_of_emails(tmp_path: Path) -> None:
    def peak(messages: int) -> int:
        words = [sys.executable, "-c", MEMORY_PROGRAM, str(messages), str(tmp_path)]
        return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    assert peak(12_000) < peak(3_000) * 1.1


# The emulator and the command


def test_the_emulator_loads_the_world(made: Made) -> None:
    world = load_world(made.folder / "world.json")
    assert sum(len(mailbox.emails) for mailbox in world.mailboxes.values()) == SIZE
    assert len(world.users) == made.knobs["users"] + made.knobs["shared_mailboxes"]


async def test_the_emails_of_a_contact_can_be_read_over_a_socket(tmp_path: Path) -> None:
    generate_conversations(ConversationRecipe(200), tmp_path)
    world = json.loads((tmp_path / "world.json").read_text("utf-8"))
    contact_id, count = Counter(email["contact_id"] for email in world["emails"]).most_common(1)[0]
    links = {
        email["message_id"]: email["deal_id"]
        for email in world["emails"]
        if email["contact_id"] == contact_id
    }
    async with (
        Emulator(load_world(tmp_path / "world.json")) as emulator,
        aiohttp.ClientSession() as session,
    ):
        headers = await granted(session, emulator.url)
        url = f"{emulator.url}/crm/v8/Contacts/{contact_id}/Emails"
        async with session.get(url, headers=headers) as answer:
            emails = (await answer.json())["Emails"]
    assert len(emails) == min(10, count)
    for email in emails:
        linked = email["linked_record"]
        assert (linked["id"] if linked else None) == links[email["message_id"]]


def run(*arguments: str) -> None:
    command.main(list(arguments), standalone_mode=False)


def test_the_command_writes_a_world_of_conversations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--kind", "conversations", "--messages", "60", "--seed", "4", "--users", "3"]
    arguments += ["--world", "hijacked", "--prediction", "loose"]
    run(*arguments, "--out", str(tmp_path / "here"))
    files = capsys.readouterr().out.splitlines()
    assert files == [str(tmp_path / "here" / name) for name in CONVERSATION_FILES]
    recipe = ConversationRecipe(60, "hijacked", "loose", users=3, seed=4)
    generate_conversations(recipe, tmp_path / "there")
    assert digest_of(tmp_path / "here") == digest_of(tmp_path / "there")
    with pytest.raises(UsageError, match="already exists"):
        run(*arguments, "--out", str(tmp_path / "here"))
    run(*arguments, "--out", str(tmp_path / "here"), "--force")


LINKS = ["--messages", "10", "--contacts", "2"]
CONVERSATIONS = ["--kind", "conversations", "--messages", "10"]


@pytest.mark.parametrize(
    ("arguments", "option", "other"),
    [
        (LINKS, ["--world", "plain"], "conversations"),
        (LINKS, ["--prediction", "loose"], "conversations"),
        (CONVERSATIONS, ["--contacts", "2"], "links"),
        (CONVERSATIONS, ["--format", "csv"], "links"),
        (CONVERSATIONS, ["--skew", "0"], "links"),
        (CONVERSATIONS, ["--linked-wrong", "0.1"], "links"),
        (CONVERSATIONS, ["--deals-per-contact", "2"], "links"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_an_option_of_the_other_kind_is_refused(
    arguments: list[str], option: list[str], other: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{option[0]} belongs to --kind {other}") as caught:
        run(*arguments, *option, "--out", str(tmp_path / "out"))
    assert caught.value.exit_code is ExitCode.REFUSED
    assert not (tmp_path / "out").exists()


def test_every_option_belongs_to_a_kind_or_to_both(tmp_path: Path) -> None:
    """A new option must be sorted, or it is refused for worlds of conversations."""
    accepted = {"--kind", "--messages", "--world", "--prediction", "--seed", "--out", "--force"}
    accepted |= {"--users", "--json", "--debug"}
    for option in (param for param in command.params if isinstance(param, click.Option)):
        if option.opts[0] not in accepted:
            value = "csv" if option.name == "mapping_format" else "1"
            with pytest.raises(UsageError, match="belongs to"):
                run(*CONVERSATIONS, option.opts[0], value, "--out", str(tmp_path))


def test_a_mapping_needs_a_number_of_contacts(tmp_path: Path) -> None:
    with pytest.raises(click.MissingParameter, match="contacts"):
        run("--messages", "10", "--out", str(tmp_path))


# The page


def test_the_page_names_every_knob_with_its_range() -> None:
    for name, knob_range in KNOB_RANGES.items():
        values = str(knob_range.low)
        if knob_range.high != knob_range.low:
            values += f" to {knob_range.high}"
        if knob_range.never:
            values += f"; 0 in {knob_range.never // 10} % of worlds"
        assert f"| `{name}` | {values} | {knob_range.meaning} |" in PAGE, name


def test_the_page_describes_every_kind_and_every_kind_of_mail() -> None:
    for kind in KINDS:
        assert f"| `{kind}` |" in PAGE
    for mail_kind in MAIL_KINDS:
        assert f"| `{mail_kind}` |" in PAGE
