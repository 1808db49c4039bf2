"""DuckDB opens the named file and no other, whatever its name."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

import bulklink
from bulklink.duckdb_sql import DuckDBFiles
from bulklink.errors import RunDirError

Query = Callable[[str], list[tuple[object, ...]]]
ROOT = Path(bulklink.__file__).parent
NAMES = [
    *(
        "a[1]",
        "[!a]b",
        "a*b",
        "**",
        "a?",
        "~",
        "~root",
        "$HOME",
        "{a,b}",
        "a\\[1]",
        "a\\b",
        "'",
        '"',
    ),
    *("a=b", "a%2A", "a|b", "a,b", "a\nb", "a;b", " a ", "-a", "a.gz", "a.zst", "a.db", "e\u0301"),
    *("http:", "file:x", "s3:", os.fsdecode(b"\xff[\xfe]"), "n" * 255),
]
"""Names that DuckDB, a shell or a codec could misinterpret."""
DECOYS = {"a[1]": "a1", "[!a]b": "xb", "a*b": "axb", "**": "x", "a?": "ax", "a\\[1]": "a[1]"}
"""Names that match if a nasty name is used as a pattern."""


@pytest.fixture
def files() -> Iterator[DuckDBFiles]:
    with closing(DuckDBFiles()) as files:
        yield files


@pytest.fixture(params=NAMES, ids=ascii)
def nasty_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a path whose last folder and file have the name, with decoys next to both."""
    for name in (DECOYS.get(request.param, "decoy"), request.param):
        for parent in (tmp_path / name, tmp_path / request.param):
            parent.mkdir(exist_ok=True)
            (parent / name).write_text("decoy")
    return Path(tmp_path, request.param, request.param)


@pytest.fixture(scope="module")
def query() -> Iterator[Query]:
    """Return a function that runs a query and returns its rows."""
    with duckdb.connect(config={"temp_directory": ""}) as connection:
        yield lambda sql: connection.execute(sql).fetchall()


def test_the_named_file_is_read_whatever_its_name(
    nasty_path: Path, files: DuckDBFiles, query: Query
) -> None:
    nasty_path.write_text('{"a":"right"}\n')
    options = {"columns": "{a: 'VARCHAR'}", "auto_detect": "false", "delim": "';'", "quote": "''"}
    assert query(f"FROM {files.read_json(nasty_path, {'a': 'VARCHAR'})}") == [("right",)]
    assert query(f"FROM {files.read_csv(nasty_path, options)}") == [('{"a":"right"}',)]


def test_the_named_file_is_written_whatever_its_name(
    nasty_path: Path, files: DuckDBFiles, query: Query
) -> None:
    nasty_path.unlink()
    query(files.copy("SELECT 'right' AS a", nasty_path, "FORMAT parquet", "KV_METADATA {k: 'v'}"))
    assert nasty_path.stat().st_mode & 0o777 == 0o600
    assert query(f"FROM {files.read_parquet(nasty_path)}") == [("right",)]
    assert query(f"SELECT key, value FROM {files.parquet_metadata(nasty_path)}") == [(b"k", b"v")]


def test_data_is_spilled_into_the_named_folder_whatever_its_name(
    nasty_path: Path, files: DuckDBFiles
) -> None:
    spill = files.spill_folder(nasty_path.parent / "spill")
    rows = "SELECT repeat('x', 1000) || range AS a FROM range(40000)"
    with duckdb.connect(config={"temp_directory": spill, "memory_limit": "24MB"}) as connection:
        connection.execute("SET threads = 1")
        connection.execute(f"CREATE TABLE rows AS {rows}")
        assert list((nasty_path.parent / "spill").iterdir())
    assert not (nasty_path.parent / "spill").exists()


@pytest.mark.parametrize("name", ["~rd", "./~rd", "a[1]", "link/../a[1]", "-"])
def test_a_relative_path_names_the_file_that_the_system_opens(
    name: str,
    files: DuckDBFiles,
    query: Query,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "folder")
    (tmp_path / "a[1]").write_text('{"a":"decoy"}')
    Path(name).write_text('{"a":"right"}')
    assert query(f"FROM {files.read_json(Path(name), {'a': 'VARCHAR'})}") == [("right",)]


@pytest.mark.parametrize("name", ["t[m]p", "a=b", "t*", os.fsdecode(b"\xff"), "e\u0301"], ids=ascii)
def test_a_temporary_folder_with_such_a_name_is_not_passed_to_duckdb(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    with closing(DuckDBFiles()) as files:
        assert files.spill_folder(tmp_path / "spill").isascii()
        assert "[" not in files.spill_folder(tmp_path / "spill")
    assert not any((tmp_path / name).iterdir())


def test_the_error_names_the_file_if_no_link_can_be_made(files: DuckDBFiles) -> None:
    with pytest.raises(RunDirError) as failure:
        files.read_parquet(Path("/" + "n/" * 3000))
    assert failure.value.where.startswith("/n/n/")
    assert "TMPDIR" in failure.value.advice
    assert "too long" in failure.value.advice


def test_links_are_removed_with_their_database_but_not_their_targets(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("{}")
    with closing(DuckDBFiles()) as files:
        folder = Path(files.spill_folder(tmp_path / "spill")).parent.parent
        files.read_json(tmp_path / "kept", {})
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert (tmp_path / "kept").exists()


FILE_SQL = re.compile(
    r"\b(?:read_\w+|parquet_\w+|sniff_csv|glob)\(|\bCOPY \(|\bATTACH (?!':memory:')"
    r"|(?<!DISTINCT )\bFROM '"
)
"""SQL that names a file."""


def sql_texts(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of a module that are not docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text


def ways_to_a_file(tree: ast.Module) -> Iterator[str]:
    """Yield code that passes DuckDB a path that did not go through `DuckDBFiles`."""
    yield from filter(FILE_SQL.search, sql_texts(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="literal"), args=[ast.Call(func=ast.Name(id="str"))]):
                yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="duckdb"), attr=name)):
                if not name.endswith("Error") and (name != "connect" or node.args):
                    yield ast.unparse(node)
            case ast.Attribute(attr="read_csv" | "read_json" | "read_parquet", value=source):
                if not ast.unparse(source).endswith("files"):
                    yield ast.unparse(node)
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    option = key.value if isinstance(key, ast.Constant) else ""
                    if option == "temp_directory" and ".spill_folder(" not in ast.unparse(value):
                        yield ast.unparse(node)


def test_no_module_passes_duckdb_a_path_that_is_not_a_link() -> None:
    violations = [
        f"{path.name}: {way}"
        for path in ROOT.rglob("*.py")
        if path != ROOT / "duckdb_sql.py"
        for way in ways_to_a_file(ast.parse(path.read_text("utf-8")))
    ]
    assert violations == []


@pytest.mark.parametrize(
    "code",
    [
        'f"SELECT * FROM read_parquet({literal(name)})"',
        "literal(str(path))",
        "f\"COPY ({query}) TO '{path}'\"",
        "duckdb.connect(path)",
        "duckdb.connect(config={'temp_directory': str(path)})",
        "connection.read_csv(path)",
        "duckdb.from_parquet(path)",
        "f\"ATTACH '{path}'\"",
    ],
)
def test_code_that_passes_duckdb_such_a_path_is_found(code: str) -> None:
    assert list(ways_to_a_file(ast.parse(code)))
