"""Export, history, check and forget of an undone run and of its undo."""

from __future__ import annotations

import csv

from tests.e2e.audit import audit_run
from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.servers import StandIn
from tests.e2e.world import Contact, World

QUICK = ("--settle-after", "0", "--rate", "off", "--json")


def export_run(crm: Command, run: str) -> list[dict[str, str]]:
    assert crm("export", run, "-o", f"{run}.csv").code == 0
    with (crm.folder / f"{run}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_a_forgotten_run_can_be_undone_and_its_undo_exported(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    crm = bulklink.with_env(**standin.env())
    contact = world.add(free=2, linked=4)
    before = world.links()
    given = [*rows(contact.linked, contact.b), *rows(contact.free, contact.b)]
    write_mapping(crm.folder / "m.csv", given)
    audit_run(crm("relink", "m.csv", "--run-dir", "here", *QUICK), crm.folder, 6)
    assert crm("forget", "here").code == 0
    audit_run(crm("undo", "here", "--run-dir", "back", *QUICK), crm.folder, 6)
    assert standin.links() == before
    for run in ("here", "back"):
        assert crm("status", run, "--check").code == 0, run
        assert [one["bulklink_status"] for one in export_run(crm, run)] == ["done"] * 6
    events = crm("history", contact.linked[0].message, "--runs-dir", ".", "--json").object["events"]
    undos = {event["run_dir"]: event.get("undo_of") for event in events}
    assert undos["here"] is None
    assert undos["back"].endswith("here")
    assert "(undo of " in crm("history", contact.linked[0].message, "--runs-dir", ".").out
    assert crm("forget", "back").code == 0
    assert crm("status", "back", "--check").code == 0


def test_the_export_of_an_undo_includes_rows_that_were_not_undone(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    crm = bulklink.with_env(**standin.env())
    contact = world.add(free=3, linked=2)
    write_mapping(crm.folder / "m.csv", rows(contact.free, contact.b))
    audit_run(crm("link", "m.csv", "--run-dir", "first", *QUICK), crm.folder, 3)
    write_mapping(crm.folder / "m.csv", rows(contact.linked))
    audit_run(crm("unlink", "m.csv", "--no-snapshot", "--run-dir", "blind", *QUICK), crm.folder, 2)
    ended = crm("undo", "blind", "--run-dir", "none", *QUICK)
    assert audit_run(ended, crm.folder).counts == {"rejected": 2}
    found = export_run(crm, "none")
    assert [one["bulklink_status"] for one in found] == ["rejected"] * 2
    assert {one["message_id"] for one in found} == {email.message for email in contact.linked}
    assert crm("status", "none", "--check").code == 0


def test_an_undo_that_can_undo_nothing_has_nothing_to_send(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    crm = bulklink.with_env(**standin.env())
    contact = world.add(linked=2)
    write_mapping(crm.folder / "m.csv", rows(contact.linked))
    audit_run(crm("unlink", "m.csv", "--no-snapshot", "--run-dir", "blind", *QUICK), crm.folder, 2)
    crm("undo", "blind", "--dry-run", "--run-dir", "none")
    for command in ("apply", "resume", "retry"):
        refused = crm(command, "none", "--json").error
        assert refused["message"].startswith("Of this undo nothing is to be sent")
        assert "bulklink status none" in refused["advice"]


def link_and_undo(crm: Command, world: World) -> Contact:
    """Link three emails of a contact in `here`, undo that in `back`, and return the contact."""
    contact = world.add(free=3, linked=1)
    write_mapping(crm.folder / "m.csv", rows(contact.free, contact.b))
    audit_run(crm("link", "m.csv", "--run-dir", "here", *QUICK), crm.folder, 3)
    audit_run(crm("undo", "here", "--run-dir", "back", *QUICK), crm.folder, 3)
    return contact


def test_an_undone_run_names_its_undo_in_every_output(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    crm = bulklink.with_env(**standin.env())
    contact = link_and_undo(crm, world)
    back = str(crm.folder / "back")
    status = crm("status", "here", "--json").object
    assert status["undone"] is True
    assert [undo["run_dir"] for undo in status["undone_by"]] == [back]
    shown = crm("status", "here").out
    assert f"Undone by {back}" in " ".join(shown.split())
    assert "bulklink undo" not in shown
    assert f"bulklink verify {back}" in shown
    assert crm("status", "back").out.startswith("undo: finished")
    assert "undo  finished" in crm("status", "--runs-dir", ".").out
    assert "link  finished  undone" in crm("status", "--runs-dir", ".").out
    history = crm("history", contact.free[0].message, "--runs-dir", ".").out
    assert f"(undone by {back})" in history
    verified = crm("verify", "here", "--settle-after", "0")
    assert verified.code == 1
    assert f"bulklink verify {back}" in " ".join(verified.err.split())
    assert crm("verify", "back", "--settle-after", "0").code == 0
    assert crm("report", "here", "-o", "here.html").code == 0
    assert "in whole, by " in (crm.folder / "here.html").read_text(encoding="utf-8")


def test_undoing_an_undo_restores_the_first_run(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    crm = bulklink.with_env(**standin.env())
    link_and_undo(crm, world)
    audit_run(crm("undo", "back", "--run-dir", "again", *QUICK), crm.folder, 3)
    assert crm("status", "back", "--json").object["undone"] is True
    assert crm("status", "here", "--json").object["undone"] is False
    assert "bulklink undo here" in crm("status", "here").out
    assert crm("verify", "here", "--settle-after", "0", "--json").object["different"] == 0


def test_an_undo_of_a_moved_run_succeeds_with_a_warning(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    crm = bulklink.with_env(**standin.env())
    contact = world.add(free=2)
    write_mapping(crm.folder / "m.csv", rows(contact.free, contact.b))
    audit_run(crm("link", "m.csv", "--run-dir", "here", *QUICK), crm.folder, 2)
    assert crm("undo", "here", "--dry-run", "--run-dir", "back").code == 0
    (crm.folder / "here").rename(crm.folder / "there")
    ended = crm("apply", "back", *QUICK)
    assert ended.code == 0
    assert "cannot record there that this run was undone" in " ".join(ended.err.split())
    assert crm("status", "there", "--json").object["undone"] is False
