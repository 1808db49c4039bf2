"""The guides that show output are followed, and every command prints what the page shows.

python -m tests.docs.test_guides    # writes what the commands print today
"""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import tomli_w

from tests.cluster.postgres import serve_postgres
from tests.docs import tutorial
from tests.docs.reference import ROOT
from tests.e2e.command import Command
from tests.e2e.servers import serve_world_file

PAGES = ("correct-with-approval", "migrate-over-days", "shards")
WORLD = ("--messages", "240", "--contacts", "4", "--linked-wrong", "0.5", "--linked-right", "0.1")
_COUNTS_SO_FAR = re.compile(r"(?<=: stopped \(credits\)\n)(?:  \w+ +\d+\n)+")
"""What is done when credits run out depends on the calls that are in flight together."""


_EVENTS_OF_RUNS = re.compile(r"(?:^\w+-july(?:: | is left ).*\n)+", re.MULTILINE)
"""What a worker reports about runs that are sent at the same time, in any order."""


_WORKER = re.compile(r"^Worker \S+;", re.MULTILINE)
"""The name of a worker has that of its machine."""


def mask(text: str) -> str:
    """Return a page without what differs between two runs."""
    text = _WORKER.sub("Worker;", text)
    text = _EVENTS_OF_RUNS.sub(lambda lines: "".join(sorted(lines[0].splitlines(True))), text)
    return _COUNTS_SO_FAR.sub("", tutorial.mask(text))


def follow(text: str, folder: Path) -> str:
    """Follow a page with a mapping and a local CRM; return it with what the commands printed."""
    assert Command(folder)("generate", *WORLD, "--out", "crm").code == 0
    (folder / "crm" / "mapping.csv").rename(folder / "mapping.csv")
    with tutorial.Follower(folder) as follower:
        follower.start_crm()
        return follower.follow(text)


def follow_with_two_orgs(text: str, folder: Path) -> str:
    """Follow a page with a mapping, a local CRM and a profile for each of two orgs."""
    with ExitStack() as servers, tutorial.Follower(folder) as follower:
        _serve_two_orgs(folder, servers)
        return follower.follow(text).replace(str(folder), "/srv/crm")


def follow_with_database(text: str, folder: Path) -> str:
    """Follow a page with two orgs, a sealed plan for each, and a database."""
    with ExitStack() as servers, tutorial.Follower(folder) as follower:
        url = servers.enter_context(serve_postgres()).create_database()
        _serve_two_orgs(folder, servers)
        for org in ("acme", "globex"):
            plan = ("plan", "--op", "relink", f"{org}.csv", "--profile", org)
            assert Command(folder)(*plan, "--run-dir", f"runs/{org}-july").code == 0
        follower.set_variables(BULKLINK_CLUSTER_URL=url)
        address = url.partition("@")[2]
        return follower.follow(text).replace(address, "db.example.com:5432/bulklink")


def _serve_two_orgs(folder: Path, servers: ExitStack) -> None:
    for seed, org in enumerate(("acme", "globex"), 1):
        made = Command(folder)("generate", *WORLD, "--seed", str(seed), "--out", org)
        assert made.code == 0
        (folder / org / "mapping.csv").rename(folder / f"{org}.csv")
        server = serve_world_file(folder / org / "world.json")
        store_profile(folder / "config" / "bulklink", org, servers.enter_context(server).url)


def store_profile(config: Path, name: str, url: str) -> None:
    """Store a profile of a local CRM, as a sign-in with --plain-file does."""
    for folder in (config / "profiles", config / "secrets"):
        folder.mkdir(parents=True, exist_ok=True)
    profile = {"api_url": url, "accounts_url": url, "client_id": "demo", "secrets": "file"}
    # This CRM never shows old links, so reads need not wait until they are believed.
    options = {"options": {"settle_after": 0}}
    (config / "profiles" / f"{name}.toml").write_text(tomli_w.dumps(profile | options), "utf-8")
    secrets = {"client_id": "demo", "client_secret": "demo", "refresh_token": "demo"}
    file = config / "secrets" / f"{name}.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(secrets), "utf-8")


FOLLOWED = {
    **dict.fromkeys(PAGES, follow),
    "worker": follow_with_two_orgs,
    "cluster": follow_with_database,
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_the_guide_is_followed_word_for_word(name: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    assert mask(FOLLOWED[name](text, tmp_path)) == mask(text)


def main() -> None:
    """Write into the guides what their commands print, unless only times differ."""
    for name, follow_page in FOLLOWED.items():
        page = ROOT / "docs" / f"{name}.md"
        shown = page.read_text("utf-8")
        with tempfile.TemporaryDirectory() as folder:
            try:
                text = follow_page(shown, Path(folder))
            except pytest.skip.Exception:  # nothing to follow it with
                continue
        if mask(text) != mask(shown):
            page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
