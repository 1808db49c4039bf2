"""Configuration of the documentation site; `make site` builds it into build/site.

The pages are the Markdown files of the repository, as they are read on a code host. The sections of
docs/README.md are the navigation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import join, normpath

from pygments.lexers.shell import BashLexer
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "bulklink"
author = copyright = "The bulklink developers"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
root_doc = "docs/README"
include_patterns = ["*.md", "docs/*.md", "tests/README.md", "benchmarks/*.md"]
exclude_patterns = [".*", "build", "dist"]
smartquotes = False
myst_heading_anchors = 6
myst_heading_slug_func = "github"

html_theme = "furo"
html_title = "bulklink"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["index.html"]
html_copy_source = False
html_show_search_summary = False  # a browser does not let the page of a file fetch others
html_use_index = False
html_show_copyright = False

_INDEX = "\n(?=## )"
_PAGE = re.compile(r"^\| \[([^\]]+)\]\(([^)]+)\.md\) \|", re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Add what Sphinx lacks for these pages."""
    app.add_lexer("crontab", BashLexer)
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", _add_navigation)


def _add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the navigation to the index, which on a code host is only a page with tables."""
    if docname == root_doc:
        source[0] += "".join(_navigation(source[0]))


def _navigation(index: str) -> Iterator[str]:
    """Yield a hidden table of contents for each section of the index."""
    for section in re.split(_INDEX, index)[1:]:
        caption = section.partition("\n")[0].removeprefix("## ")
        yield f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n"
        for title, target in _PAGE.findall(section):
            yield f"{title} </{normpath(join('docs', target))}>\n"
        yield "```\n"
