"""Simulated plans agree with plans that are checked and sealed from a mapping."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bulklink.errors import LedgerError
from bulklink.mapping.checked import check
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Message
from tests.simulation.plans import seal_plan
from tests.simulation.scenarios import draw_scenario

_COLUMNS = Message.__struct_fields__[1:]


def seal_mapping(messages: list[Message], folder: Path) -> SealedPlan:
    """Seal messages numbered from 1 through a mapping, as a run does."""
    with (folder / "mapping.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows([getattr(message, name) for name in _COLUMNS] for message in messages)
    options = MappingOptions(op=None, allow_round_ids=True)
    with check(find_sources([str(folder / "mapping.csv")]), options, folder) as checked:
        checked.seal(folder)
    return SealedPlan(folder / "plan.parquet")


@pytest.mark.parametrize("with_names", [True, False])
@pytest.mark.parametrize("seed", [4, 20, 26])
def test_a_simulated_plan_reads_like_one_sealed_from_a_mapping(
    seed: int, with_names: bool, tmp_path: Path
) -> None:
    messages = []
    for row, m in enumerate(draw_scenario(seed).case.messages, 1):
        names = (m.owner_name, m.deal_name) if with_names else (None, None)
        ids = (m.contact_id, m.owner_id, m.message_id, m.deal_id)
        messages.append(Message(row, m.op, *ids, *names, m.from_deal_id))
    simulated, sealed = seal_plan(messages), seal_mapping(messages, tmp_path)
    for _ in range(2):
        assert list(simulated.chunks()) == list(sealed.chunks())
        assert list(simulated.owners_without_name()) == list(sealed.owners_without_name())
        assert simulated.count_deals_without_name() == sealed.count_deals_without_name()
        assert list(simulated.deals_without_name()) == list(sealed.deals_without_name())


def test_a_plan_out_of_order_cannot_be_read_to_the_end() -> None:
    plan = seal_plan(draw_scenario(20).case.messages, in_order=False)
    with pytest.raises(LedgerError, match="out of order"):
        list(plan.chunks())
