"""Cell values: ids, names, and missing or surplus cells."""

from __future__ import annotations

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.cases import MappingCase, csv_of

ID = "5843104000000424163"
ADDRESS = f"https://crm.zoho.com/crm/org712345678/tab/Contacts/{ID}"
NAMES = "contact_id,owner_id,message_id,deal_id,owner_name,deal_name"
_INVISIBLE = {
    "zero-width-space": "\u200b",
    "left-to-right-mark": "\u200e",
    "pop-directional-isolate": "\u2069",
    "soft-hyphen": "\u00ad",
    "second-bom": "\ufeff",
    "no-break-space": "\u00a0",
    "narrow-no-break-space": "\u202f",
    "word-joiner": "\u2060",
    "ideographic-space": "\u3000",
}
_NO_NAMES = (
    *("NULL", "null", "None", "nan", "NaN", "N/A", "n/a", "<NA>", "NaT", "#N/A", "#REF!"),
    *("#VALUE!", "#DIV/0!", "#NAME?", "#BEZUG!", "Err:502", "undefined", "\\N"),
)
_NAMES_LIKE_THESE = ("Nan", "Nullmann", "None of Us Ltd", "Nat", "#1 Deal", "N/A Ltd")


def _bad_id(cell: str, problem: str) -> MappingCase:
    return MappingCase(content=csv_of(f"{cell},2,m,3"), refused={1: ("bad-id", problem)})


CASES = {
    "address": _bad_id(ADDRESS, f"write the id alone: {ID}"),
    "address-with-query": _bad_id(f"{ADDRESS}?layoutId=5843104000000091023", f"alone: {ID}"),
    "address-of-other-region": _bad_id(f"https://crm.zoho.eu/crm/EntityInfo/{ID}/", f"alone: {ID}"),
    "plus": _bad_id(f"+{ID}", f"alone: {ID}"),
    "full-width": _bad_id("\uff15\uff18\uff14", "alone: 584"),
    "arabic-digits": _bad_id("\u0665\u0668\u0664", "alone: 584"),
    "words-around": _bad_id(f"Contact {ID}", f"alone: {ID}"),
    "too-long": _bad_id("9" * 120, "120 characters long; it must be 1 to 100 digits"),
    "too-long-with-sign": _bad_id("+" + "9" * 120, "it must be 1 to 100 digits"),
    "too-long-among-words": _bad_id("Contact " + "9" * 120, "it must be 1 to 100 digits"),
    "two-ids": _bad_id(f"{ID} {ID[:-1]}9", "without SPACE (U+0020)"),
    "letter-inside": _bad_id("58O3", "without 'O'"),
    "accent": _bad_id("58\u00e93", "LATIN SMALL LETTER E WITH ACUTE (U+00E9)"),
    "invisible-inside": _bad_id("584\u200b31", "ZERO WIDTH SPACE (U+200B)"),
    "bad-character-far-after": _bad_id("1" * 80 + "x" + "2" * 10, "x2222222222'"),
    "tab-inside": MappingCase(
        content=csv_of('"58\t4",2,m,3'), refused={1: ("bad-id", "TAB (U+0009)")}
    ),
    **{
        f"{name}-around": MappingCase(
            content=csv_of(
                f"{mark}{ID}{mark},2,m{mark},{mark}3",
                header=f"{mark}contact_id{mark},owner_id{mark},message_id,deal{mark}_id",
            ),
            messages=1,
            sent={"contact_id": ID, "message_id": "m", "deal_id": "3"},
        )
        for name, mark in _INVISIBLE.items()
    },
    **{
        f"no-name-{text}": MappingCase(
            content=csv_of(f"1,2,m,3,{text},{text} ", header=NAMES),
            messages=1,
            sent={"owner_name": None, "deal_name": None},
            warns=("2 cells in owner_name, deal_name with a placeholder",),
        )
        for text in _NO_NAMES
    },
    **{
        f"name-{text}": MappingCase(
            content=csv_of(f"1,2,m,3,{text},", header=NAMES), messages=1, sent={"owner_name": text}
        )
        for text in _NAMES_LIKE_THESE
    },
    "no-name-takes-the-default": MappingCase(
        content=csv_of("1,2,m,3,NULL,x", header=NAMES),
        options=MappingOptions(op=Op.LINK, defaults=(("owner_name", "Pat"),)),
        messages=1,
        sent={"owner_name": "Pat"},
        warns=("1 cell in owner_name",),
    ),
    "controls-in-a-name": MappingCase(
        content=csv_of('1,2,m,3,"Ann\x00\x07 B","two\r\nlines\x9b"', header=NAMES),
        messages=1,
        sent={"owner_name": "Ann B", "deal_name": "two lines"},
        warns=("2 cells in owner_name, deal_name with control characters",),
    ),
    "nul-tail": MappingCase(
        content=csv_of("1,2,m,3").encode() + b"\0" * 512,
        messages=1,
        refused={2: ("broken-record", "the record is 512 NUL bytes")},
    ),
    "short-row": MappingCase(
        content=csv_of("1,2,m,3", header=NAMES), messages=1, sent={"owner_name": None}
    ),
    "row-too-short": MappingCase(
        content=csv_of("1,2,m", header=NAMES), refused={1: ("missing-value", "deal_id is empty")}
    ),
    "empty-surplus-cells": MappingCase(content=csv_of("1,2,m,3,, ,"), messages=1),
    "surplus-cell": MappingCase(
        content=csv_of("1,2,m,3,,x"), refused={1: ("broken-record", "6 cells, the header has 4")}
    ),
}
