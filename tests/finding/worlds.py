"""Worlds of conversations, read from the files of `bulklink generate` without the API."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from bulklink.finding.connection_span import ConnectionSpan
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts, FieldChange, Person
from bulklink.models import ForecastType

_FORECASTS: dict[str, ForecastType] = {"Open": "open", "Closed Won": "won", "Closed Lost": "lost"}


def timestamp(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


class GeneratedWorld:
    """A generated world as the values that finding judges, with its truth."""

    def __init__(self, folder: Path) -> None:
        self._world = json.loads((folder / "world.json").read_text())
        self.truth: dict[tuple[str, str], dict[str, str | None]] = {
            (row["contact_id"], row["message_id"]): row
            for row in json.loads((folder / "truth.json").read_text())
        }
        """The right deal of each email, and who made its link."""
        knobs = json.loads((folder / "knobs.json").read_text())["knobs"]
        self.roles_count = bool(knobs["roles_count"])
        self.detached = bool(knobs["detached"])
        """Whether people take emails off deals in this world."""
        self.stages = {
            stage[name]: _FORECASTS[stage["forecast_type"]]
            for stage in self._world["stages"]
            for name in ("display_value", "actual_value")
        }

    @property
    def right_deals(self) -> Mapping[tuple[str, str], str | None]:
        """The right deal of an email, by contact and message."""
        return {key: row["deal_id"] for key, row in self.truth.items()}

    @property
    def connections(self) -> dict[str, ConnectionSpan]:
        """When each mailbox was connected."""
        return {
            user["id"]: ConnectionSpan.at(timestamp(user.get("connected_time")) or float("-inf"))
            for user in self._world["users"]
        }

    def contacts(self, *, histories: bool = True, numbers: bool = False) -> Iterator[ContactFacts]:
        """Yield the contacts that have emails.

        Args:
            histories: whether the histories of their deals are known.
            numbers: whether the numbers of their deals are known.
        """
        deals: dict[str, list[DealFacts]] = defaultdict(list)
        for record in self._world["deals"]:
            deal = _deal(record, histories=histories, numbers=numbers)
            deals[record["contact_id"]].append(msgspec.structs.replace(deal, by_role=False))
            for contact_id in record.get("contact_roles") or ():
                if contact_id != record["contact_id"]:
                    deals[contact_id].append(msgspec.structs.replace(deal, by_role=True))
        addresses = {record["id"]: record["email"] for record in self._world["contacts"]}
        user_names = {user["id"]: user["full_name"] for user in self._world["users"]}
        emails: dict[str, list[EmailFacts]] = defaultdict(list)
        for record in self._world["emails"]:
            emails[record["contact_id"]].append(_email(record, user_names))
        for contact_id, messages in emails.items():
            address = addresses[contact_id]
            yield ContactFacts(
                contact_id, tuple(messages), tuple(deals[contact_id]), (address.lower(),)
            )


def _deal(record: Mapping[str, Any], *, histories: bool, numbers: bool) -> DealFacts:
    history = sorted(
        (
            FieldChange(
                timestamp(entry["time"]) or 0.0,
                entry.get("field"),
                _text(entry.get("old")),
                _text(entry.get("new")),
                entry.get("source"),
            )
            for entry in record.get("history") or ()
        ),
        key=lambda change: change.time,
    )
    created = timestamp(record["created_time"])
    modified = timestamp(record.get("modified_time"))
    return DealFacts(
        record["id"],
        record["name"],
        record["stage"],
        created,
        modified if modified is not None else (history[-1].time if history else created),
        owner_id=record.get("owner_id"),
        account_id=record.get("account_id"),
        closing_date=record.get("closing_date"),
        number=next(map(str, (record.get("fields") or {}).values()), None) if numbers else None,
        history=tuple(history) if histories else None,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _email(record: Mapping[str, Any], user_names: Mapping[str, str]) -> EmailFacts:
    return EmailFacts(
        record["message_id"],
        record["owner_id"],
        record.get("subject"),
        timestamp(record["time"]),
        "received" if record["received"] else "sent",
        deal_id=record["deal_id"],
        sender=_person(record["from"]),
        to=tuple(map(_person, record.get("to") or ())),
        cc=tuple(map(_person, record.get("cc") or ())),
        summary=record.get("summary"),
        owner_name=user_names[record["owner_id"]],
    )


def _person(record: Mapping[str, str]) -> Person:
    return Person(record["email"].lower(), record["user_name"])
