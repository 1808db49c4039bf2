"""A sample of an audit: its draw, its table, and what the verdicts in it change."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bulklink.errors import BadFileError, RunDirError, UsageError
from bulklink.finding.sample_check import SampleCheck
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.mapping.audit_proposals import DrawnProposal, open_proposals
from bulklink.mapping.verdict_table import open_verdict_table
from bulklink.operations.auditing.check_table import CHECK_COLUMNS
from bulklink.operations.auditing.files import NOTES_KEY, find_verdicts, review_path
from bulklink.operations.auditing.sample import AuditCheck, open_audit
from bulklink.operations.check_audit import check_audit
from bulklink.operations.sample_audit import sample_audit
from bulklink.spreadsheet_grid import column_letters
from bulklink.tables import TableColumn, TableFormat, write_table
from bulklink.tables.formats import FileType
from tests.mapping.input.workbook import Book, Tab
from tests.operations.auditing.audited import (
    CRANES,
    MIXED,
    NOTES,
    PUMPS,
    Groups,
    answer,
    read_ops,
    read_rows,
    read_tiers,
    write_audit,
    write_rows,
)

SURE_MOVE = (Tier.SURE, ChangeKind.MOVE)
SURE_ATTACH = (Tier.SURE, ChangeKind.ATTACH)
LIKELY_MOVE = (Tier.LIKELY, ChangeKind.MOVE)
SMALL: Groups = {SURE_ATTACH: 30, SURE_MOVE: 20, LIKELY_MOVE: 12, (Tier.LOOK, ChangeKind.MOVE): 6}
FULL = Path("/dev/full")
Row = dict[str, str]


def draw(mapping: Path, size: int) -> list[DrawnProposal]:
    with open_proposals(mapping.with_name("m.audit.parquet")) as proposals:
        return list(proposals.draw(dict.fromkeys(Tier, size)))


def keys(drawn: list[DrawnProposal]) -> list[tuple[Any, ...]]:
    return [(one.tier, one.number, one.contact_id, one.message_id) for one in drawn]


def sample(mapping: Path, emails: int = 1000, **options: Any) -> Path:
    """Draw a sample; return its table."""
    return Path(sample_audit(mapping, emails, **options).files["check"])


def moves_are_wrong(row: Row) -> str:
    return "wrong" if row["kind"] == "move" and row["tier"] == "sure" else "right"


def by_group(result: AuditCheck) -> dict[tuple[Tier, ChangeKind], SampleCheck]:
    return {(one.tier, one.kind): one for one in result.check}


def test_all_of_a_tier_is_drawn_in_one_order_of_which_each_sample_is_the_start(
    tmp_path: Path,
) -> None:
    mapping = write_audit(tmp_path, SMALL)
    everything = keys(draw(mapping, 1000))
    assert Counter(tier for tier, *_ in everything) == {"sure": 50, "likely": 12, "look": 6}
    assert len({message for *_, message in everything}) == len(everything)
    for tier in Tier:
        numbers = [number for name, number, *_ in everything if name == tier]
        assert numbers == list(range(1, len(numbers) + 1))
    for size in (1, 5, 12, 49):
        assert keys(draw(mapping, size)) == [row for row in everything if row[1] <= size]


def test_the_order_depends_on_the_proposals_and_not_on_their_rows_or_tiers(
    tmp_path: Path,
) -> None:
    group = {SURE_MOVE: 40}
    first, as_likely, one_more = (
        [message for *_, message in keys(draw(write_audit(tmp_path, groups), 1000))]
        for groups in (group, {LIKELY_MOVE: 40}, {SURE_MOVE: 41})
    )
    assert first == as_likely != sorted(first)
    reordered = draw(write_audit(tmp_path, group, last_first=True), 1000)
    assert [one.message_id for one in reordered] == first
    assert [message for message in one_more if message in first] != first


def test_each_proposal_of_a_tier_is_as_likely_to_be_drawn_first(tmp_path: Path) -> None:
    """Over audits of different sizes, the first email is in each half of the rows equally often."""
    firsts = [
        keys(draw(write_audit(tmp_path, {SURE_MOVE: size}), 1))[0][3] < f"{size // 2:04}"
        for size in range(10, 74, 2)
    ]
    assert 8 <= sum(firsts) <= 24


def test_a_table_has_what_is_needed_to_judge_an_email(tmp_path: Path) -> None:
    rows = read_rows(sample(write_audit(tmp_path, {SURE_MOVE: 3}), 2))
    assert list(rows[0])[:-1] == [column.header for column in CHECK_COLUMNS]
    assert [row["number"] for row in rows] == ["1", "2"]
    assert rows[0]["audit"].startswith("audit-")
    assert rows[0]["subject"].startswith("'=Cranes"), "a spreadsheet runs no subject"
    assert rows[0]["deal_id"] == f'="{CRANES.id}"', "a spreadsheet rounds no id"
    assert {
        name: rows[0][name] for name in ("deal_name", "from_deal_name", "reasons", "verdict")
    } == {
        "deal_name": "Harbour Cranes",
        "from_deal_name": "Bilge Pumps",
        "reasons": "its name is in the subject",
        "verdict": "",
    }
    assert rows[0]["runner_up_deal_name"] == PUMPS.name


def test_the_table_of_a_workbook_is_a_workbook(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, {SURE_MOVE: 3}, "m.xlsx")
    table = sample(mapping, 2)
    assert table.name == "m.check.xlsx"
    assert by_group(check_audit(mapping, table))[SURE_MOVE].drawn == 2


def test_a_sample_needs_an_audit_and_an_email(tmp_path: Path) -> None:
    for mapping in (tmp_path / "m.csv", Path(), Path("/")):
        with pytest.raises(UsageError, match="audit writes it"):
            sample_audit(mapping, 1)
    with pytest.raises(UsageError, match="1 or more"):
        sample_audit(write_audit(tmp_path, {SURE_MOVE: 3}), 0)


def test_a_sample_needs_the_mapping(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    table = answer(sample(mapping), moves_are_wrong)
    check_audit(mapping, table)
    mapping.unlink()
    for work in (partial(sample_audit, mapping, 1), partial(check_audit, mapping, table)):
        with pytest.raises(UsageError, match="no such mapping") as caught:
            work()
        assert caught.value.where == str(mapping)


@pytest.mark.skipif(not FULL.is_char_device(), reason="there is no /dev/full: no disk is full")
def test_a_disk_without_space_for_the_audit_file_is_named(tmp_path: Path) -> None:
    with (
        open_audit(write_audit(tmp_path, SMALL)) as proposals,
        pytest.raises(RunDirError, match="ran out") as caught,
    ):
        proposals.write_demoted(FULL, {("sure", "move"): "look"})
    assert caught.value.where == str(FULL.parent)


def test_an_audit_without_proposals_has_nothing_to_check(tmp_path: Path) -> None:
    result = sample_audit(write_audit(tmp_path, {}), 5)
    assert (result.check, result.exit_code) == ((), 0)


def test_a_larger_sample_keeps_verdicts_and_the_users_own_columns(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    table = answer(sample(mapping, 5), lambda row: "No" if row["number"] == "2" else "y")
    write_rows(table, [row | {"note": f"note {row['number']}"} for row in read_rows(table)])
    result = sample_audit(mapping, 20)
    assert [(one.drawn, one.checked) for one in result.check] != []
    rows = [row for row in read_rows(table) if row["tier"] == "sure"]
    assert [row["verdict"] for row in rows] == ["right", "wrong", *["right"] * 3, *[""] * 15]
    assert [row["note"] for row in rows] == [*(f"note {n}" for n in range(1, 6)), *[""] * 15]


def test_a_smaller_sample_loses_no_verdict(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    assert len(read_rows(sample(mapping, 5))) == 15
    answer(sample(mapping, 20), lambda row: "right" if int(row["number"]) < 4 else "")
    assert len(read_rows(sample(mapping, 1))) == 9
    rows = read_rows(sample(mapping, 2))
    assert [row["verdict"] for row in rows] == ["right"] * 9
    write_rows(tmp_path / "m.check.csv", [row | {"verdict": "", "note": "mine"} for row in rows])
    assert [row["note"] for row in read_rows(sample(mapping, 1))] == ["mine"] * 9


def test_verdicts_in_another_file_are_taken_over(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    other = answer(sample(mapping, 5), moves_are_wrong).rename(tmp_path / "mine.csv")
    assert by_group(sample_audit(mapping, 8, verdicts=other))[SURE_ATTACH].right > 0
    contradiction = answer(tmp_path / "mine.csv", lambda _: "unsure")
    with pytest.raises(BadFileError, match="on the same email"):
        sample_audit(mapping, 8, verdicts=contradiction)


def test_verdicts_on_another_audit_are_dropped_only_on_request(tmp_path: Path) -> None:
    table = answer(sample(write_audit(tmp_path, SMALL), 5), moves_are_wrong)
    mapping = write_audit(tmp_path, {SURE_MOVE: 9})
    before = table.read_bytes()
    with pytest.raises(BadFileError, match="another audit") as caught:
        sample_audit(mapping, 5)
    assert "force=True" in caught.value.advice
    assert table.read_bytes() == before
    assert by_group(sample_audit(mapping, 5, force=True))[SURE_MOVE].checked == 0


def set_cell(column: str, value: str, number: str = "2") -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [
        row | {column: value} if (row["tier"], row["number"]) == ("sure", number) else row
        for row in rows
    ]


def shift_verdict_ids(rows: list[Row]) -> list[Row]:
    """Sort one column without the others."""
    messages = sorted(row["message_id"] for row in rows)
    return [row | {"message_id": message} for row, message in zip(rows, messages, strict=True)]


@pytest.mark.parametrize(
    ("change", "message", "place"),
    [
        (set_cell("audit", "audit-0123456789abcdef"), "another audit", "line 3"),
        (set_cell("verdict", "perhaps"), "The verdict is 'perhaps'", "line 3"),
        (set_cell("number", "two"), "The number is 'two'", "line 3"),
        (set_cell("number", "51"), "number 51 of the tier sure do not belong", "line 3"),
        (set_cell("number", "0"), "number 0 of the tier sure do not belong", "line 3"),
        (set_cell("number", "9" * 30), "The number is", "line 3"),
        (set_cell("number", "3"), "number 3 of the tier sure do not belong", "line 3"),
        (set_cell("tier", "certain"), "The tier is 'certain'", "line 3"),
        (set_cell("message_id", "8937"), "number 2 of the tier sure do not belong", "line 3"),
        (set_cell("contact_id", ""), "number 2 of the tier sure do not belong", "line 3"),
        (set_cell("owner_id", "4.8E+18"), "number 2 of the tier sure do not belong", "line 3"),
        (shift_verdict_ids, "do not belong together", "line"),
        (
            lambda rows: [*rows, rows[0] | {"verdict": "unsure"}],
            "The verdict is unsure, but right on the same email in",
            "line 52",
        ),
        (
            lambda rows: [{k: v for k, v in row.items() if k != "verdict"} for row in rows],
            "There is no column verdict",
            "t.csv",
        ),
    ],
)
def test_a_row_that_cannot_be_right_is_named(
    tmp_path: Path, change: Callable[[list[Row]], list[Row]], message: str, place: str
) -> None:
    mapping = write_audit(tmp_path, {SURE_MOVE: 50})
    rows = read_rows(answer(sample(mapping), lambda _: "right"))
    write_rows(tmp_path / "t.csv", change(rows))
    before = mapping.read_bytes()
    with pytest.raises(BadFileError, match=message) as caught:
        check_audit(mapping, tmp_path / "t.csv")
    assert place in caught.value.where
    assert caught.value.advice
    assert mapping.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty"),
        (b"message_id\n1\n", "There is no column audit"),
        (b'audit,number,tier,contact_id,owner_id,message_id,verdict\n"x', "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_of_verdicts_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    mapping = write_audit(tmp_path, SMALL)
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadFileError, match=message):
        check_audit(mapping, tmp_path / "t.csv")
    with pytest.raises(BadFileError, match="no such file"):
        check_audit(mapping, tmp_path / "missing.csv")


def test_a_file_of_verdicts_that_no_audit_wrote_is_refused(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    with write_table(
        tmp_path / "m.audit.parquet", TableFormat(FileType.PARQUET), [TableColumn("contact_id")]
    ):
        pass
    with pytest.raises(BadFileError, match="not an audit file"):
        sample_audit(mapping, 1)


ROUNDED = {
    "exponent": lambda ident: f"{float(ident):.2E}",
    "comma": lambda ident: f"{float(ident):.4E}".replace(".", ","),
    "fifteen digits": lambda ident: ident[:15] + "0" * (len(ident) - 15),
    "apostrophe": lambda ident: f"'{ident}",
    "formula": lambda ident: f'="{ident}"',
}


@pytest.mark.parametrize("rounded", ROUNDED.values(), ids=ROUNDED)
def test_ids_that_a_spreadsheet_rounded_still_name_the_email_of_their_number(
    tmp_path: Path, rounded: Callable[[str], str]
) -> None:
    mapping = write_audit(tmp_path, {SURE_MOVE: 5})
    rows = read_rows(sample(mapping))
    for row in rows:
        del row["bulklink_disarmed"]
        for name in ("contact_id", "owner_id"):
            row[name] = rounded(row[name].strip('="'))
        row["message_id"] = row["message_id"].strip('="')
        row["number"] += ".0"
        row["verdict"] = " RIGHT "
    result = check_audit(mapping, write_rows(tmp_path / "t.csv", rows))
    assert by_group(result)[SURE_MOVE].right == 5


def test_without_a_verdict_nothing_is_known_and_nothing_changes(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    result = check_audit(mapping, sample(mapping, 5))
    assert {one.checked for one in result.check} == {0}
    assert {one.at_least for one in result.check} == {0}
    assert (result.demoted, list(result.files)) == (0, ["check", "review"])


FORMATS = [
    *((name, False) for name in ("m.csv", "m.csv.gz", "m.jsonl", "m.jsonl.gz", "m.parquet")),
    ("m.xlsx", False),
    ("m.csv", True),
]


@pytest.mark.parametrize(("name", "spreadsheet"), FORMATS)
def test_a_tier_that_breaks_its_promise_is_demoted_in_all_files(
    tmp_path: Path, name: str, spreadsheet: bool
) -> None:
    mapping = write_audit(tmp_path, SMALL, name, spreadsheet=spreadsheet)
    table = answer(
        sample(write_audit(tmp_path, SMALL, "m.csv") if name == "m.xlsx" else mapping),
        moves_are_wrong,
    )
    before = read_ops(mapping)
    result = check_audit(mapping, table)
    assert by_group(result)[SURE_MOVE].becomes is Tier.LOOK
    assert result.demoted == SMALL[SURE_MOVE]
    assert result.proposed["sure"] == {"attach": 30, "move": 0, "detach": 0}
    assert result.proposed["look"]["move"] == 26
    after = read_ops(mapping)
    assert after["move", "look", None] == 26
    assert after - before == Counter({("move", "look", None): 20})
    assert read_tiers(mapping)["move", "sure", "look"] == 20
    written = mapping.read_bytes()
    again = check_audit(mapping, table)
    assert (again.demoted, again.check, again.proposed) == (0, result.check, result.proposed)
    assert mapping.read_bytes() == written


def test_the_review_page_says_what_a_sample_proves_and_has_the_tiers_of_a_demotion(
    tmp_path: Path,
) -> None:
    mapping = write_audit(tmp_path, SMALL)
    page = review_path(mapping)
    table = answer(sample(mapping), moves_are_wrong)
    assert "would prove the promise of 99.5%" in page.read_text("utf-8")
    check_audit(mapping, table)
    text = page.read_text("utf-8")
    assert "20 of 20 checked, 20 wrong" in text
    with open_verdict_table(find_verdicts(mapping)) as verdicts:
        assert verdicts.metadata(NOTES_KEY) == NOTES.decode()
        assert verdicts.counts().proposed["look", "move"] == 26


def test_a_demoted_csv_differs_only_in_the_cells_of_the_tier(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL, spreadsheet=True)
    before = read_rows(mapping)
    check_audit(mapping, answer(sample(mapping), moves_are_wrong))
    expected = [
        row | {"tier": "look", "op": ""} if (row["tier"], row["kind"]) == ("sure", "move") else row
        for row in before
    ]
    assert read_rows(mapping) == expected


def test_what_the_user_wrote_into_the_mapping_is_kept(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    table = answer(sample(mapping), moves_are_wrong)
    rows = read_rows(mapping)
    sure, look = (
        [row for row in rows if (row["tier"], row["kind"]) == (tier, "move")]
        for tier in ("sure", "look")
    )
    sure[0]["accept"] = "yes"
    sure[1]["op"] = "unlink"
    sure[2]["tier"] = "mine"
    look[0] |= {"op": "relink", "accept": "yes"}
    rows = [row | {"note": f"é, {number}\n"} for number, row in enumerate(rows)]
    write_rows(mapping, rows)
    check_audit(mapping, table)
    after = {row["message_id"]: row for row in read_rows(mapping)}
    assert [row["note"] for row in after.values()] == [row["note"] for row in rows]
    kept = [after[row["message_id"]] for row in (*sure[:4], look[0])]
    assert [(row["tier"], row["op"], row["accept"]) for row in kept] == [
        ("look", "relink", "yes"),
        ("look", "unlink", ""),
        ("mine", "relink", ""),
        ("look", "", ""),
        ("look", "relink", "yes"),
    ]


def test_rows_that_are_gone_or_of_other_kinds_do_not_matter(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    table = answer(sample(mapping), moves_are_wrong)
    rows = [row for row in read_rows(mapping) if row["tier"] != "likely"]
    rows = [row for row in rows if not row["message_id"].startswith("000")]
    write_rows(mapping, [*rows, rows[0] | {"message_id": "x", "tier": "look", "op": "link"}])
    left = Counter((row["tier"], row["kind"]) for row in rows)["sure", "move"]
    result = check_audit(mapping, table)
    assert (result.demoted, result.demoted_rows) == (20, left)
    assert 0 < left < 20
    assert read_rows(mapping)[-1]["op"] == "link"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contact_id": "5.84E+18"}, "names no email of the audit"),
        ({"message_id": "other"}, "names no email of the audit"),
    ],
)
def test_a_mapping_that_cannot_be_written_again_is_left_alone(
    tmp_path: Path, change: Row, message: str
) -> None:
    mapping = write_audit(tmp_path, SMALL)
    table = answer(sample(mapping), moves_are_wrong)
    rows = read_rows(mapping)
    place = next(n for n, row in enumerate(rows) if (row["tier"], row["kind"]) == ("sure", "move"))
    rows[place] |= change
    write_rows(mapping, rows)
    before = mapping.read_bytes(), read_tiers(mapping)
    with pytest.raises(BadFileError, match=message) as caught:
        check_audit(mapping, table)
    assert f"line {place + 2}" in caught.value.where
    assert (mapping.read_bytes(), read_tiers(mapping)) == before


@pytest.mark.parametrize("column", ["op", "tier", "message_id"])
def test_a_mapping_without_a_column_that_is_needed_is_left_alone(
    tmp_path: Path, column: str
) -> None:
    mapping = write_audit(tmp_path, SMALL)
    table = answer(sample(mapping), moves_are_wrong)
    write_rows(
        mapping, [{k: v for k, v in row.items() if k != column} for row in read_rows(mapping)]
    )
    with pytest.raises(BadFileError, match=f"no column {column}"):
        check_audit(mapping, table)
    assert read_tiers(mapping)["move", "sure", "sure"] == 20


def test_a_demotion_that_was_cut_off_after_the_mapping_is_completed(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    table = answer(sample(mapping), moves_are_wrong)
    verdicts = mapping.with_name("m.audit.parquet").read_bytes()
    check_audit(mapping, table)
    demoted = mapping.read_bytes()
    mapping.with_name("m.audit.parquet").write_bytes(verdicts)
    check_audit(mapping, table)
    assert mapping.read_bytes() == demoted
    assert read_tiers(mapping)["move", "sure", "look"] == 20


def first_are_wrong(count: int) -> Callable[[Row], str]:
    return lambda row: "wrong" if row["tier"] == "sure" and int(row["number"]) <= count else "right"


def test_a_second_check_demotes_further_and_raises_nothing(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, {SURE_MOVE: 400, LIKELY_MOVE: 12})
    table = sample(mapping, 100)
    ops = []
    for wrong in (4, 40, 4, 0):
        check_audit(mapping, answer(table, first_are_wrong(wrong)))
        ops.append(read_ops(mapping))
    assert ops[0] == {("move", "likely", "relink"): 412}
    assert ops[1] == {("move", "look", None): 400, ("move", "likely", "relink"): 12}
    assert ops[1] == ops[2] == ops[3]


def test_a_compressed_mapping_stays_compressed(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL, "m.csv.gz")
    check_audit(mapping, answer(sample(mapping), moves_are_wrong))
    assert b"contact_id" in gzip.decompress(mapping.read_bytes())


def test_detachments_keep_the_promise_of_their_tier(tmp_path: Path) -> None:
    group = (Tier.SURE, ChangeKind.DETACH)
    mapping = write_audit(tmp_path, {group: 40})
    result = check_audit(mapping, answer(sample(mapping), lambda row: "n"))
    assert by_group(result)[group].becomes is Tier.LOOK
    assert read_ops(mapping) == {("detach", "look", None): 40}


def test_the_draw_of_many_groups_counts_each(tmp_path: Path) -> None:
    result = sample_audit(write_audit(tmp_path), 50)
    assert {group: one.proposed for group, one in by_group(result).items()} == MIXED
    assert Counter(one.tier for one in result.check for _ in range(one.drawn)) == {
        Tier.SURE: 50,
        Tier.LIKELY: 50,
        Tier.LOOK: 20,
    }


def as_workbook(rows: list[Row], **settings: Any) -> Tab:
    return Tab(rows=[list(rows[0]), *(list(row.values()) for row in rows)], **settings)


def test_verdicts_in_a_workbook_are_read_with_their_hidden_rows(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    rows = read_rows(answer(sample(mapping), lambda _: "right"))
    hidden = dict.fromkeys(range(3, 20), 'hidden="1"')
    tab = as_workbook(rows, row_attributes=hidden)
    (tmp_path / "t.xlsx").write_bytes(Book(tabs=[tab]).content())
    result = check_audit(mapping, tmp_path / "t.xlsx")
    assert {group: one.right for group, one in by_group(result).items()} == SMALL


def test_a_verdict_that_is_merged_with_others_is_named(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    rows = read_rows(answer(sample(mapping), lambda _: "right"))
    column = column_letters(list(rows[0]).index("verdict"))
    tab = as_workbook(rows, merged=[f"{column}2:{column}5"])
    (tmp_path / "t.xlsx").write_bytes(Book(tabs=[tab]).content())
    with pytest.raises(BadFileError, match="merged with another cell") as caught:
        check_audit(mapping, tmp_path / "t.xlsx")
    assert "row 3" in caught.value.where


def test_a_mapping_with_other_sheets_is_not_written_again(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, SMALL)
    table = answer(sample(mapping), moves_are_wrong)
    tabs = [as_workbook(read_rows(mapping)), Tab(name="Notes", rows=[["mine"]])]
    workbook = mapping.rename(tmp_path / "m.xlsx")
    workbook.write_bytes(Book(tabs=tabs).content())
    before = workbook.read_bytes()
    with pytest.raises(BadFileError, match="other sheets"):
        check_audit(workbook, table)
    assert (workbook.read_bytes(), read_tiers(workbook)["move", "sure", "sure"]) == (before, 20)


def test_the_number_to_draw_has_just_enough_emails_of_a_kind(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path)
    for group, one in by_group(sample_audit(mapping, 5)).items():
        if one.needed is None:
            assert one.to_draw is None
            continue
        assert one.to_draw is not None
        enough, too_few = (
            by_group(sample_audit(mapping, emails))[group].drawn
            for emails in (one.to_draw, one.to_draw - 1)
        )
        assert (enough, too_few) == (one.needed, one.needed - 1)


def test_verdicts_are_read_in_the_encoding_of_a_spreadsheet(tmp_path: Path) -> None:
    mapping = write_audit(tmp_path, {SURE_MOVE: 3}, subject="Angebot für Müller")
    table = sample(mapping)
    answer(table, lambda _: "right")
    table.write_bytes(table.read_bytes().decode("utf-8-sig").encode("cp1252"))
    with pytest.raises(BadFileError, match="not UTF-8"):
        check_audit(mapping, table)
    assert by_group(check_audit(mapping, table, encoding="cp1252"))[SURE_MOVE].right == 3
    again = sample_audit(mapping, 3, encoding="cp1252")
    assert by_group(again)[SURE_MOVE].right == 3
