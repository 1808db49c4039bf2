"""The server receives only documented requests, and no more than needed."""

from __future__ import annotations

import csv
from collections import Counter
from math import ceil

from tests.e2e.audit import assert_crm_matches, audit_run
from tests.e2e.command import Command, free_rows, row, rows, write_mapping
from tests.e2e.servers import SECRET, TOKEN, ReceivedRequest, Reply, StandIn, error
from tests.e2e.world import JACOB, MODULE, PAT, UNKNOWN_ID, USERS, World


def test_a_link_call_equals_the_documented_sample(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2)
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    run = audit_run(
        bulklink.with_env(**standin.env())("link", mapping, "--json"), bulklink.folder, 2
    )
    (call,) = standin.requests_of("link")
    assert call.path == f"/crm/v8/Contacts/{contact.id}/Emails/actions/link_record"
    assert call.headers["Authorization"] == f"Zoho-oauthtoken {TOKEN}"
    assert call.query_string == ""
    expected = [
        {
            "owner": {"name": USERS[PAT], "id": PAT},
            "message_id": email.message,
            "linked_record": {
                "module": {"api_name": "Deals", "id": MODULE},
                "name": world.deal_names()[contact.a],
                "id": contact.a,
            },
        }
        for email in contact.free
    ]
    assert set(call.body) == {"Emails"}
    assert sorted(call.body["Emails"], key=str) == sorted(expected, key=str)
    assert run.calls["lookup"] == len(standin.requests_of("org", "module", "deals", "users"))


def test_secrets_for_a_token_go_in_the_body_and_not_in_the_address(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    assert command("link", mapping).code == 0
    assert command("unlink", mapping).code == 0
    (token,) = standin.requests_of("token")
    assert token.query_string == ""
    assert f"client_secret={SECRET}" in token.body
    assert "grant_type=refresh_token" in token.body
    (unlink,) = standin.requests_of("unlink")
    assert unlink.path == f"/crm/v8/Contacts/{contact.id}/Emails/actions/link_record"
    assert unlink.query == {"owner_id": PAT, "message_ids": contact.free[0].message}


def test_link_calls_are_the_fewest_for_every_size_of_a_group(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    sizes = [1, 19, 20, 21, 40, 41]
    many = [world.add(free=size) for size in sizes]
    many.append(world.add(free=21, other_owner=21))
    given = [line for one in many for line in rows(one.emails, one.a)]
    given = given[::2] + given[1::2]
    ended = bulklink.with_env(**standin.env())(
        "link", write_mapping(bulklink.folder / "m.csv", given), "--json"
    )
    run = audit_run(ended, bulklink.folder, len(given))
    calls = Counter(call.contact for call in standin.requests_of("link"))
    expected = {one.id: ceil(size / 20) for one, size in zip(many, sizes, strict=False)}
    assert calls == {**expected, many[-1].id: 4}
    assert all(len(call.messages) <= 20 for call in standin.requests_of("link"))
    for call in standin.requests_of("link"):
        assert len({one["owner"]["id"] for one in call.body["Emails"]}) == 1
    assert run.calls["link"] == run.calls["least"] == calls.total()
    assert_crm_matches(run, world.links(), standin.links())


def test_unlink_calls_are_the_fewest_within_20_emails_and_2000_characters(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    needed = {64: (41, 3), 99: (20, 1), 100: (20, 2), 200: (20, 3), 500: (7, 3)}
    many = {length: world.add(linked=n, length=length) for length, (n, _) in needed.items()}
    given = [line for one in many.values() for line in rows(one.linked)]
    ended = bulklink.with_env(**standin.env())(
        "unlink", write_mapping(bulklink.folder / "m.csv", given), "--json"
    )
    run = audit_run(ended, bulklink.folder, len(given))
    for call in standin.requests_of("unlink"):
        assert len(call.query["message_ids"]) <= 2000
        assert len(call.messages) <= 20
    calls = Counter(call.contact for call in standin.requests_of("unlink"))
    assert calls == {many[length].id: calls for length, (_, calls) in needed.items()}
    assert run.calls["unlink"] == run.calls["least"] == calls.total()
    assert_crm_matches(run, world.links(), standin.links())


def test_unlinks_are_grouped_by_owner(bulklink: Command, standin: StandIn, world: World) -> None:
    contact = world.add(linked=3, other_owner=2)
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.emails))
    result = bulklink.with_env(**standin.env())("unlink", mapping, "--no-snapshot", "--json")
    audit_run(result, bulklink.folder, 5)
    assert Counter(
        (call.query["owner_id"], len(call.messages)) for call in standin.requests_of("unlink")
    ) == {(PAT, 3): 1, (JACOB, 2): 1}


def test_emails_of_several_deals_share_a_link_call(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=20)
    given = [*rows(contact.free[:10], contact.a), *rows(contact.free[10:], contact.b)]
    ended = bulklink.with_env(**standin.env())(
        "link", write_mapping(bulklink.folder / "m.csv", given), "--json"
    )
    run = audit_run(ended, bulklink.folder, 20)
    assert len(standin.requests_of("link")) == run.calls["least"] == 1
    assert_crm_matches(run, world.links(), standin.links())


def test_relink_batches_its_halves_separately_and_unlinks_first(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=15, linked=25)
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.emails, contact.b))
    ended = bulklink.with_env(**standin.env())("relink", mapping, "--json")
    run = audit_run(ended, bulklink.folder, 40)
    assert len(standin.requests_of("unlink")) == 2
    assert len(standin.requests_of("link")) == 2
    taken_off: set[str] = {email.message for email in contact.free}
    for call in standin.requests_of("unlink", "link"):
        if call.kind == "unlink":
            taken_off |= set(call.messages)
        else:
            assert set(call.messages) <= taken_off
    assert_crm_matches(run, world.links(), standin.links())


def test_batch_size_limits_the_emails_of_a_call(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=11)
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    ended = bulklink.with_env(**standin.env())("link", mapping, "--json", "--batch-size", "5")
    run = audit_run(ended, bulklink.folder, 11)
    assert sorted(len(call.messages) for call in standin.requests_of("link")) == [1, 5, 5]
    assert (run.calls["link"], run.calls["least"]) == (3, 1)


def test_both_documented_answers_of_the_single_endpoint_count_as_linked(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    echoed, succeeded, two = world.add(free=1), world.add(free=1), world.add(free=2)
    given = free_rows((echoed, succeeded, two))

    async def echo(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == "link-one" and seen.contact == echoed.id:
            standin.deals[seen.messages[0]] = echoed.a
            return Reply(body=seen.body)
        return None

    standin.script = echo
    ended = bulklink.with_env(**standin.env())(
        "link", write_mapping(bulklink.folder / "m.csv", given), "--json", "--single-endpoint"
    )
    run = audit_run(ended, bulklink.folder, 4)
    assert run.counts == {"done": 4}
    assert {call.contact for call in standin.requests_of("link-one")} == {echoed.id, succeeded.id}
    assert {call.contact for call in standin.requests_of("link")} == {two.id}
    for call in standin.requests_of("link-one"):
        (item,) = call.body["Emails"]
        assert set(item) == {"owner", "linked_record"}
    assert_crm_matches(run, world.links(), standin.links())


def test_a_single_unlink_names_its_owner_in_the_query(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=1)
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.linked))
    ended = bulklink.with_env(**standin.env())("unlink", mapping, "--json", "--single-endpoint")
    run = audit_run(ended, bulklink.folder, 1)
    (call,) = standin.requests_of("unlink-one")
    assert call.query == {"owner_id": PAT}
    assert call.messages == [contact.linked[0].message]
    assert_crm_matches(run, world.links(), standin.links())


def test_no_names_sends_only_ids_and_a_known_module_is_not_looked_up(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    given = rows(contact.free, contact.a, deal_name="Given", owner_name="Given")
    mapping = write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.with_env(**standin.env(), BULKLINK_DEALS_MODULE_ID="5843104000000009999")
    audit_run(command("link", mapping, "--json", "--no-names"), bulklink.folder, 1)
    (call,) = standin.requests_of("link")
    assert call.body["Emails"] == [
        {
            "owner": {"id": PAT},
            "message_id": contact.free[0].message,
            "linked_record": {
                "module": {"api_name": "Deals", "id": "5843104000000009999"},
                "id": contact.a,
            },
        }
    ]
    assert not standin.requests_of("deals", "users", "module")


def test_missing_names_are_looked_up_in_bulk_and_given_ones_are_not(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    many = [world.add(free=1) for _ in range(60)]
    named = many.pop()
    given = free_rows(many)
    given += rows(named.free, named.a, deal_name="My deal", owner_name="My Patricia")
    ended = bulklink.with_env(**standin.env())(
        "link", write_mapping(bulklink.folder / "m.csv", given), "--json"
    )
    run = audit_run(ended, bulklink.folder, 60)
    assert run.counts == {"done": 60}
    asked = [one for call in standin.requests_of("deals") for one in call.query["ids"].split(",")]
    assert sorted(asked) == sorted(one.a for one in many)
    assert len(standin.requests_of("deals")) == 2
    for call in standin.requests_of("deals"):
        assert len(call.query["ids"]) <= 1024
        assert "Deal_Name" in call.query["fields"].split(",")
    (users,) = standin.requests_of("users")
    assert users.query["type"] == "AllUsers"
    (call,) = (call for call in standin.requests_of("link") if call.contact == named.id)
    (item,) = call.body["Emails"]
    assert item["linked_record"]["name"] == "My deal"
    assert item["owner"]["name"] == "My Patricia"


def test_an_unknown_deal_or_owner_stops_before_the_first_change(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    good, no_deal, no_owner = contact.free
    given = [
        row(good, contact.a, Note="one"),
        row(no_deal, UNKNOWN_ID, Note="two"),
        row(no_owner, contact.a, Note="three", owner_id=UNKNOWN_ID),
    ]
    mapping = write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.with_env(**standin.env())
    ended = command("link", mapping, "--json", "--run-dir", "here")
    assert ended.code == 2, ended
    assert ended.error["code"] == "invalid-rows"
    assert not standin.requests_of("link", "unlink", "link-one", "unlink-one")
    with (bulklink.folder / "here" / "rejects.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [
        *(column for column in read[0] if not column.startswith("bulklink_")),
        *(f"bulklink_{name}" for name in ("file", "row", "line", "column", "reason", "raw")),
    ] == list(read[0])
    assert [(one["bulklink_row"], one["bulklink_reason"], one["Note"]) for one in read] == [
        ("2", "unknown-deal", "two"),
        ("3", "unknown-owner", "three"),
    ]
    shown = command("status", "here", "--json")
    assert shown.object["state"] == "refused"


def test_an_unknown_deal_or_owner_is_rejected_under_skip(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    good, no_deal, no_owner = contact.free
    given = [
        row(good, contact.a),
        row(no_deal, UNKNOWN_ID),
        row(no_owner, contact.a, owner_id=UNKNOWN_ID),
    ]
    mapping = write_mapping(bulklink.folder / "m.csv", given)
    ended = bulklink.with_env(**standin.env())("link", mapping, "--json", "--on-invalid", "skip")
    assert ended.code == 1, ended
    run = audit_run(ended, bulklink.folder, 3)
    assert run.counts == {"done": 1, "rejected": 2}
    assert [run.results[one]["code"] for one in (2, 3)] == ["unknown-deal", "unknown-owner"]
    assert_crm_matches(run, world.links(), standin.links())


def test_a_run_continues_if_the_org_cannot_be_read(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2)

    async def no_org(seen: ReceivedRequest) -> Reply | None:
        return error(401, "OAUTH_SCOPE_MISMATCH") if seen.kind == "org" else None

    standin.script = no_org
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    ended = bulklink.with_env(**standin.env())("link", mapping, "--json")
    assert audit_run(ended, bulklink.folder, 2).counts == {"done": 2}


def test_an_access_token_is_used_until_it_is_refused(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2)
    mapping = write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))

    async def refuse_old(seen: ReceivedRequest) -> Reply | None:
        old = seen.headers.get("Authorization") == "Zoho-oauthtoken old-one"
        return error(401, "INVALID_TOKEN") if old and seen.kind == "link" else None

    standin.script = refuse_old
    ended = bulklink.with_env(**standin.env(BULKLINK_ACCESS_TOKEN="old-one"))(
        "link", mapping, "--json"
    )
    run = audit_run(ended, bulklink.folder, 2)
    assert run.counts == {"done": 2}
    assert len(standin.requests_of("token")) == 1
    used = [call.headers["Authorization"].split()[1] for call in standin.requests_of("link")]
    assert used == ["old-one", TOKEN]
    assert run.calls["retried"] == 1
