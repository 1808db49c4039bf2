"""The digest of a plan covers its content and order, not how it was read or written."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import struct
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from bulklink.duckdb_sql import literal
from bulklink.errors import InterruptedPlanningError, RunDirError
from bulklink.mapping.checked import check
from bulklink.mapping.database import open_database
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_digest import NO_ROWS, RowHashes, hash_rows, read_plan_content
from bulklink.mapping.plan_layout import load_layout, plan_relation
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op

HEADER = "op,contact_id,owner_id,message_id,deal_id,deal_name,owner_name,from_deal_id\n"
ROWS = (
    "link,1,2,a,5,Straße,,\nrelink,1,2,b,5,,Ann,3|none\nunlink,1,3,c,,,,none\n"
    'link,1,2,a,5,Straße,,\nlink,12,3,d,5,"a ""b"", c",Ann,\n'
)
NAMES = "row op contact_id owner_id message_id deal_id owner_name deal_name from_deal_id"


def seal(path: Path, *, op: Op | None = None, memory: str = "128MB", threads: int = 2) -> Path:
    """Seal the plan of a mapping into a folder named after it, and hash it before that too."""
    folder = path.with_name(path.name + ".run")
    folder.mkdir(exist_ok=True)
    options = MappingOptions(op)
    sources = find_sources([str(path)])
    with check(sources, options, folder, memory=memory, threads=threads) as checked:
        unsealed = checked.hash_plan()
        checked.seal(folder)
    assert_hashed_as(folder / "plan.parquet", unsealed)
    return folder / "plan.parquet"


def assert_hashed_as(plan: Path, unsealed: RowHashes) -> None:
    """Check that a sealed plan has the same hashes whether its columns are read at once or not."""
    with open_database(plan.with_name("spill")) as database:
        layout = load_layout(database, plan)
        relation = layout.relation(database.files.read_parquet(plan))
        for by_column in (False, True):
            hashes = hash_rows(database, relation, layout.constants, by_column=by_column)
            assert hashes == unsealed


def hashes_of(path: Path, **options: object) -> RowHashes:
    return read_plan_content(seal(path, **options)).hashes  # type: ignore[arg-type]


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.csv"
    path.write_text(HEADER + ROWS, "utf-8")
    return path


def test_a_digest_is_the_same_for_the_same_rows_in_any_form(mapping: Path) -> None:
    folder, text = mapping.parent, mapping.read_text("utf-8")
    (folder / "semicolon.csv").write_text(
        HEADER.replace(",", ";") + ROWS.replace('"a ""b"", c"', "§").replace(",", ";").replace(
            "§", '"a ""b"", c"'
        ),
        "utf-8",
    )  # fmt: skip
    (folder / "gzip.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "bom.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    lines = [dict(zip(HEADER.strip().split(","), row, strict=True)) for row in read_rows(mapping)]
    (folder / "objects.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    (folder / "columns.csv").write_text(
        "Note," + HEADER + "".join(f"n{n},{line}\n" for n, line in enumerate(ROWS.splitlines())),
        "utf-8",
    )
    first = hashes_of(mapping)
    assert first.rows == 5
    for name in ("semicolon.csv", "gzip.csv.gz", "bom.csv", "objects.jsonl", "columns.csv"):
        assert hashes_of(folder / name) == first, name


def read_rows(path: Path) -> list[tuple[str | None, ...]]:
    """Read a CSV file with another reader."""
    with duckdb.connect() as database:
        return database.execute(f"FROM read_csv('{path}', all_varchar=true)").fetchall()


def test_a_digest_is_the_same_whether_a_column_is_written_or_derived(tmp_path: Path) -> None:
    ids = "1,2,{},5\n"
    derived, written = tmp_path / "derived.csv", tmp_path / "written.csv"
    header = "contact_id,owner_id,message_id,deal_id"
    derived.write_text(header + "\n" + "".join(ids.format(n) for n in range(5000)))
    written.write_text(
        f"op,{header},owner_name,from_deal_id\n"
        + "".join("link," + ids.format(n).strip() + ",,\n" for n in range(5000))
    )
    assert hashes_of(derived, op=Op.LINK) == hashes_of(written)


def test_a_digest_depends_on_neither_memory_nor_threads(tmp_path: Path) -> None:
    rng = random.Random(3)
    path = tmp_path / "many.csv"
    rows = (f"{rng.randrange(40_000)},{n % 7},m{n},{n},Deal {n},\n" for n in range(150_000))
    path.write_text("contact_id,owner_id,message_id,deal_id,deal_name,Note\n" + "".join(rows))
    first = hashes_of(path, op=Op.LINK, memory="1GB", threads=4)
    assert hashes_of(path, op=Op.LINK, memory="96MB", threads=1) == first


def test_the_digest_is_computed_as_documented(mapping: Path) -> None:
    plan = seal(mapping)
    hashes = read_plan_content(plan).hashes
    names = (*NAMES.split(), "duplicate_of")
    columns = ", ".join(f"bulklink_{name}" for name in names)
    with open_database(plan.with_name("spill")) as database:
        rows = list(database.rows(f"SELECT {columns} FROM {plan_relation(database, plan)}"))
    expected = {}
    for name, cells in zip(names, zip(*rows, strict=True), strict=True):
        texts = [
            None if cell is None else struct.pack("<q", cell) if isinstance(cell, int)
            else cell.encode() for cell in cells
        ]  # fmt: skip
        lengths = b"".join(struct.pack("<i", -1 if t is None else len(t)) for t in texts)
        values = b"".join(
            t if t is not None else bytes(8) * (name == "duplicate_of") for t in texts
        )
        expected[name] = tuple(hashlib.sha256(part).hexdigest() for part in (lengths, values))
    assert hashes == RowHashes(5, expected)  # type: ignore[arg-type]
    content = {"columns": expected, "rows": 5, "settings": {"batch_size": 20}, "version": 2}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert hashes.digest({"batch_size": 20}) == hashlib.sha256(text.encode()).hexdigest()


def test_messages_are_counted_by_op_without_duplicates(mapping: Path) -> None:
    assert read_plan_content(seal(mapping)).messages == {"link": 2, "relink": 1, "unlink": 1}


def test_a_digest_depends_on_the_options_too() -> None:
    assert NO_ROWS.digest({"batch_size": 20}) != NO_ROWS.digest({"batch_size": 2})
    assert NO_ROWS.digest({"a": 1, "b": 2}) == NO_ROWS.digest({"b": 2, "a": 1})


@pytest.mark.parametrize("size", [0, 40, 700])
def test_a_cut_plan_is_refused(mapping: Path, size: int) -> None:
    plan = seal(mapping)
    plan.write_bytes(plan.read_bytes()[:size])
    with pytest.raises(RunDirError) as caught:
        read_plan_content(plan)
    assert "Error" not in caught.value.message


def test_a_plan_with_columns_of_other_types_is_refused(mapping: Path) -> None:
    plan = seal(mapping)
    changed = plan.with_name("changed.parquet")
    with closing(duckdb.connect()) as database:
        metadata = database.execute(
            f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{plan}')"
        ).fetchall()
        metadata_sql = ", ".join(
            f"{k}: {literal(v)}" for k, v in metadata if not k.startswith("ARROW")
        )
        database.execute(
            f"COPY (SELECT * REPLACE ('one' AS bulklink_row) FROM read_parquet('{plan}'))"
            f" TO '{changed}' (FORMAT parquet, KV_METADATA {{{metadata_sql}}})"
        )
    with pytest.raises(RunDirError, match="damaged"):
        read_plan_content(changed)


def test_hashing_a_plan_can_be_interrupted(mapping: Path) -> None:
    plan, stop = seal(mapping), PlanningStop()
    stop.interrupt()
    with pytest.raises(InterruptedPlanningError):
        read_plan_content(plan, stop)
