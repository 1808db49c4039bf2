"""An audit over a socket proposes what it would with everything that the world knows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from bulklink.finding.judge import Judge
from bulklink.finding.org_evidence import OrgEvidence
from tests.e2e.command import Command
from tests.e2e.servers import serve_world_file
from tests.finding.judged import weights
from tests.finding.worlds import GeneratedWorld

Proposals = dict[tuple[str, str], tuple[str, str, str]]
"""Tier, kind and deal, by contact and message."""


def judge_all(world: GeneratedWorld) -> Proposals:
    """Judge the contacts that have deals, with all histories and contact roles."""
    contacts = [contact for contact in world.contacts() if contact.deals]
    evidence = OrgEvidence(world.stages)
    for contact in contacts:
        evidence.add(contact)
    judge = Judge(weights(), evidence.org_facts())
    return {
        (contact.id, verdict.email.message_id): (verdict.tier, verdict.kind, verdict.deal_id)
        for contact in contacts
        for verdict in judge.judge(contact)
        if verdict.tier and verdict.kind and verdict.deal_id
    }


def test_what_is_read_suffices_for_the_verdicts(tmp_path: Path) -> None:
    command = Command(tmp_path)
    recipe = ("--kind", "conversations", "--messages", "500", "--seed", "400", "--out", "crm")
    assert command("generate", *recipe).code == 0
    world_file = tmp_path / "crm" / "world.json"
    deals = json.loads(world_file.read_text("utf-8"))["deals"]
    (tmp_path / "deals.txt").write_text("\n".join(deal["id"] for deal in deals), "utf-8")
    with serve_world_file(world_file) as crm:
        selection = ("--contacts-of-deals", "@deals.txt", "--rate", "1000")
        audited = command.with_env(**crm.env())("audit", *selection, "-o", "m.csv")
    assert audited.code == 1, audited
    with (tmp_path / "m.csv").open(encoding="utf-8", newline="") as file:
        proposals = {
            (row["contact_id"], row["message_id"]): (row["tier"], row["kind"], row["deal_id"])
            for row in csv.DictReader(file)
        }
    assert len(proposals) > 100
    assert proposals == judge_all(GeneratedWorld(tmp_path / "crm"))
