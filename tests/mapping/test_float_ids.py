"""Ids that passed through a 64-bit float are found, and no unaltered column is suspected."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from math import gcd
from random import Random
from typing import TYPE_CHECKING

import pytest

from bulklink.mapping.float_ids import (
    FloatIds,
    IdPattern,
    judge_column,
    needs_judgement,
    read_patterns,
)
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.input.workbook import workbook
from tests.mapping.planner import HEADER, LINK, MappingPlanner, PlannedMapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: How pandas, numpy and DuckDB write a double, and how JavaScript does.
DAMAGES: dict[str, Callable[[int], int]] = {
    "value": lambda number: int(float(number)),
    "shortest": lambda number: int(Decimal(repr(float(number)))),
}


def pattern_of(number: int) -> IdPattern:
    """Return the pattern of one id, by exact arithmetic."""
    text = str(number)
    zeros = min(4, len(text) - len(text.rstrip("0")))
    is_shortest = DAMAGES["shortest"](number) == number
    twos = (number & -number).bit_length() - 1
    return IdPattern(len(text), number.bit_length() - 53, twos, zeros, is_shortest, 1)


def judge(ids: Iterable[int]) -> FloatIds:
    """Judge a column of ids of one length as planning does."""
    distinct = sorted(set(ids))
    patterns = [pattern_of(number) for number in distinct]
    step = gcd(*(number - distinct[0] for number in distinct)) if len(distinct) > 2 else 0
    near = [p for p in patterns if p.twos >= p.spacing - 1 or p.zeros >= min(2, p.spacing // 4)]
    verdict = judge_column("contact_id", patterns[0].length, patterns, step)
    if not needs_judgement(near):
        assert verdict.chance >= 1e-3
    return verdict


def draw_unaltered_ids(random: Random) -> list[int]:
    """Draw a column of ids like those that systems assign."""
    digits = random.choice((17, 18, 18, 19, 19, 19, 19))
    first = random.randrange(10 ** (digits - 1), 9 * 10 ** (digits - 1))
    count = random.choice((1, 2, 3, 5, 10, 30, 60, 120))
    shape = random.choice(("sequence", "steps", "irregular", "anywhere", "zeros", "ranges"))
    if shape == "sequence":
        return [first + n for n in range(count)]
    if shape == "steps":
        step = random.choice((2, 5, 10, 91, 100, 128, 512, 1000, random.randrange(1, 5000)))
        # A float leaves steps of exactly the spacing.
        step += step & (step - 1) == 0 and pattern_of(first).spacing == step.bit_length() - 1
        return [first + step * n for n in range(count)]
    if shape == "irregular":
        numbers = [first]
        while len(numbers) < count:
            numbers.append(numbers[-1] + random.randrange(1, 40_000))
        return numbers
    if shape == "zeros":
        ending = random.choice((10, 100))
        return [(first + random.randrange(10**9)) // ending * ending for _ in range(count)]
    if shape == "ranges":
        other, step = first + random.randrange(10**9), random.randrange(1, 200)
        return [first + step * n for n in range(count)] + [other + 7 * n for n in range(count)]
    return [random.randrange(10 ** (digits - 1), 10**digits) for _ in range(count)]


def test_no_unaltered_column_of_10_000_is_refused() -> None:
    random = Random("honest")
    refused = []
    for _ in range(10_000):
        ids = draw_unaltered_ids(random)
        if judge(ids).exceeds_chance:
            refused.append(ids[:5])
    assert refused == []


@pytest.mark.parametrize("kind", DAMAGES)
def test_no_damaged_column_of_30_ids_and_more_is_missed(kind: str) -> None:
    random, missed = Random(kind), []
    for _ in range(1000):
        digits = random.choice((17, 18, 19, 19, 19))
        first = random.randrange(10 ** (digits - 1), 9 * 10 ** (digits - 1))
        spread = random.choice((60_000, 10**6, 10**9, 10**15))
        ids = {DAMAGES[kind](first + random.randrange(spread)) for _ in range(500)}
        count = random.randrange(30, 400)
        sample = sorted(ids)[:count] if len(ids) >= 30 else []
        if sample and not judge(sample).exceeds_chance:
            missed.append(sample[:5])
    assert missed == []


@pytest.mark.parametrize("first", [5843104000000424162, 4150868000000424162, 554023000000527001])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_half_damaged_column_is_refused(kind: str, first: int) -> None:
    random = Random(kind)
    ids = [first + random.randrange(10**9) for _ in range(200)]
    assert judge([*ids[:100], *map(DAMAGES[kind], ids[100:])]).exceeds_chance


def test_a_few_float_like_ids_among_many_cause_a_warning() -> None:
    random = Random(1)
    ids = [5843104000000424162 + random.randrange(10**9) for _ in range(200)]
    verdict = judge([*ids[:188], *map(DAMAGES["value"], ids[188:])])
    assert not verdict.exceeds_chance
    assert verdict.chance < 1e-3
    assert verdict.floats == 12


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_id_proves_nothing_and_three_are_enough_if_doubles_are_far_apart(count: int) -> None:
    ids = [1024 * (5706156250000414 + 585 * n * n) for n in range(count)]
    verdict = judge(ids)
    assert verdict.chance < 1e-3
    assert verdict.exceeds_chance == (count == 3)


def test_ids_in_steps_of_a_thousand_are_accepted() -> None:
    ids = [5843104000000424000 + 1000 * n for n in range(60)]
    assert judge(ids).chance > 0.1
    assert judge([number + 3000 * n for n, number in enumerate(ids)]).chance > 1e-6


def rows_of(ids: Sequence[int], column: str = "contact_id") -> list[dict[str, str]]:
    """Make one row for each id."""
    return [
        {
            "contact_id": "1",
            "owner_id": "2",
            "message_id": f"m{n}",
            "deal_id": "3",
            column: str(number),
        }
        for n, number in enumerate(ids)
    ]


def plan_rows(
    planner: MappingPlanner, rows: Sequence[dict[str, str]], suffix: str
) -> PlannedMapping:
    """Plan rows in a format."""
    if suffix == "xlsx":
        cells = [list(rows[0]), *(list(row.values()) for row in rows)]
        return planner.plan(workbook(cells), name="mapping.xlsx")
    if suffix == "jsonl":
        return planner.plan("".join(json.dumps(row) + "\n" for row in rows), name="mapping.jsonl")
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    return planner.plan("\n".join(lines) + "\n")


DAMAGED = [int(float(5843104000000424162 + 91_000 * n)) for n in range(40)]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "xlsx"])
@pytest.mark.parametrize("column", ["contact_id", "owner_id", "deal_id"])
def test_a_damaged_column_is_refused_as_a_whole_in_every_format(
    planner: MappingPlanner, suffix: str, column: str
) -> None:
    unaltered = 5843104000000424163
    planned = plan_rows(planner, rows_of([*DAMAGED, unaltered], column), suffix)
    assert set(planned.reasons.values()) == {("rounded-id", column)}
    assert planned.rejected == 41
    assert planned.messages == 0
    assert f"40 of 41 distinct 19-digit ids in {column}" in planned.warnings[0]
    assert "as if a program had read them as numbers" in planned.warnings[0]


def test_ids_of_another_length_in_a_damaged_column_are_accepted(planner: MappingPlanner) -> None:
    planned = plan_rows(planner, rows_of([*DAMAGED, 4711]), "csv")
    assert (planned.rejected, planned.messages) == (40, 1)


def test_float_like_ids_can_be_allowed(planner: MappingPlanner) -> None:
    text = HEADER + "".join(f"{number},2,m,3,\n" for number in DAMAGED)
    options = MappingOptions(op=Op.LINK, allow_round_ids=True)
    planned = planner.plan(text, options)
    assert (planned.rejected, planned.messages, planned.warnings) == (0, 40, ())


def test_a_damaged_guard_is_refused(planner: MappingPlanner) -> None:
    text = "contact_id,owner_id,message_id,deal_id,from_deal_id\n" + "".join(
        f"1,2,m{n},3,{number}\n" for n, number in enumerate(DAMAGED)
    )
    planned = planner.plan(text, MappingOptions(op=Op.RELINK))
    assert set(planned.reasons.values()) == {("rounded-id", "from_deal_id")}


def test_the_database_and_python_compute_the_same_patterns(planner: MappingPlanner) -> None:
    random = Random(3)
    ids = {random.randrange(10**16, 2**64) for _ in range(300)}
    ids |= {int(10 ** random.uniform(16, 19.2)) // 100 * 100 for _ in range(300)}
    ids |= {damage(number) for number in ids for damage in DAMAGES.values() if number < 2**63}
    checked = planner.check([planner.write(HEADER + "".join(f"{n},2,m,3,\n" for n in ids))], LINK)
    counted: Counter[tuple[int, ...]] = Counter()
    for patterns in read_patterns(checked.database, ["contact_id"], near_only=False)[
        "contact_id"
    ].values():
        for pattern in patterns:
            counted[pattern[:5]] += pattern.ids
    assert counted == Counter(pattern_of(number)[:5] for number in ids)
