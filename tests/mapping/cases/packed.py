"""Zip files, and files that are packed several times."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Mapping

from tests.mapping.cases import MappingCase, csv_of

TEXT = csv_of("1,2,a,3", "1,2,b,3")
ROWS = json.dumps([{"contact_id": 1, "owner_id": 2, "message_id": m, "deal_id": 3} for m in "ab"])


def zip_of(members: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip file with these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _one(members: Mapping[str, str | bytes], name: str = "m.zip") -> MappingCase:
    return MappingCase(content=zip_of(members), name=name, messages=2)


def _refused(content: bytes, *problem: str, fixed_content: str | None = None) -> MappingCase:
    return MappingCase(content=content, name="m.zip", error=problem, fixed_content=fixed_content)


def _encrypted() -> bytes:
    content = bytearray(zip_of({"m.csv": TEXT}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


CASES = {
    "zip": _one({"m.csv": TEXT}),
    "zip-in-a-folder": _one({"export/": "", "export/m.csv": TEXT}),
    "zip-of-a-mac": _one({"m.csv": TEXT, "__MACOSX/._m.csv": b"\0\5\x16\7", ".DS_Store": "x"}),
    "zip-with-a-note": _one({"m.csv": TEXT, "readme.txt": "Hello.", "logo.png": b"\x89PNG"}),
    "zip-of-text": _one({"emails.txt": TEXT}),
    "zip-of-tsv": _one({"emails.tsv": TEXT.replace(",", "\t")}),
    "zip-of-json": _one({"m.json": ROWS}),
    "zip-of-gzip": _one({"m.csv.gz": gzip.compress(TEXT.encode())}),
    "zip-of-anything": _one({"export": TEXT}),
    "zip-named-csv": _one({"m.csv": TEXT}, "m.csv"),
    "zip-named-xlsx": _one({"m.csv": TEXT}, "m.xlsx"),
    "zip-stored": MappingCase(
        content=zip_of({"m.csv": TEXT}, zipfile.ZIP_STORED), name="m.zip", messages=2
    ),
    "zip-by-lzma": MappingCase(
        content=zip_of({"m.csv": TEXT}, zipfile.ZIP_LZMA), name="m.zip", messages=2
    ),
    "zip-in-gzip": MappingCase(
        content=gzip.compress(zip_of({"m.csv": TEXT})), name="m.zip.gz", messages=2
    ),
    "zip-in-zip": _one({"m.zip": zip_of({"m.csv": TEXT})}),
    "two-csv": _refused(
        zip_of({"a.csv": TEXT, "b/c.csv": TEXT}),
        "has 2 files",
        "'a.csv', 'b/c.csv'",
        "Unpack it",
        fixed_content=TEXT,
    ),
    "two-others": _refused(zip_of({"a": "x", "b": "y"}), "has 2 files", "'a', 'b'"),
    "many": _refused(zip_of({f"{n}.csv": TEXT for n in range(30)}), "and 20 more"),
    "no-files": _refused(zip_of({}), "The zip file is empty"),
    "only-a-folder": _refused(zip_of({"a/": ""}), "The zip file is empty"),
    "password": _refused(_encrypted(), "protected by a password", "Unpack it", fixed_content=TEXT),
    "cut-off": _refused(zip_of({"m.csv": TEXT})[:-30], "damaged or cut off"),
    "damaged": _refused(
        zip_of({"m.csv": TEXT}, zipfile.ZIP_STORED).replace(b"1,2,a", b"1,9,a"), "damaged"
    ),
    "empty-member": _refused(zip_of({"m.csv": ""}), "The file is empty"),
    "ods": _refused(
        zip_of({"mimetype": "application/vnd.oasis", "content.xml": "<a/>"}),
        "OpenDocument",
        "save it as .xlsx or as CSV",
    ),
    "xlsb": _refused(zip_of({"xl/workbook.bin": b"\0"}), ".xlsb", "save it as .xlsx"),
    "word": _refused(zip_of({"word/document.xml": "<a/>"}), "a Word document"),
    "four-times-gzip": _refused(
        gzip.compress(gzip.compress(gzip.compress(gzip.compress(TEXT.encode())))),
        "packed more than 3 times",
        "Unpack it",
        fixed_content=TEXT,
    ),
}
