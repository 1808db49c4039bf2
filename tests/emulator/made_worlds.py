"""Generated worlds of conversations, and a second implementation of the rule over them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bulklink.emulator.conversations.knobs import KIND_RANGES, ConversationRecipe
from bulklink.emulator.conversations.writer import CONVERSATION_FILES, generate_conversations
from bulklink.emulator.settings import PredictionMode

KINDS = tuple(KIND_RANGES)
SIZE = 1_500
SECOND_DOMAIN = "freemail.example"
"""Domain of the addresses of contacts who were two records once."""


@dataclass(frozen=True)
class Made:
    """A generated world, as read by a plain JSON parser.

    Args:
        folder: its files.
        world: the object of world.json.
        truths: the entries of truth.json, in order.
        knobs: the knobs of knobs.json.
    """

    folder: Path
    world: Mapping[str, Any]
    truths: list[dict[str, Any]]
    knobs: Mapping[str, int]

    @property
    def emails(self) -> list[dict[str, Any]]:
        return list(self.world["emails"])

    @property
    def pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each email with the truth about it."""
        return zip(self.world["emails"], self.truths, strict=True)


def make(folder: Path, kind: str, reading: PredictionMode = "strict", seed: int = 1) -> Made:
    generate_conversations(ConversationRecipe(SIZE, kind, reading, seed=seed), folder)
    world, truths, knobs = (
        json.loads((folder / name).read_text("utf-8")) for name in CONVERSATION_FILES
    )
    return Made(folder, world, truths, knobs["knobs"])


class Library:
    """Two worlds of each kind, made when a test first asks for them.

    Args:
        folder: where they are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, list[Made]] = {}

    def __getitem__(self, kind: str) -> list[Made]:
        if kind not in self._made:
            self._made[kind] = [
                make(self._folder / f"{kind}{seed}", kind, seed=seed) for seed in (1, 2)
            ]
        return self._made[kind]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def by_id(records: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {record["id"]: record for record in records}


@dataclass(frozen=True)
class Replay:
    """The rule as the announcement states it, over the histories of a world file.

    Args:
        made: the world.
        reading: the reading of the rule.
    """

    made: Made
    reading: str

    def forecasts(self) -> dict[str, str]:
        return {
            name: stage["forecast_type"]
            for stage in self.made.world["stages"]
            for name in (stage["display_value"], stage["actual_value"])
        }

    def state(self, deal: Mapping[str, Any], moment: float) -> tuple[float, str]:
        """Return when a deal had been modified last at a moment, and its forecast type."""
        changes = sorted(deal["history"], key=lambda change: seconds(change["time"]))
        stages = [change for change in changes if change.get("field") == "Stage"]
        stage = stages[0]["old"] if stages else deal["stage"]
        modified = seconds(deal["created_time"])
        for change in changes:
            if seconds(change["time"]) <= moment:
                modified = seconds(change["time"])
                if change.get("field") == "Stage":
                    stage = change["new"]
        return modified, self.forecasts()[stage]

    def predict(self, email: Mapping[str, Any]) -> str | None:
        """Return the deal that the rule gave a received email."""
        moment = seconds(email["time"])
        owner = by_id(self.made.world["users"])[email["owner_id"]]
        deals = [deal for deal in self.candidates(email) if seconds(deal["created_time"]) <= moment]
        if moment < seconds(owner["connected_time"]) and len(deals) > 1:
            return None
        states = [(*self.state(deal, moment), int(deal["id"])) for deal in deals]
        if self.reading == "last-modified-first":
            states = sorted(states)[-1:]
        closed = {"Closed Lost"} if self.reading != "strict" else {"Closed Lost", "Closed Won"}
        open_states = [state for state in states if state[1] not in closed]
        last = max(open_states, key=lambda state: (state[0], state[2]), default=None)
        return str(last[2]) if last else None

    def candidates(self, email: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the deals of the record that an email was listed under when it came."""
        contact = by_id(self.made.world["contacts"])[email["contact_id"]]
        own = [d for d in self.made.world["deals"] if d["contact_id"] == contact["id"]]
        merge = self.merge_of(own)
        is_early = merge is not None and seconds(email["time"]) < merge
        at_duplicate = is_early and self.is_from_second_address(email, contact)
        if is_early:
            own = [deal for deal in own if (self.merge_of([deal]) is not None) == at_duplicate]
        roles = [
            deal
            for deal in self.made.world["deals"]
            if contact["id"] in deal.get("contact_roles", [])
            and deal["contact_id"] != contact["id"]
        ]
        return own + (roles if self.made.knobs["roles_count"] and not at_duplicate else [])

    def merge_of(self, deals: Iterable[Mapping[str, Any]]) -> float | None:
        """Return when the record that some deals belonged to was merged into another."""
        times = [
            seconds(change["time"])
            for deal in deals
            for change in deal["history"]
            if change.get("field") == "Contact_Name"
        ]
        return times[0] if times else None

    def is_from_second_address(self, email: Mapping[str, Any], contact: Mapping[str, Any]) -> bool:
        """Return whether a contact wrote an email from another address than the record's."""
        local_part, _, domain = email["from"]["email"].partition("@")
        own_local_part = contact["email"].partition("@")[0]
        is_own = bool(local_part.rpartition(".")[0] == own_local_part)
        return domain == SECOND_DOMAIN and is_own
