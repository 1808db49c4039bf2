"""The site of the documentation is built without a warning, and its links lead somewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.reference import ROOT
from tests.docs.site import shared_site
from tests.docs.test_reference import PAGES, anchors

LOADED = {"img": "src", "link": "href", "script": "src", "source": "src", "iframe": "src"}
"""Attributes whose addresses a browser loads by itself."""


@dataclass
class Page(HTMLParser):
    """What a page links, loads and can be jumped to.

    Args:
        path: the page.
    """

    path: Path
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if LOADED.get(tag, "-") in values:
            self.loaded.append(values[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_site(tmp_path_factory)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


@pytest.mark.timeout(180)  # the first test of a worker may have to build the site
def test_every_page_of_the_project_is_in_the_site(pages: dict[Path, Page], site: Path) -> None:
    assert {site / Path(name).with_suffix(".html") for name in PAGES} <= pages.keys()


@pytest.mark.timeout(180)
def test_every_link_leads_somewhere(pages: dict[Path, Page]) -> None:
    broken = []
    for page in pages.values():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if parts.scheme:
                continue
            ids = {"", *pages[target].ids} if target in pages else {""}
            if not target.exists() or unquote(parts.fragment) not in ids:
                broken.append((page.path.name, link))
    assert broken == []


@pytest.mark.timeout(180)
def test_headings_have_the_anchors_that_they_have_on_a_code_host(
    pages: dict[Path, Page], site: Path
) -> None:
    for name in PAGES:
        assert anchors(ROOT / name) - pages[site / Path(name).with_suffix(".html")].ids == set(), (
            name
        )


@pytest.mark.timeout(180)
def test_nothing_is_loaded_from_another_host(pages: dict[Path, Page], site: Path) -> None:
    loaded = {address for page in pages.values() for address in page.loaded}
    assert {address for address in loaded if urlsplit(address).netloc} == set()
    for path in site.rglob("*.css"):
        text = path.read_text("utf-8")
        assert re.findall(r"(?:url\(|@import)[\s\"']*(?:https?:)?//[^)]*", text) == [], path
    for path in site.rglob("*.svg"):
        text = path.read_text("utf-8")
        assert re.findall(r"(?:href|src)=\"(?:https?:)?//[^\"]*|@import", text) == [], path


@pytest.mark.timeout(180)
def test_the_navigation_has_every_section_of_the_index(site: Path) -> None:
    html = (site / "docs" / "README.html").read_text("utf-8")
    captions = re.findall(r'<p class="caption"[^>]*><span class="caption-text">([^<]*)<', html)
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert captions == re.findall(r"^## (.*)$", index, re.MULTILINE)
