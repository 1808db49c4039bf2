"""Rendering the page with a sample as one self-contained HTML file."""

from __future__ import annotations

from datetime import tzinfo

import msgspec

from bulklink.html_pages.page import escape_json, load_assets, page_environment
from bulklink.html_pages.sample.model import SampledAudit

_SCRIPTS = ("bounds.js", "summary.js", "answers.js", "sample.js")


def render_sample(sample: SampledAudit, zone: tzinfo | None = None) -> str:
    """Return the page with a sample as HTML.

    All texts are escaped, including control characters. Script and style are allowed only by their
    hashes, and nothing may be fetched.

    Args:
        sample: the sample.
        zone: time zone of the page; None for this machine's.
    """
    assets = load_assets("sample", _SCRIPTS if sample.emails else ())
    template = page_environment("sample", zone).get_template("page.html.j2")
    return template.render(sample=sample, assets=assets, facts=_facts(sample))


def _facts(sample: SampledAudit) -> str:
    """Return what the script needs to know, as JSON."""
    facts = {
        "digest": sample.digest,
        "download": sample.download,
        "groups": sample.groups,
        "emails": [
            {
                "tier": email.tier,
                "kind": email.kind,
                "number": email.number,
                "contact_id": email.contact_id,
                "owner_id": email.owner_id,
                "message_id": email.message_id,
                "verdict": email.verdict,
            }
            for email in sample.emails
        ],
    }
    return escape_json(msgspec.json.encode(facts)).decode()
