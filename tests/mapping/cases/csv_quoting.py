"""CSV quoting: spaces around quotes, other quote characters, escapes, and no quoting."""

from __future__ import annotations

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.cases import MappingCase, csv_of

HEADER = "contact_id,owner_id,message_id,deal_id,Note"
APOSTROPHE = MappingOptions(op=Op.LINK, quote="'")
NO_QUOTES = MappingOptions(op=Op.LINK, quote="none")
BACKSLASH = MappingOptions(op=Op.LINK, escape="\\")


def _note(cell: str, note: str, options: MappingOptions | None = None) -> MappingCase:
    """Return a case of one row with this last cell, and the note that is kept."""
    return MappingCase(
        content=csv_of(f"1,2,m,3,{cell}", header=HEADER),
        options=options or MappingOptions(op=Op.LINK),
        messages=1,
        cells={"Note": note},
    )


CASES = {
    "space-before": _note(' "a, b"', "a, b"),
    "space-after": _note('"a, b" ', "a, b"),
    "spaces-around": _note('   "a, ""b"""  ', 'a, "b"'),
    "space-everywhere": MappingCase(
        content='"contact_id", "owner_id", "message_id", "deal_id", "Note"\n'
        '"1", "2", "m", "3", "a, b"\n"1", "2", "n", "3", ""\n',
        messages=2,
        cells={"Note": "a, b"},
    ),
    "space-and-tabs": MappingCase(
        content=csv_of('1\t2\tm\t3\t "a\tb" ', header=HEADER.replace(",", "\t")),
        messages=1,
        cells={"Note": "a\tb"},
    ),
    "space-with-semicolons": MappingCase(
        content=csv_of('1; 2; "m"; "3"; "a; b"', header=HEADER.replace(",", ";")),
        messages=1,
        cells={"Note": "a; b"},
    ),
    "space-within": _note('" a , b "', " a , b "),
    "space-and-quotes-within": _note('"say ""hi"" , you"', 'say "hi" , you'),
    "quote-inside-text": _note('say "hi" there', 'say "hi" there'),
    "inches": _note('12" pipe', '12" pipe'),
    "space-before-text-with-quotes": _note(' "hi" he said', ' "hi" he said'),
    "space-before-text": _note("  text ", "  text "),
    "apostrophes-in-header": MappingCase(
        content="'contact_id','owner_id','message_id','deal_id','Note'\n'1','2','m','3','a, b'\n",
        messages=1,
        sent={"message_id": "m"},
        cells={"Note": "a, b"},
    ),
    "apostrophes-in-rows": MappingCase(
        content=csv_of("'1','2','m','3','O''Neil, a'", header=HEADER),
        messages=1,
        cells={"Note": "O'Neil, a"},
    ),
    "apostrophes-in-some-cells": MappingCase(
        content=csv_of("1,2,m,3,'a, b'", header=HEADER),
        refused={
            1: ("broken-record", "6 cells, the header has 5; if ' is around cells, use --quote")
        },
        fixed_options=APOSTROPHE,
    ),
    "apostrophes-around-an-id": MappingCase(
        content=csv_of("1,2,'m',3,x", header=HEADER),
        refused={1: ("bad-id", "if ' is around cells, use --quote")},
        fixed_options=APOSTROPHE,
    ),
    "apostrophe-of-a-name": _note("O'Neil's", "O'Neil's"),
    "apostrophe-before-an-id": MappingCase(
        content=csv_of("'1,'2,m,'3,x", header=HEADER), messages=1, sent={"contact_id": "1"}
    ),
    "other-quote": _note("|a, b|", "a, b", MappingOptions(op=Op.LINK, quote="|", delimiter=",")),
    "backslash": MappingCase(
        content=csv_of('1,2,m,3,"say \\"hi\\" you"', header=HEADER),
        refused={1: ("broken-record", "use --escape '\\'")},
        fixed_options=BACKSLASH,
    ),
    "backslash-before-a-delimiter": MappingCase(
        content=csv_of('1,2,m,3,"say \\"hi\\", you"', header=HEADER),
        refused={1: ("broken-record", "use --escape '\\'")},
        fixed_options=BACKSLASH,
    ),
    "backslash-and-no-end": MappingCase(
        content=csv_of('1,2,m,3,"ends \\""', header=HEADER),
        refused={1: ("broken-record", "use --escape '\\'")},
        fixed_options=BACKSLASH,
    ),
    "backslash-read": _note('"say \\"hi\\", \\\\you"', 'say "hi", \\you', BACKSLASH),
    "backslash-and-space": _note(' "say \\"hi\\"" ', 'say "hi"', BACKSLASH),
    "backslash-of-a-path": _note('"C:\\dir\\"', "C:\\dir\\"),
    "open-quote": MappingCase(
        content=csv_of('1,2,m,3,"open', "1,2,n,3,x", header=HEADER),
        refused={1: ("broken-record", "never closed: nothing after it can be read; if quotes are")},
        fixed_options=NO_QUOTES,
    ),
    "text-after-a-quote": MappingCase(
        content=csv_of('1,2,m,3,"a"b', header=HEADER),
        refused={1: ("broken-record", "text follows a closing quote; if quotes are ordinary")},
        fixed_options=NO_QUOTES,
    ),
    "no-quotes": _note('"a"b', '"a"b', NO_QUOTES),
    "no-quotes-at-all": _note('"', '"', NO_QUOTES),
    "no-quotes-and-an-escape": _note(
        "a\\,b", "a,b", MappingOptions(op=Op.LINK, quote="none", escape="\\")
    ),
    "no-quotes-in-a-header": MappingCase(
        content=csv_of("1,2,m,3,x", header=HEADER.replace("Note", '"Note')),
        error=("header cannot be read", "--quote none"),
        fixed_options=NO_QUOTES,
    ),
}
