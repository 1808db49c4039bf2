"""JSON other than JSONL: arrays, sequences of objects, rows in an object, mistakes."""

from __future__ import annotations

import json
from typing import Any

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.cases import MappingCase

FIFTY = "12345678901234567890123456789012345678901234567890"


def row(message: str = "a", **own: Any) -> dict[str, Any]:
    """Return a link."""
    return {"contact_id": 1, "owner_id": "2", "message_id": message, "deal_id": 3} | own


ROWS = [row("a", Note="x"), row("b", Note="y")]
INDENTED = [json.dumps(entry, indent=2) for entry in ROWS]


def _read(content: str, *lines: int | None, name: str = "m.json") -> MappingCase:
    return MappingCase(content=content, name=name, messages=2, cells={"Note": "x"}, lines=lines)


def _refused(content: str, *problem: str, fixed_content: str | None = None) -> MappingCase:
    return MappingCase(content=content, name="m.json", error=problem, fixed_content=fixed_content)


CASES = {
    "array": _read(json.dumps(ROWS), 1, 1),
    "array-over-lines": _read(json.dumps(ROWS, indent=2), 2, 9),
    "array-with-cr-lf": _read(json.dumps(ROWS, indent=2).replace("\n", "\r\n"), 2, 9),
    "array-with-cr": _read(json.dumps(ROWS, indent=2).replace("\n", "\r"), 2, 9),
    "array-after-a-bom": _read("\ufeff" + json.dumps(ROWS)),
    "array-after-blank-lines": _read("\n\n " + json.dumps(ROWS), 3, 3),
    "array-named-csv": _read(json.dumps(ROWS), name="m.csv"),
    "array-named-jsonl": _read(json.dumps(ROWS), name="m.jsonl"),
    "one-object-per-line": _read("\n".join(map(json.dumps, ROWS)), 1, 2),
    "objects-over-lines": _read("\n".join(INDENTED), 1, 8),
    "objects-without-space": _read("".join(map(json.dumps, ROWS)), 1, 1),
    "objects-over-lines-without-space": _read("".join(INDENTED)),
    "objects-over-lines-named-jsonl": _read("\n".join(INDENTED), name="m.jsonl"),
    "data": _read(json.dumps({"data": ROWS})),
    "data-and-info": _read(json.dumps({"data": ROWS, "info": {"page": 1, "more": False}})),
    "info-and-data": _read(json.dumps({"info": {"count": 2}, "data": ROWS}, indent=1)),
    "other-key": _read(json.dumps({"ok": True, "records": ROWS})),
    "two-lists": _read(json.dumps({"columns": [{"name": "x"}], "rows": ROWS})),
    "brackets-in-texts": _read(json.dumps([row("a", Note="x", T='}]"{,[\\'), ROWS[1]])),
    "list-in-a-row": _read("\n".join(json.dumps(r | {"tags": [{"n": 1}]}) for r in ROWS)),
    "list-in-a-first-key": _read(
        "\n".join(json.dumps({"tags": [{"n": 1}]} | r) for r in ROWS), 1, 2
    ),
    "digits": MappingCase(
        content=f'[{{"contact_id":{FIFTY},"owner_id":2,"message_id":77,"deal_id":5}}]',
        name="m.json",
        messages=1,
        sent={"contact_id": FIFTY, "message_id": "77"},
    ),
    "float": MappingCase(
        content=json.dumps([row() | {"contact_id": 5.5e18}]),
        name="m.json",
        refused={1: ("rounded-id", "read ids as numbers")},
    ),
    "own-values": MappingCase(
        content='[{"contact_id":1,"owner_id":2,"message_id":"m","deal_id":5,"l":[1.50,{"k":1e5}]}]',
        name="m.json",
        messages=1,
        cells={"l": '[1.50,{"k":1e5}]'},
    ),
    "faults-of-entries": MappingCase(
        content='[{"contact_id":1,"owner_id":2,"message_id":"a","deal_id":3},\n{"a":NaN},\n5,\n'
        '{"a":1,"a":2}]',
        name="m.json",
        messages=1,
        refused={
            2: ("broken-record", "NaN is not JSON"),
            3: ("broken-record", "it is another type of value"),
            4: ("broken-record", "it has the same key twice"),
        },
    ),
    "entry-too-long": MappingCase(
        content=json.dumps([row("a", big="x" * 1_100_000), row("b")]),
        name="m.json",
        messages=1,
        refused={1: ("broken-record", "longer than 1024 KiB")},
    ),
    "comma-at-the-end": _refused(
        f"{json.dumps(ROWS)[:-1]},\n]",
        "there is a comma before the ]",
        "line 2",
        fixed_content=json.dumps(ROWS),
    ),
    "comma-at-the-end-of-objects": _refused(
        json.dumps(ROWS).replace("}", ",}"),
        "there is a comma before a closing bracket",
        fixed_content=json.dumps(ROWS),
    ),
    "comma-at-the-end-of-each-line": _refused(
        "".join(f"{json.dumps(entry)},\n" for entry in ROWS),
        "commas separate the objects",
        "Put [ before the first object and ]",
        fixed_content="[" + "".join(f"{json.dumps(entry)},\n" for entry in ROWS)[:-2] + "]",
    ),
    "comma-in-each-object-of-jsonl": MappingCase(
        content="".join(f"{json.dumps(entry)[:-1]},}}\n" for entry in ROWS),
        name="m.jsonl",
        error=("there is a comma before a closing bracket", "line 1"),
    ),
    "comma-in-one-object-of-jsonl": MappingCase(
        content=f"{json.dumps(ROWS[0])[:-1]},}}\n{json.dumps(ROWS[1])}\n",
        name="m.jsonl",
        messages=1,
        refused={1: ("broken-record", "there is a comma before a closing bracket; delete it")},
    ),
    "python": _refused(
        str(ROWS), "strings are in single quotes", "json.dump", fixed_content=json.dumps(ROWS)
    ),
    "javascript": _refused("[{contact_id: 1}]", "names have no quotes"),
    "comma-missing": _refused(
        json.dumps(ROWS).replace("}, {", "}\n{"), "a comma is missing", "line 2"
    ),
    "cut-off": _refused(json.dumps(ROWS)[:-9], "does not end", "line 1"),
    "cut-off-between": _refused(json.dumps(ROWS)[:-1], "the list does not end"),
    "two-arrays": _refused(json.dumps(ROWS) * 2, "there is text after"),
    "pages": _refused(
        json.dumps({"data": ROWS}) + "\n" + json.dumps({"data": ROWS}),
        """each with rows in "data\"""",
        "jq -c '.[\"data\"][]'",
        fixed_content="\n".join(map(json.dumps, ROWS)),
    ),
    "lists": _refused(
        '[["contact_id","owner_id"],["1","2"]]', "The entries of the list are not objects"
    ),
    "numbers": _refused("[1,2]", "The entries of the list are not objects"),
    "empty": _refused("[]", "There are no rows"),
    "renamed": MappingCase(
        content=json.dumps({"tags": [{"n": 1}]} | row() | {"Contact": 9}),
        name="m.json",
        options=MappingOptions(op=Op.LINK, columns=(("contact_id", "Contact"),)),
        messages=1,
        sent={"contact_id": "9"},
    ),
}
