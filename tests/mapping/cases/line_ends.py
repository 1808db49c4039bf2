"""Lines: line ends, lines above the headers, and blank lines."""

from __future__ import annotations

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.cases import LINK, MappingCase, csv_of

A, B, C = "1,2,a,3,x", "1,2,b,3,y", "1,2,c,3,z"
HEADER = "contact_id,owner_id,message_id,deal_id,Note"


def _skip(lines: int) -> MappingOptions:
    return MappingOptions(op=Op.LINK, skip_lines=lines)


def _title(above: str, lines: int) -> MappingCase:
    """Return the case of a file with lines above its headers, which the advice skips."""
    return MappingCase(
        content=f"{above}\n{csv_of(A, B, header=HEADER)}",
        error=(f"but in line {lines + 1}", f"--skip-lines {lines}"),
        fixed_options=_skip(lines),
        fixed_content=None,
    )


CASES = {
    "cr": MappingCase(content=f"{HEADER}\r{A}\r{B}\r", messages=2, lines=(2, 3)),
    "cr-without-the-final-one": MappingCase(
        content=f"{HEADER}\r{A}\r{B}", messages=2, lines=(2, 3)
    ),
    "cr-after-a-bom": MappingCase(content=f"\ufeff{HEADER}\r{A}\r", messages=1, lines=(2,)),
    "cr-only-in-the-header": MappingCase(content=f"{HEADER}\r{A}\n{B}\n", messages=2),
    "cr-semicolons": MappingCase(
        content=f"{HEADER}\r{A}\r".replace(",", ";"), messages=1, lines=(2,)
    ),
    "mixed": MappingCase(content=f"{HEADER}\r\n{A}\r{B}\n{C}\r\n", messages=3, lines=(2, 3, 4)),
    "blank-cr-lines": MappingCase(content=f"{HEADER}\r\r{A}\r\r\r{B}\r", messages=2, lines=(3, 6)),
    "cr-in-quotes": MappingCase(
        content=f'{HEADER}\n1,2,a,3,"x\ry"\n{B}\n', messages=2, cells={"Note": "x\ry"}
    ),
    "cr-in-quotes-of-a-cr-file": MappingCase(
        content=f'{HEADER}\r1,2,a,3,"x\ry"\r{B}\r', messages=2, cells={"Note": "x\ry"}, lines=(2, 4)
    ),
    "cr-lf-in-quotes-of-a-cr-file": MappingCase(
        content=f'{HEADER}\r1,2,a,3,"x\r\ny"\r{B}\r', messages=2, cells={"Note": "x\r\ny"}
    ),
    "cr-jsonl": MappingCase(
        name="m.jsonl",
        content='{"contact_id":1,"owner_id":2,"message_id":"a","deal_id":3}\r' * 2,
        messages=1,
    ),
    "sep-line-with-cr": MappingCase(
        content=f"sep=;\r{HEADER}\r{A}\r".replace(",", ";"), messages=1, lines=(3,)
    ),
    "title": _title("Emails of March", 1),
    "title-with-commas": _title("Emails, of March, 2026, all", 1),
    "title-of-a-spreadsheet": _title("Emails of March,,,,\n,,,,", 2),
    "title-and-blank-lines": _title("Emails of March\n\n\n", 4),
    "comments": _title("# made by a script\n# on Monday, at noon", 2),
    "title-in-quotes": _title('"Emails, of March"', 1),
    "title-over-two-lines": _title('"Emails\nof March"', 2),
    "title-with-an-open-quote": MappingCase(
        content=f'"Emails of March\n{csv_of(A, header=HEADER)}',
        error=("header cannot be read", "headers are in line 2", "--skip-lines 1"),
        fixed_options=_skip(1),
    ),
    "title-above-semicolons": MappingCase(
        content=f"Emails of March\n{csv_of(A, header=HEADER)}".replace(",", ";"),
        error=("--skip-lines 1",),
        fixed_options=_skip(1),
    ),
    "title-with-renamed-headers": MappingCase(
        content=f"Title\n{csv_of(A, header='Contact,Mailbox,message_id,deal,Note')}",
        options=MappingOptions(
            op=Op.LINK,
            columns=(("contact_id", "Contact"), ("owner_id", "Mailbox"), ("deal_id", "deal")),
        ),
        error=("There is no header 'Contact'",),
    ),
    "skipped-lines": MappingCase(
        content=f"Title\nmore\n{csv_of(A, B, header=HEADER)}",
        options=_skip(2),
        messages=2,
        lines=(4, 5),
    ),
    "skipped-lines-of-jsonl": MappingCase(
        name="m.jsonl",
        content='Title\n{"contact_id":1,"owner_id":2,"message_id":"a","deal_id":3}\n',
        options=_skip(1),
        messages=1,
        lines=(2,),
    ),
    "skipped-lines-of-json": MappingCase(
        name="m.json",
        content='Title\n[\n{"contact_id":1,"owner_id":2,"message_id":"a","deal_id":3}]\n',
        options=_skip(1),
        messages=1,
        lines=(3,),
    ),
    "all-skipped": MappingCase(
        content=csv_of(A, header=HEADER), options=_skip(9), error=("no header",), fixed_options=LINK
    ),
    "only-commas": MappingCase(
        content=csv_of(",,,,", A, ",,,,", B, ",,,,", header=HEADER), messages=2, lines=(3, 5)
    ),
    "commas-and-spaces": MappingCase(
        content=csv_of(A, " , ,\t,, ", B, header=HEADER), messages=2, lines=(2, 4)
    ),
    "fewer-commas": MappingCase(content=csv_of(A, ",,", ",", B, header=HEADER), messages=2),
    "quoted-empty-cells": MappingCase(
        content=csv_of(A, '"","","","",""', B, header=HEADER), messages=2, lines=(2, 4)
    ),
    "only-semicolons": MappingCase(
        content=csv_of(A, ",,,,", B, header=HEADER).replace(",", ";"), messages=2
    ),
    "commas-above-the-header": MappingCase(
        content=f",,,,\n{csv_of(A, header=HEADER)}", messages=1, lines=(3,)
    ),
    "delimiter-at-the-end-of-the-header": MappingCase(
        content=csv_of(A, B, header=f"{HEADER},"), messages=2, cells={"Note": "x"}
    ),
    "delimiter-at-the-end-of-rows": MappingCase(
        content=csv_of(f"{A},", f"{B},", header=HEADER), messages=2, cells={"Note": "x"}
    ),
    "delimiter-at-the-end-of-all": MappingCase(
        content=csv_of(f"{A},", header=f"{HEADER},"), messages=1, cells={"Note": "x"}
    ),
    "several-at-the-end": MappingCase(content=csv_of(f"{A},,,", header=HEADER), messages=1),
}
