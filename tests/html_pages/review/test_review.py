"""The review page as a file: what it says, what it leaves out, and that texts do nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bulklink.errors import BadFileError
from bulklink.finding.verdicts import Tier
from bulklink.html_pages.review.model import ReviewCandidate, ReviewConversation, ReviewEmail
from bulklink.html_pages.review.packing import MAX_DEALS, MAX_OTHER_EMAILS, ConversationPacker
from bulklink.operations.auditing.review import write_review
from tests.e2e.audit import mode
from tests.html_pages.review.audits import (
    contact_of,
    email,
    proposal,
    usual_contact,
    write_audit,
)

HOSTILE = "</script><script>x</script><!--<img src=x onerror=y>\u202e\x00\u2028"


def embedded(page: str, selector: str) -> list[Any]:
    return [
        json.loads(text) for text in re.findall(f"<script [^>]*{selector}>(.*?)</script>", page)
    ]


def conversation(number: int = 0, **fields: Any) -> ReviewConversation:
    fields = {
        "candidates": (ReviewCandidate("1", "Cranes", "0.9999", ()),),
        "emails": (ReviewEmail(message_id="m", subject="s", kind="move", tier="sure"),),
    } | fields
    return ReviewConversation("7", number, **fields)


def test_the_page_says_what_is_proposed_and_how_often_it_is_wrong(tmp_path: Path) -> None:
    files = write_audit(tmp_path, [usual_contact(0, Tier.SURE), usual_contact(1, Tier.LOOK)])
    page = files.review.read_text("utf-8")
    assert "proposes another deal for 4 of them, in 2 conversations" in page
    assert "at least 98.8% at 95 % confidence" in page
    assert "That is too few, so its moves are look." in page
    assert "bulklink run m.reviewed.csv" in page
    assert mode(files.review) == 0o600


def test_conversations_to_decide_come_before_those_that_are_sure(tmp_path: Path) -> None:
    tiers = [Tier.SURE, Tier.LOOK, Tier.SURE, Tier.LIKELY]
    files = write_audit(tmp_path, [usual_contact(n, tier) for n, tier in enumerate(tiers)])
    (chunk,) = embedded(files.review.read_text("utf-8"), 'class="chunk"')
    contacts = [cells[0] for cells in chunk["conversations"]]
    assert contacts == [contact_of(number) for number in (1, 3, 0, 2)]


def test_an_audit_without_a_proposal_says_so_and_has_no_script(tmp_path: Path) -> None:
    page = write_audit(tmp_path, []).review.read_text("utf-8")
    assert "Nothing to propose" in page
    assert "<script" not in page


def test_the_page_is_made_again_from_the_files_of_the_audit(tmp_path: Path) -> None:
    files = write_audit(tmp_path, [usual_contact(0, Tier.SURE)])
    before = files.review.read_bytes()
    files.review.unlink()
    write_review(files.mapping)
    assert files.review.read_bytes() == before


def test_a_file_that_is_no_table_of_verdicts_is_refused(tmp_path: Path) -> None:
    files = write_audit(tmp_path, [usual_contact(0, Tier.SURE)])
    before = files.review.read_bytes()
    files.verdicts.write_bytes(files.verdicts.read_bytes()[:2000])
    with pytest.raises(BadFileError, match="not an audit file"):
        write_review(files.mapping)
    assert files.review.read_bytes() == before


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    judged = email(0, 0, None, subject=HOSTILE)
    page = write_audit(tmp_path, [[proposal(judged)]]).review.read_text("utf-8")
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert "\u202e" not in page.partition('class="chunk"')[0]
    (chunk,) = embedded(page, 'class="chunk"')
    assert HOSTILE in chunk["texts"]


def test_a_chunk_writes_each_text_once() -> None:
    packer = ConversationPacker()
    (chunk,) = packer.chunks(map(conversation, range(3)))
    packed = json.loads(chunk)
    assert packed["texts"] == ["s", "move", "sure"]
    assert packed["deals"] == [["1", "Cranes"]]
    assert len(packed["conversations"]) == 3


def test_what_does_not_fit_is_left_out_and_counted() -> None:
    packer = ConversationPacker(max_bytes=1000)
    chunks = list(packer.chunks(conversation(number) for number in range(10**9)))
    assert 0 < packer.conversations < 100
    assert packer.proposals == {"sure": packer.conversations}
    assert sum(map(len, chunks)) < 2000


def test_the_first_deals_can_be_chosen_and_so_can_no_deal() -> None:
    candidates = tuple(
        ReviewCandidate(None if n == 20 else str(n), None, "0.1000", ()) for n in range(21)
    )
    (chunk,) = ConversationPacker().chunks([conversation(candidates=candidates)])
    cells = json.loads(chunk)["conversations"][0]
    assert [deal for deal, *_ in cells[2]] == [*range(MAX_DEALS), None]


def test_of_emails_that_stay_only_some_are_shown() -> None:
    emails = tuple(
        ReviewEmail(message_id=str(n), kind="move" if n % 2 else None, tier="sure")
        for n in range(4 * MAX_OTHER_EMAILS)
    )
    (chunk,) = ConversationPacker().chunks([conversation(emails=emails)])
    cells = json.loads(chunk)["conversations"][0]
    assert len(cells[3]) == 3 * MAX_OTHER_EMAILS
    assert cells[4] == MAX_OTHER_EMAILS
