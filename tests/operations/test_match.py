"""`match`: the emails of another system's list among fetched emails."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink import (
    BadFileError,
    InterruptedPlanningError,
    RunCallbacks,
    StopController,
    UsageError,
    match,
)
from bulklink.operations.fetching.table import FETCH_COLUMNS
from bulklink.operations.matching.result import MatchResult
from bulklink.tables import format_for, write_table
from tests.guard import off_loop

Row = dict[str, Any]
CONTACT, COLLEAGUE, OWNER, OTHER_OWNER = "58431040001", "58431040002", "58431040003", "58431040004"
DEAL, PRESENT = "58431040005", "58431040006"
ANN, BEN, US = "ann@x.example", "ben@x.example", "us@our-org.example"


def fetched_row(message_id: str, minute: float = 0, **cells: str | None) -> Row:
    """Return an email that Ann sent at nine o'clock and some minutes."""
    return {
        "contact_id": CONTACT,
        "owner_id": OWNER,
        "owner_name": "Pat",
        "message_id": message_id,
        "from_deal_id": "none",
        "subject": "The roof",
        "time": clock(minute),
        "direction": "received",
        "from_address": ANN,
        "to_addresses": US,
    } | cells


def clock(minute: float, zone: str = "Z") -> str:
    hours, seconds = divmod(round(minute * 60), 3600)
    return f"2026-01-02T{9 + hours:02}:{seconds // 60:02}:{seconds % 60:02}{zone}"


def wanted_row(minute: float = 0, **cells: str | None) -> Row:
    """Return the same email in the list of another system."""
    return {
        "from_address": f"Ann <{ANN}>",
        "to_addresses": US,
        "subject": "The roof",
        "time": clock(minute),
        "deal_id": DEAL,
    } | cells


def write_csv(path: Path, rows: list[Row]) -> Path:
    headers = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, headers)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_fetched(path: Path, rows: list[Row]) -> Path:
    """Write emails as a fetch does, with the columns that they have besides."""
    more = {name for row in rows for name in row} - {column.header for column in FETCH_COLUMNS}
    if more:
        return write_csv(path, rows)
    with write_table(path, format_for(path.name), FETCH_COLUMNS) as table:
        table.write([tuple(row.get(column.header) for column in FETCH_COLUMNS) for row in rows])
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Matched:
    """The result of a match, and the rows of its files."""

    def __init__(self, result: MatchResult) -> None:
        self.result = result
        self.mapping, self.ambiguous, self.missing = (
            read_csv(Path(result.files[name])) for name in ("mapping", "ambiguous", "missing")
        )

    @property
    def deals(self) -> dict[str, str]:
        return {row["message_id"]: row["deal_id"] for row in self.mapping}


async def matched(
    folder: Path, wanted: list[Row], fetched: list[Row], name: str = "fetched.csv", **options: Any
) -> Matched:
    path = await off_loop(write_fetched, folder / name, fetched)
    lists = write_csv(folder / "wanted.csv", wanted), path
    result = await match(*lists, folder / "mapping.csv", force=True, **options)
    return Matched(result)


async def refused(folder: Path, wanted: list[Row], **options: Any) -> tuple[str, str, str]:
    """Return where, message and advice of the error about a list."""
    with pytest.raises((BadFileError, UsageError)) as error:
        await matched(folder, wanted, [fetched_row("a")], **options)
    assert names_in(folder) == {"wanted.csv", "fetched.csv"}
    return error.value.where, error.value.message, error.value.advice


async def test_an_email_is_found_and_becomes_a_guarded_row(tmp_path: Path) -> None:
    fetched = [
        fetched_row("a"),
        fetched_row("b", 30, from_deal_id=PRESENT),
        fetched_row("c", 60, from_deal_id=DEAL),
        fetched_row("d", 90, subject="Something else"),
    ]
    wanted = [wanted_row(minute, deal_name="House") for minute in (0.5, 29, 60)]
    found = await matched(tmp_path, wanted, fetched)
    assert found.mapping == [
        {
            "contact_id": CONTACT,
            "owner_id": OWNER,
            "owner_name": "Pat",
            "message_id": "a",
            "deal_id": DEAL,
            "deal_name": "House",
            "from_deal_id": "",
            "op": "link",
            "kind": "attach",
            "reasons": "same subject; 30 s earlier",
            "subject": "The roof",
            "time": clock(0),
            "wanted_row": "1",
        },
        found.mapping[1],
    ]
    second = {name: found.mapping[1][name] for name in ("message_id", "op", "kind", "from_deal_id")}
    assert second == {"message_id": "b", "op": "relink", "kind": "move", "from_deal_id": PRESENT}
    result = found.result
    assert (result.wanted, result.matched, result.attach, result.move) == (3, 3, 1, 1)
    assert (result.already, result.exit_code) == (1, 0)
    assert not found.ambiguous
    assert not found.missing


@pytest.mark.parametrize("name", ["f.parquet", "f.csv.gz", "f.jsonl", "f.xlsx"])
async def test_every_format_of_fetch_is_matched(name: str, tmp_path: Path) -> None:
    found = await matched(tmp_path, [wanted_row()], [fetched_row("a"), fetched_row("b", 9)], name)
    assert found.deals == {"a": DEAL}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "xlsx"])
async def test_the_mapping_has_the_format_of_its_name(suffix: str, tmp_path: Path) -> None:
    lists = write_csv(tmp_path / "w.csv", [wanted_row()]), tmp_path / "f.csv"
    write_fetched(lists[1], [fetched_row("a")])
    result = await match(*lists, tmp_path / f"m.{suffix}")
    again = await match(tmp_path / f"m.{suffix}", lists[1], tmp_path / "again.csv")
    assert (result.attach, again.attach) == (1, 1)
    assert (tmp_path / f"m.missing.{'xlsx' if suffix == 'xlsx' else 'csv'}").exists()


async def test_the_time_decides_within_a_limit_that_hours_do_not_cut(tmp_path: Path) -> None:
    for minute in (-2, 2):
        found = await matched(tmp_path, [wanted_row(60 + minute)], [fetched_row("a", 60)])
        assert found.deals == {"a": DEAL}, minute
    late = await matched(tmp_path, [wanted_row(62.1)], [fetched_row("a", 60)])
    assert late.result.missing == {"not-found": 1}
    assert late.result.exit_code == 1
    wide = await matched(tmp_path, [wanted_row(62.1)], [fetched_row("a", 60)], within="3m")
    assert wide.deals == {"a": DEAL}


SUBJECTS = {
    ("the  roof ", "The roof"): True,
    ("The roof", "AW: Re: [EXT] The roof"): True,
    ("Fwd: The roof", "The roof"): True,
    ("The ro…", "Re: The roof"): True,
    ("Th", "The roof"): False,
    ("The wall", "The roof"): False,
    ("", "The roof"): True,
    ("Cafe\u0301: menu", "Café: menu"): True,
}


async def test_subjects_agree_but_for_prefixes_and_cuts(tmp_path: Path) -> None:
    wanted = [wanted_row(60 * n, subject=one) for n, (one, _) in enumerate(SUBJECTS)]
    fetched = [fetched_row(f"m{n}", 60 * n, subject=two) for n, (_, two) in enumerate(SUBJECTS)]
    found = await matched(tmp_path, wanted, fetched)
    agree = {pair: f"m{n}" in found.deals for n, pair in enumerate(SUBJECTS)}
    assert agree == SUBJECTS


async def test_people_and_direction_must_fit(tmp_path: Path) -> None:
    sent = fetched_row("s", 60, direction="sent", from_address=US, to_addresses=f"{ANN}; {BEN}")
    fetched = [fetched_row("a"), sent]
    from_us = {"from_address": US, "to_addresses": f'"Ann" <{ANN}>'}
    wanted = {
        "received": wanted_row(0, from_address=ANN.upper()),
        "sent to one of two": wanted_row(60, **from_us),
        "from somebody else": wanted_row(0, from_address=BEN),
        "sent, not received": wanted_row(0, direction="outgoing"),
        "to somebody else": wanted_row(60, **from_us | {"to_addresses": "zoe@x.example"}),
        "as JSON": wanted_row(60, **from_us | {"to_addresses": f'[{{"email_address":"{BEN}"}}]'}),
    }
    for name, row in wanted.items():
        found = await matched(tmp_path, [row], fetched)
        is_found = name in ("received", "sent to one of two", "as JSON")
        assert bool(found.mapping) == is_found, name
    assert found.result.exit_code == 0


async def test_a_list_may_name_contacts_in_place_of_people(tmp_path: Path) -> None:
    rows = [{"contact_id": CONTACT, "subject": "The roof", "time": clock(0), "deal_id": DEAL}]
    other = fetched_row("b", contact_id=COLLEAGUE)
    found = await matched(tmp_path, rows, [other, fetched_row("a")])
    assert found.deals == {"a": DEAL}


async def test_ids_in_headers_match_exactly_and_need_both_lists(tmp_path: Path) -> None:
    rows = [{"internet_message_id": "<1@x>", "deal_id": DEAL}]
    fetched = [fetched_row("a", internet_message_id="1@x"), fetched_row("b", 1)]
    found = await matched(tmp_path, rows, fetched)
    assert found.deals == {"a": DEAL}
    with pytest.raises(BadFileError, match="only by the ids in their headers"):
        await matched(tmp_path, rows, [fetched_row("a")])
    mixed = [wanted_row(0, internet_message_id="<1@x>"), wanted_row(60, internet_message_id="")]
    fetched = [fetched_row("a", 30, internet_message_id="1@x"), fetched_row("b", 60)]
    found = await matched(tmp_path, mixed, fetched)
    assert found.deals == {"a": DEAL, "b": DEAL}


async def test_a_shift_of_all_times_is_found_told_and_applied(tmp_path: Path) -> None:
    names = [f"{ANN}.{n}" for n in range(12)]
    fetched = [fetched_row(f"m{n}", n, from_address=name) for n, name in enumerate(names)]
    wanted = [
        wanted_row(n, from_address=name, time=clock(n, "+05:30")) for n, name in enumerate(names)
    ]
    found = await matched(tmp_path, wanted, fetched)
    assert found.result.matched == 12
    shift = found.result.shift
    assert shift is not None
    assert (shift.seconds, shift.emails, shift.of, shift.applied) == (19_800, 12, 12, True)
    few = await matched(tmp_path, wanted[:9], fetched)
    assert few.result.matched == 0
    for row in wanted[:6]:
        row["time"] = row["time"].replace("+05:30", "+04:30")
    two = await matched(tmp_path, wanted, fetched)
    assert two.result.matched == 0


async def test_times_that_are_shifted_in_summer_alone_are_warned_of(tmp_path: Path) -> None:
    names = [f"{ANN}.{n}" for n in range(25)]
    fetched = [fetched_row(f"m{n}", n, from_address=name) for n, name in enumerate(names)]
    wanted = [wanted_row(n + 60 * (n >= 15), from_address=name) for n, name in enumerate(names)]
    warnings = KeepingWarnings()
    found = await matched(tmp_path, wanted, fetched, callbacks=warnings)
    assert found.result.matched == 15
    (text,) = warnings.texts
    assert "Of 25 emails in both lists, 10 differ by -3600 seconds" in text


async def test_times_without_a_zone_are_those_of_the_zone_that_is_named(tmp_path: Path) -> None:
    fetched = [fetched_row("a", 0)]
    for zone, text in {
        "Europe/Berlin": "2026-01-02 10:00",
        "+05:30": "2026-01-02T14:30:00",
        "UTC": "2026-01-02 09:00:00.25",
        None: "1767344400000",
    }.items():
        found = await matched(tmp_path, [wanted_row(time=text)], fetched, tz=zone)
        assert found.deals == {"a": DEAL}, zone
    for text in ("2026-01-02 10:00:00 +0100", "2026-01-02 14:45 +05:45", "2026-01-02 09:00 UTC"):
        found = await matched(tmp_path, [wanted_row(time=text)], fetched)
        assert found.deals == {"a": DEAL}, text


async def test_competing_emails_are_listed_with_all_candidates(tmp_path: Path) -> None:
    fetched = [fetched_row("a", 0), fetched_row("b", 1), fetched_row("c", 30)]
    found = await matched(tmp_path, [wanted_row(0.5), wanted_row(30)], fetched)
    assert found.deals == {"c": DEAL}
    assert [row["message_id"] for row in found.ambiguous] == ["a", "b"]
    assert {(row["op"], row["kind"], row["why"]) for row in found.ambiguous} == {
        ("", "attach", "several-emails")
    }
    assert (found.result.ambiguous, found.result.exit_code) == (1, 1)
    both = await matched(tmp_path, [wanted_row(0.4), wanted_row(0.6)], fetched)
    assert both.deals == {"a": DEAL, "b": DEAL}


async def test_an_email_wanted_twice_is_listed_once_or_its_rows_are_named(tmp_path: Path) -> None:
    found = await matched(tmp_path, [wanted_row(0.2), wanted_row(0.4)], [fetched_row("a")])
    assert found.deals == {"a": DEAL}
    assert (found.result.matched, found.result.repeated) == (1, 1)
    alike = [wanted_row(0.2, subject="Re: The roof"), wanted_row(0.4), wanted_row(0.4)]
    found = await matched(tmp_path, alike, [fetched_row("a")])
    assert [row["wanted_row"] for row in found.mapping] == ["2"]
    assert found.result.repeated == 2
    warnings = KeepingWarnings()
    two_deals = [wanted_row(), wanted_row(60), wanted_row(deal_id=PRESENT)]
    found = await matched(tmp_path, two_deals, [fetched_row("a")], callbacks=warnings)
    assert not found.mapping
    assert {row["deal_id"] for row in found.ambiguous} == {DEAL, PRESENT}
    assert {row["why"] for row in found.ambiguous} == {"several-deals"}
    assert len(warnings.texts) == 1
    assert "wanted.csv, rows 1 and 3" in warnings.texts[0]


class KeepingWarnings(RunCallbacks):
    """Callbacks that keep warnings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_warning(self, text: str) -> None:
        self.texts.append(text)


async def test_rows_with_ids_that_a_spreadsheet_rewrote_are_left_out_with_their_place(
    tmp_path: Path,
) -> None:
    warnings = KeepingWarnings()
    broken = [
        fetched_row("a", contact_id="5.3E+18"),
        fetched_row("b", 10, owner_id="x"),
        fetched_row("c/d", 20),
        fetched_row("e", 30, from_deal_id="-1"),
        fetched_row("f", 40, from_deal_id="5.4E18"),
    ]
    wanted = [wanted_row(minute) for minute in (0, 10, 20, 30, 40, 50)]
    good = fetched_row("g", 50)
    found = await matched(tmp_path, wanted, [good, *broken], callbacks=warnings)
    assert found.deals == {"g": DEAL}
    assert (found.result.left_out, found.result.exit_code) == (5, 1)
    assert len(warnings.texts) == 1
    assert "fetched.csv, row 2: contact_id is '5.3E+18'" in warnings.texts[0]
    assert "like 4 other rows. A spreadsheet may have rewritten the ids" in warnings.texts[0]
    for row, fault in ((broken[0], "contact_id is '5.3E+18'"), (broken[3], "from_deal_id is '-1'")):
        with pytest.raises(BadFileError, match="No row has valid ids") as error:
            await matched(tmp_path, wanted, [row])
        assert fault in error.value.message
        assert error.value.where.endswith("fetched.csv, row 1")
        assert "use the file that the fetch wrote" in error.value.advice


async def test_an_email_that_the_file_has_twice_is_listed_once_or_not_at_all(
    tmp_path: Path,
) -> None:
    wanted = [wanted_row(), wanted_row(60)]
    twice = [fetched_row("a", from_deal_id=PRESENT), fetched_row("b", 60)] * 2
    found = await matched(tmp_path, wanted, twice)
    assert found.deals == {"a": DEAL, "b": DEAL}
    assert len(found.mapping) == 2
    assert (found.result.contradictory, found.result.exit_code) == (0, 0)
    warnings = KeepingWarnings()
    for other in (PRESENT, DEAL):
        rows = [*twice, fetched_row("b", 60, from_deal_id=other)]
        found = await matched(tmp_path, wanted, rows, callbacks=warnings)
        assert found.deals == {"a": DEAL}
        assert (found.result.contradictory, found.result.exit_code) == (3, 1)
        assert "fetched.csv, rows 2 and 5: one email is on two deals" in warnings.texts.pop()


async def test_of_many_emails_wanted_on_two_deals_the_others_are_counted(tmp_path: Path) -> None:
    warnings = KeepingWarnings()
    wanted = [
        wanted_row(minute, deal_id=deal) for minute in range(0, 70, 10) for deal in (DEAL, PRESENT)
    ]
    fetched = [fetched_row(f"m{minute}", minute) for minute in range(0, 70, 10)]
    await matched(tmp_path, wanted, fetched, callbacks=warnings)
    assert len(warnings.texts) == 6
    assert warnings.texts[-1].endswith(
        "wanted.csv: 2 other emails are wanted on two deals. See the file of ambiguous emails."
    )


async def test_an_email_of_several_contacts_is_listed_for_those_on_the_deal(tmp_path: Path) -> None:
    email = [fetched_row("a"), fetched_row("a", contact_id=COLLEAGUE)]
    nobody = await matched(tmp_path, [wanted_row()], email)
    assert [row["contact_id"] for row in nobody.mapping] == [CONTACT, COLLEAGUE]
    other = fetched_row("b", 60, contact_id=COLLEAGUE, from_deal_id=DEAL, subject="Other")
    found = await matched(tmp_path, [wanted_row()], [*email, other])
    assert [row["contact_id"] for row in found.mapping] == [COLLEAGUE]
    assert found.result.other_contacts == 1
    email[0]["candidates"] = f'[{{"id":"{DEAL}","name":"House"}}]'
    email[1]["candidates"] = "[]"
    found = await matched(tmp_path, [wanted_row()], email)
    assert [row["contact_id"] for row in found.mapping] == [CONTACT]


async def test_copies_in_two_mailboxes_are_both_listed(tmp_path: Path) -> None:
    both = f"{US}; you@our-org.example"
    copies = [
        fetched_row("a", to_addresses=both),
        fetched_row("b", 0.1, owner_id=OTHER_OWNER, to_addresses=both),
    ]
    found = await matched(tmp_path, [wanted_row(to_addresses=both)], copies)
    assert found.deals == {"a": DEAL, "b": DEAL}


async def test_alerts_of_other_moments_are_no_copies(tmp_path: Path) -> None:
    alerts = [fetched_row("a"), fetched_row("b", 1.8, owner_id=OTHER_OWNER)]
    found = await matched(tmp_path, [wanted_row()], alerts)
    assert found.deals == {"a": DEAL}


async def test_a_pair_whose_times_differ_as_no_others_do_is_ambiguous(tmp_path: Path) -> None:
    others = range(10, 130)
    fetched = [fetched_row(f"m{n}", 4 * n, subject=f"Roof {n}") for n in others]
    wanted = [wanted_row(4 * n, subject=f"Roof {n}") for n in others]
    neighbour = fetched_row("neighbour", 1.5, subject="Daily report")
    absent = wanted_row(0, subject="Daily report")
    found = await matched(tmp_path, [*wanted, absent], [*fetched, neighbour])
    assert found.result.matched == len(others)
    (row,) = found.ambiguous
    assert (row["message_id"], row["why"]) == ("neighbour", "unusual-time")
    late = fetched_row("neighbour", 4 / 60, subject="Daily report")
    found = await matched(tmp_path, [*wanted, absent], [*fetched, late])
    assert found.result.matched == len(others) + 1, "a few seconds are no difference"


async def test_missing_emails_have_what_associate_email_wants(tmp_path: Path) -> None:
    wanted = [
        wanted_row(60, cc_addresses=BEN, direction="received"),
        wanted_row(0, from_address="zoe@y.example"),
        wanted_row(0, from_address=""),
        wanted_row(time=""),
        wanted_row(deal_id=""),
    ]
    found = await matched(tmp_path, wanted, [fetched_row("a")])
    reasons = [row["reason"] for row in found.missing]
    assert reasons == ["not-found", "unknown-address", "no-address", "no-time"]
    assert found.result.without_deal == 1
    assert found.missing[0] == {
        "wanted_row": "1",
        "reason": "not-found",
        "from": ANN,
        "to": US,
        "cc": BEN,
        "subject": "The roof",
        "content": "",
        "date_time": clock(60),
        "sent": "false",
        "original_message_id": "",
        "contact_id": "",
        "deal_id": DEAL,
        "deal_name": "",
        "deal_key": "",
    }


async def test_keys_of_deals_come_from_a_table(tmp_path: Path) -> None:
    deals = write_csv(
        tmp_path / "deals.csv",
        [
            {"deal_key": "K-1", "deal_id": DEAL, "deal_name": "House"},
            {"deal_key": "twice", "deal_id": DEAL},
            {"deal_key": "twice", "deal_id": PRESENT},
        ],
    )
    by_key = [wanted_row(deal_id=None, deal_key=key) for key in (" K-1", "K-2")]
    found = await matched(tmp_path, by_key, [fetched_row("a")], deals=deals)
    assert found.deals == {"a": DEAL}
    assert found.mapping[0]["deal_name"] == "House"
    assert [row["reason"] for row in found.missing] == ["unknown-deal"]
    twice = [wanted_row(deal_key="twice")]
    with pytest.raises(BadFileError, match=f"Two deals have the key 'twice': {DEAL} and {PRESENT}"):
        await matched(tmp_path, twice, [fetched_row("a")], deals=deals)
    renamed = [{"Opportunity": "K-1"} | wanted_row(deal_id=None)]
    columns = (("deal_key", "Opportunity"),)
    found = await matched(tmp_path, renamed, [fetched_row("a")], deals=deals, columns=columns)
    assert found.deals == {"a": DEAL}


LISTS_OF_SYSTEMS: dict[str, Row] = {
    "hubspot": {
        "hs_timestamp": "2026-01-02T09:00:00.000Z",
        "hs_email_subject": "The roof",
        "hs_email_direction": "INCOMING_EMAIL",
        "hs_email_from_email": ANN,
        "hs_email_to_email": US,
        "Deal": DEAL,
    },
    "salesforce": {
        "Subject": "The roof",
        "FromAddress": ANN,
        "ToAddress": US,
        "MessageDate": "2026-01-02T09:00:00.000+0000",
        "Deal": DEAL,
    },
    "pipedrive": {
        "subject": "The roof",
        "from": f'[{{"email_address": "{ANN}"}}]',
        "to": f'[{{"email_address": "{US}"}}]',
        "message_time": "2026-01-02 09:00:00",
        "Deal": DEAL,
    },
}


async def test_headers_of_other_systems_are_known(tmp_path: Path) -> None:
    for system, row in LISTS_OF_SYSTEMS.items():
        options: Row = {"from_system": system, "columns": (("deal_id", "Deal"),), "tz": "UTC"}
        found = await matched(tmp_path, [row], [fetched_row("a")], **options)
        assert found.deals == {"a": DEAL}, system


async def test_what_cannot_be_read_is_refused_with_its_place(tmp_path: Path) -> None:
    where, message, advice = await refused(tmp_path, [{"Topic": "x"}])
    assert (where, message) == (str(tmp_path / "wanted.csv"), "There is no column deal_id.")
    assert "The headers are 'Topic'" in advice
    _, message, _ = await refused(tmp_path, [{"deal_id": DEAL, "time": clock(0)}])
    assert message == "There are no columns from_address, to_addresses, subject."
    _, message, advice = await refused(tmp_path, [{"deal_key": "K"}])
    assert "by their keys in the other system" in message
    assert "deals" in advice
    rows = [wanted_row(), *[wanted_row(time="2026-01-02 09:00")] * 3]
    where, message, advice = await refused(tmp_path, rows)
    assert where.endswith("wanted.csv, row 2")
    assert message == "The time '2026-01-02 09:00' has no time zone, like 2 others."
    assert "tz='UTC'" in advice
    for text in ("02/01/2026 9:00", "2026-01-02", "2026-01-02 09:00 PM", "2026-13-02T09:00:00Z"):
        _, message, _ = await refused(tmp_path, [wanted_row(time=text)], tz="UTC")
        assert message == f"The time {text!r} cannot be read."
    rows = [wanted_row(), wanted_row(deal_id="House")]
    where, message, _ = await refused(tmp_path, rows)
    assert where.endswith("row 2")
    assert message == "'House' is not the id of a deal."
    _, message, _ = await refused(tmp_path, [wanted_row(deal_id=None)])
    assert message == "No row names a deal."
    for zone in ("Europe/Berlinn", "+25:00", "-05:75"):
        _, message, _ = await refused(tmp_path, [wanted_row()], tz=zone)
        assert message == f"{zone!r} is not a time zone."
    _, message, _ = await refused(tmp_path, [wanted_row()], columns=(("sender", "x"),))
    assert message == "'sender' is not a known column."
    _, message, _ = await refused(tmp_path, [wanted_row()], columns=(("time", "x"),))
    assert message == "There is no header 'x' for the column time."
    _, message, _ = await refused(tmp_path, [wanted_row()], from_system="sugar")
    assert message == "'sugar' is not a known system."
    _, message, _ = await refused(tmp_path, [wanted_row()], deals="d.csv", deal_key="Key")
    assert "not in both" in message
    _, message, _ = await refused(tmp_path, [wanted_row()], within="2x")
    assert "is not a time" in message


async def test_files_that_are_missing_unfinished_or_read_are_refused(tmp_path: Path) -> None:
    wanted = write_csv(tmp_path / "wanted.csv", [wanted_row()])
    fetched = write_fetched(tmp_path / "fetched.csv", [fetched_row("a")])
    empty = tmp_path / "empty.csv"
    empty.write_text("", "utf-8")
    only_header = tmp_path / "header.csv"
    only_header.write_text(",".join(wanted_row()) + "\n", "utf-8")
    cases = {
        (tmp_path / "none.csv", fetched, "m.csv"): "There is no such file.",
        (empty, fetched, "m.csv"): "The file is empty.",
        (only_header, fetched, "m.csv"): "There are no rows",
        (wanted, wanted, "m.csv"): "`fetch` did not write this file",
        (wanted, fetched, "wanted.csv"): "would replace a file that it reads",
        (wanted, fetched, "-"): "several files",
    }
    for (one, other, output), message in cases.items():
        target = output if output == "-" else tmp_path / output
        with pytest.raises((BadFileError, UsageError), match=message):
            await match(one, other, target, force=True)
    await match(wanted, fetched, tmp_path / "m.csv")
    with pytest.raises(UsageError, match="already exists"):
        await match(wanted, fetched, tmp_path / "m.csv")
    (tmp_path / "m.csv").unlink()
    with pytest.raises(UsageError, match="already exists"):
        await match(wanted, fetched, tmp_path / "m.csv")


async def test_a_broken_row_of_the_list_is_named(tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.csv"
    wanted.write_text(",".join(wanted_row()) + '\n"a"b,c\n', "utf-8")
    fetched = write_fetched(tmp_path / "fetched.csv", [fetched_row("a")])
    with pytest.raises(BadFileError) as error:
        await match(wanted, fetched, tmp_path / "m.csv")
    assert error.value.where == f"{wanted}, line 2"


class Interrupting(RunCallbacks):
    """Callbacks that interrupt a match when it warns, which it does before it writes."""

    def __init__(self, stop: StopController) -> None:
        self._stop = stop

    def on_warning(self, text: str) -> None:
        del text
        self._stop.interrupt()


async def test_a_match_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    contradiction = [wanted_row(), wanted_row(deal_id=PRESENT)]
    for callbacks in (Interrupting, None):
        stop = StopController()
        if callbacks is None:
            stop.interrupt()
        with pytest.raises(InterruptedPlanningError, match="before the mapping was written"):
            await matched(
                tmp_path,
                contradiction,
                [fetched_row("a")],
                stop=stop,
                callbacks=callbacks and callbacks(stop),
            )
        assert names_in(tmp_path) == {"wanted.csv", "fetched.csv"}


def emails() -> st.SearchStrategy[list[Row]]:
    """Emails of two people, close to each other, some equal but for their ids."""
    parts = st.tuples(
        st.sampled_from([ANN, BEN]),
        st.sampled_from(["The roof", "Re: The roof"]),
        st.integers(0, 4),
    )
    return st.lists(parts, min_size=1, max_size=12).map(
        lambda many: [
            fetched_row(f"m{n}", minute, from_address=sender, subject=subject)
            for n, (sender, subject, minute) in enumerate(many)
        ]
    )


def as_wanted(rows: list[Row]) -> Iterator[Row]:
    """Yield a copy of each email, on a deal of its own."""
    for n, row in enumerate(rows):
        names = ("from_address", "to_addresses", "subject", "time")
        yield {name: row[name] for name in names} | {"deal_id": f"{DEAL}{n:02}"}


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(emails(), st.integers(0, 100))
async def test_a_copy_of_the_fetched_emails_is_found_in_any_order(
    tmp_path: Path, rows: list[Row], seed: int
) -> None:
    wanted = list(as_wanted(rows))
    kinds = [(row["from_address"], row["subject"], row["time"]) for row in rows]
    unique = {
        row["message_id"]: copy["deal_id"]
        for row, copy, kind in zip(rows, wanted, kinds, strict=True)
        if kinds.count(kind) == 1
    }
    found = await matched(tmp_path, wanted, rows)
    assert found.deals == unique
    assert len({row["message_id"] for row in found.mapping}) == len(found.mapping)
    rng = random.Random(seed)
    rng.shuffle(wanted)
    rng.shuffle(rows)
    shuffled = await matched(tmp_path, wanted, rows)
    assert shuffled.deals == found.deals
    wider = await matched(tmp_path, wanted, rows, within="10m")
    assert not wider.missing
