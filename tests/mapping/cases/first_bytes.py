"""Files in unsupported formats, recognised by their first bytes."""

from __future__ import annotations

import bz2
import lzma

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.cases import MappingCase, csv_of

TEXT = csv_of("1,2,a,3", "1,2,b,3")
JSONL = '{"contact_id":1,"owner_id":2,"message_id":"a","deal_id":3}\n'


def _is(content: bytes, problem: str, *, advice: str, name: str = "mapping.csv") -> MappingCase:
    return MappingCase(content=content, name=name, error=(problem, advice))


CASES = {
    **{
        f"text-named-{name}": MappingCase(content=TEXT, name=name, messages=2)
        for name in (
            *("m.tsv", "m.tab", "m.txt", "m.TXT", "m", "m.dat", "m.gz", "m.csv.zst", "m.xlsx"),
            *("m.parquet", "m.zip", "m.xls", "m.json", "m.jsonl", "m.bz2"),
        )
    },
    **{
        f"jsonl-named-{name}": MappingCase(content=JSONL, name=name, messages=1)
        for name in ("m.csv", "m.txt", "m", "m.json", "m.xlsx", "m.gz")
    },
    "tabs": MappingCase(content=TEXT.replace(",", "\t"), name="m.tsv", messages=2),
    "commas-in-tsv": MappingCase(content=TEXT, name="m.tsv", messages=2),
    "old-workbook": _is(
        b"\xd0\xcf\x11\xe0" * 9, "an old .xls workbook", advice="as .xlsx or as CSV"
    ),
    "bzip2": MappingCase(
        content=bz2.compress(TEXT.encode()),
        error=("compressed with bzip2", "bunzip2"),
        fixed_content=bz2.decompress(bz2.compress(TEXT.encode())),
    ),
    "xz": MappingCase(
        content=lzma.compress(TEXT.encode()),
        name="m.csv.xz",
        error=("compressed with xz", "unxz"),
        fixed_content=lzma.decompress(lzma.compress(TEXT.encode())),
    ),
    "lzma": _is(
        lzma.compress(TEXT.encode(), format=lzma.FORMAT_ALONE), "with lzma", advice="Unpack it"
    ),
    "7z": _is(b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive", advice="Unpack it", name="m.7z"),
    "rar": _is(b"Rar!\x1a\x07\x01\0", "a RAR archive", advice="Unpack it"),
    "tar": _is(b"m.csv" + b"\0" * 252 + b"ustar\x0000", "a tar archive", advice="tar -xf"),
    "pdf": _is(b"%PDF-1.7\n%\xe2\xe3", "a PDF document", advice="Export the table as CSV"),
    "html": _is(b"\n<!DOCTYPE html>\n<html>", "an HTML page", advice="save it as CSV"),
    "html-table": _is(b"\xef\xbb\xbf<table><tr>", "an HTML page", advice="CSV", name="m.xls"),
    "xml": _is(b'<?xml version="1.0"?><rows/>', "an XML document", advice="save it as .xlsx"),
    "sqlite": _is(b"SQLite format 3\0\x10", "an SQLite database", advice="as CSV"),
    "pickle": _is(b"\x80\x04\x95\x10\0", "a Python pickle", advice="as CSV"),
    "feather": _is(b"ARROW1\0\0\xff\xff", "an Arrow file", advice="Save it as Parquet"),
    "encrypted-parquet": _is(b"PARE\x10\x20\0\0", "encrypted Parquet", advice="without encryption"),
    "png": _is(b"\x89PNG\r\n\x1a\n\0", "an image", advice="as CSV"),
    "git-lfs": _is(
        b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer", advice="lfs pull"
    ),
    "sylk": _is(b"ID;PWXL;N;E\r\nP;PGeneral\r\n", "a SYLK spreadsheet", advice="as CSV"),
    "binary": _is(
        b"\x05\x11\x00\x02junk\n", "neither text nor in a known format", advice="--encoding"
    ),
    "nul-bytes": _is(b"\0" * 4096, "only NUL bytes", advice="copy it again"),
    "utf-16": MappingCase(
        content=TEXT.encode("utf-16"),
        name="m.txt",
        error=("looks like UTF-16", "--encoding utf-16"),
        fixed_options=MappingOptions(op=Op.LINK, encoding="utf-16"),
    ),
    **{
        f"header-{first}": MappingCase(
            content=csv_of("1,2,m,3,x", header=f"contact_id,owner_id,message_id,deal_id,{first}"),
            messages=1,
        )
        for first in ("PAR1", "ORCID", "Rar!", "<html>", "%PDF", "{}", "BZh9")
    },
    **{
        f"first-header-{first}": MappingCase(
            content=csv_of("x,1,2,m,3", header=f"{first},contact_id,owner_id,message_id,deal_id"),
            messages=1,
        )
        for first in ("PAR1", "PARENT", "ORCID", "Obj", "BM", "ID", "7z", "MM", "PK")
    },
    "first-header-sylk-like": MappingCase(
        content=csv_of("x;p;1;2;m;3", header="ID;PARTNER;contact_id;owner_id;message_id;deal_id"),
        messages=1,
    ),
}
