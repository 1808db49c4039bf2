"""What `status --check` found, on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from bulklink.operations.check import Part, Proof, Verdict

_COLOURS = {Verdict.OK: "green", Verdict.DIFFERS: "red"}
_SAID = {Verdict.MISSING: "not there", Verdict.NOT_YET: "nothing to check"}


def proof_object(proof: Proof) -> dict[str, Any]:
    """Return what was found as JSON has it; `ok` tells whether nothing differs."""
    told: dict[str, Any] = msgspec.to_builtins(proof)
    return {"ok": proof.ok, **told}


def proof_lines(proof: Proof) -> Iterator[str]:
    """Yield a line for each part that was checked."""
    parts = {"plan": proof.plan, "ledger": proof.ledger, "accounting": proof.accounting}
    parts |= {f"mapping {name}": part for name, part in proof.mappings.items()}
    width = max(map(len, parts))
    yield "Check:"
    for name, part in parts.items():
        yield f"  {name:<{width}}  {_said(part)}"
    for forgotten in proof.forgotten:
        if forgotten.complete:
            yield f"  Columns and names were forgotten at {forgotten.at}; before that:"
            yield f"    plan    {forgotten.plan_before}"
            yield f"    ledger  {forgotten.ledger_before}"


def _said(part: Part) -> str:
    said = click.style(_SAID.get(part.verdict, part.verdict), fg=_COLOURS.get(part.verdict))
    return f"{said}: {part.detail}" if part.detail else said
