"""Self-contained HTML pages: one file each, which fetches nothing and runs only its own script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import tzinfo
from functools import partial
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from bulklink.counts import count_of, inflect
from bulklink.local_time import format_local_time
from bulklink.visible_text import escape_controls

_PACKAGE = "bulklink.html_pages"
_SHARED_SCRIPTS = ("dom.js", "counts.js", "download.js")


class PageAssets(msgspec.Struct, frozen=True):
    """Style and script of a page, and the policy that allows nothing else.

    Args:
        style: the style sheet.
        script: the script; None for a page without one.
    """

    style: str
    script: str | None

    @property
    def policy(self) -> str:
        """Content security policy: this style and script by their hashes, and no fetch."""
        allowed = [f"style-src {_hash(self.style)}"]
        if self.script is not None:
            allowed.insert(0, f"script-src {_hash(self.script)}")
        return "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])


def load_assets(room: str, scripts: Sequence[str] = (), *, has_charts: bool = False) -> PageAssets:
    """Return the assets of a kind of page, after those that all pages share.

    Args:
        room: subpackage of the page, such as `report`, whose style has its name.
        scripts: names of its scripts, in their order; all scripts share one scope.
        has_charts: whether it has charts, whose style is shared.
    """
    styles = ["assets/base.css", *(["assets/charts.css"] if has_charts else [])]
    style = "".join(map(read_asset, [*styles, f"{room}/assets/{room}.css"]))
    names = [
        *(f"assets/{name}" for name in _SHARED_SCRIPTS),
        *(f"{room}/assets/{name}" for name in scripts),
    ]
    sources = map(read_asset, names)
    script = '"use strict";\n\n{\n' + "\n".join(sources) + "}\n" if scripts else None
    return PageAssets(style, script)


def page_environment(
    room: str, zone: tzinfo | None = None, filters: dict[str, Callable[..., Any]] | None = None
) -> Environment:
    """Return the environment that renders the templates of a kind of page.

    All texts are escaped, including control characters; markup is only what is marked as safe.

    Args:
        room: subpackage of the page, whose templates hide shared ones of the same name.
        zone: time zone of the page; None for this machine's.
        filters: further filters of its templates, by name.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(f"{_PACKAGE}.{room}"), PackageLoader(_PACKAGE)]),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "local": partial(format_local_time, zone=zone),
        "number": "{:,}".format,
        "count_of": count_of,
        "inflect": inflect,
        **(filters or {}),
    }
    return environment


def escape_json(json: bytes) -> bytes:
    """Escape JSON so that it cannot end the HTML element that contains it."""
    return json.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def _finalize(value: object) -> object:
    """Escape control characters of a text; markup marked as safe is not user text."""
    return escape_controls(value) if type(value) is str else value


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def read_asset(name: str) -> str:
    """Return the text of a style sheet or script, by its path in this package."""
    return files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")
