"""What the summary of an audit says of what could not be read."""

from __future__ import annotations

import json

import pytest

from bulklink.cli.audit_summary import show_summary
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.operations.auditing.result import AuditResult

RESULT = AuditResult(
    contacts=3,
    emails=20,
    unread=0,
    proposed={tier.value: {kind.value: 0 for kind in ChangeKind} for tier in Tier},
    by_hand=0,
    uncertain=0,
    reading="strict",
    calls={"read": 3, "lookup": 9, "retried": 0},
    credits=12,
    files={},
    stopped_by=None,
    resume_at=None,
    exit_code=1,
    contradicted=2,
    nameless=4,
    without_history={"unreadable": 1, "NO_PERMISSION": 1_200},
)


def test_what_is_missing_is_in_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(RESULT, "m.csv", as_json=False)
    output = " ".join(capsys.readouterr().out.split())
    assert "left out, without a message id 4" in output
    assert "on different deals by their rows 2" in output
    assert "deals without their history 1,201" in output
    assert "by reason: NO_PERMISSION 1,200, unreadable 1." in output
    assert "--read-again" in output


def test_what_is_missing_is_in_the_object_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(RESULT, "m.csv", as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert content["nameless"] == 4
    assert content["without_history"] == {"unreadable": 1, "NO_PERMISSION": 1_200}
