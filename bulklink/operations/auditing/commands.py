"""Commands shown on the pages of an audit, ready to be typed."""

from __future__ import annotations

from pathlib import Path

from bulklink.shell import format_command, path_word


def review_commands(mapping: Path, reviewed: str) -> dict[str, str]:
    """Return the commands that go on from the review page.

    Args:
        mapping: the mapping of the audit.
        reviewed: name of the mapping that the page offers for download.
    """
    return {
        "plan": format_command("bulklink", "plan", path_word(reviewed)),
        "run": format_command("bulklink", "run", path_word(reviewed)),
        "sure": format_command("bulklink", "run", mapping, "--only", "tier=sure"),
        "explain": format_command("bulklink", "audit", "--explain", "MESSAGE_ID", "-o", mapping),
    }


def checked_command(mapping: Path, verdicts: str) -> str:
    """Return the command that reads the verdicts on a sample.

    Args:
        mapping: the mapping of the audit.
        verdicts: name of the file with the verdicts, beside it.
    """
    return format_command("bulklink", "audit", "--checked", verdicts, "-o", mapping.name)


def sample_option(emails: int) -> str:
    """Return the option that draws this number of emails of each tier."""
    return f"--check {emails}"
