"""Rendering the review page as a stream of HTML: its size may be many megabytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from functools import lru_cache
from itertools import chain, islice
from typing import Any

import msgspec
from markupsafe import escape

from bulklink.html_pages.page import escape_json, load_assets, page_environment
from bulklink.html_pages.review.model import Review, ReviewConversation
from bulklink.html_pages.review.packing import MAX_PACKED_BYTES, ConversationPacker

_SCRIPTS = (
    *("texts.js", "data.js", "host.js", "decisions.js", "filters.js", "cost.js", "mapping.js"),
    *("list.js", "detail.js", "totals.js", "keys.js", "main.js"),
)
MAX_PLAIN_CONVERSATIONS = 200
"""Conversations that the page shows without its script, and prints."""
_BUFFERED_PARTS = 200
HEAD_BYTES = 4096
"""Bytes at the beginning of a page that tell whether this version made it."""


def stream_review(
    review: Review,
    conversations: Iterable[ReviewConversation],
    zone: tzinfo | None = None,
    *,
    max_bytes: int = MAX_PACKED_BYTES,
) -> Iterator[str]:
    """Yield the review page, part by part.

    All texts are escaped, including control characters. Script and style are allowed only by their
    hashes, and nothing may be fetched.

    Args:
        review: what the page says of the audit as a whole.
        conversations: conversations with proposals; if there are too many, the last are left out,
            and the page says so.
        zone: time zone of the page without its script; None for this machine's.
        max_bytes: approximate limit on the conversations, in bytes.
    """
    remaining = iter(conversations)
    plain = list(islice(remaining, MAX_PLAIN_CONVERSATIONS))
    packer = ConversationPacker(max_bytes)
    stream = (
        page_environment("review", zone)
        .get_template("page.html.j2")
        .stream(
            review=review,
            plain=plain,
            assets=load_assets("review", _SCRIPTS if plain else ()),
            chunks=packer.chunks(chain(plain, remaining)),
            facts=lambda: _facts(review, packer),
        )
    )
    stream.enable_buffering(_BUFFERED_PARTS)
    yield from stream


@lru_cache
def review_policy() -> str:
    """Return the content security policy of the pages that this version makes."""
    return load_assets("review", _SCRIPTS).policy


def is_of_this_version(head: bytes) -> bool:
    """Return whether a page says that it has the style and script of this version.

    Args:
        head: its first `HEAD_BYTES` bytes.
    """
    policies = (review_policy(), load_assets("review").policy)
    return any(str(escape(policy)).encode() in head for policy in policies)


def _facts(review: Review, packer: ConversationPacker) -> str:
    """Return what the script needs to know besides the conversations, as JSON."""
    left_out = {
        tier.tier: tier.emails - packer.proposals.get(tier.tier, 0) for tier in review.tiers
    }
    facts: dict[str, Any] = {
        "digest": packer.digest,
        "conversations": packer.conversations,
        "leftOut": left_out,
        "columns": review.columns,
        "reviewed": review.reviewed,
    }
    return escape_json(msgspec.json.encode(facts)).decode()
