"""Mappings that are compressed: by the end of their name, streamed, damaged ones refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.input.files import InputFormat, find_sources, load_content
from bulklink.mapping.input.prepare import prepare_input
from bulklink.mapping.interrupt import PlanningStop
from tests.mapping.planner import HEADER, LINK, MappingPlanner

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable


def by_zstd(content: bytes) -> bytes:
    """Compress as the command zstd does, with a checksum."""
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


PACKERS = {".gz": gzip.compress, ".zst": by_zstd}
TEXT = (HEADER + "1,2,a,5,x\n" + "1,2,b,5,y\n").encode()

packed = pytest.mark.parametrize(("suffix", "pack"), PACKERS.items(), ids=PACKERS)


@packed
def test_a_compressed_file_is_read_and_hashed_as_it_was_given(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    given = pack(TEXT)
    checked = planner.check([planner.write(given, f"m.CSV{suffix.upper()}")])
    assert checked.messages == 2
    (input_file,) = checked.inputs
    assert (input_file.sha256, input_file.bytes) == (hashlib.sha256(given).hexdigest(), len(given))


@packed
def test_a_regular_file_that_is_compressed_is_read_by_duckdb_itself(
    planner: MappingPlanner, empty_stdin: io.BytesIO, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    (source,) = find_sources([planner.write(pack(TEXT), f"m.csv{suffix}")])
    prepared = prepare_input(source, LINK, planner.scratch, empty_stdin, PlanningStop())
    assert not prepared.csv_input.staged
    prepared.discard()


@packed
def test_several_compressed_parts_are_one_file(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    parts = pack(TEXT) + pack(b"") + pack(b"1,2,c,5,z\n")
    found = planner.plan(parts, name=f"m.csv{suffix}")
    assert [row["Note"] for row in found.plan] == ["x", "y", "z"]


@packed
@pytest.mark.parametrize("kept", [3, 12, -9, -1])
def test_a_compressed_file_that_is_cut_off_is_refused(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes], kept: int
) -> None:
    name = planner.write(pack(TEXT)[:kept], f"m.csv{suffix}")
    with pytest.raises(BadFileError, match="cut off") as raised:
        planner.plan_files([name])
    assert raised.value.where == name
    assert list(planner.scratch.iterdir()) == []


@packed
@pytest.mark.parametrize("how", ["plain", "inside", "behind"])
def test_a_compressed_file_that_is_damaged_is_refused(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes], how: str
) -> None:
    given = pack(b"".join(b"%d,2,%d,5,x\n" % (n, n * n) for n in range(1000)))
    damaged = {
        "plain": TEXT,
        "inside": given[:200] + bytes(byte ^ 0xFF for byte in given[200:220]) + given[220:],
        "behind": given + b"something else",
    }[how]
    with pytest.raises(BadFileError, match="damaged"):
        planner.plan(damaged, name=f"m.csv{suffix}")


@packed
def test_the_inner_end_of_the_name_tells_the_format(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    line = b'{"contact_id":1,"owner_id":2,"message_id":"m","deal_id":5}'
    assert planner.plan(pack(line), name=f"m.jsonl{suffix}").messages == 1
    bare = planner.write(pack(TEXT), f"m{suffix}")
    with pytest.raises(UsageError):
        find_sources([bare])
    assert find_sources([bare], "csv")[0].format is InputFormat.CSV


@packed
def test_a_compressed_file_of_nothing_is_empty(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(BadFileError, match="empty"):
        planner.plan(pack(b""), name=f"m.csv{suffix}")


@packed
def test_the_error_of_a_compressed_file_with_another_extension_names_the_right_one(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(BadFileError, match="compressed") as raised:
        planner.plan(pack(TEXT), name="m.csv")
    assert suffix in raised.value.advice


@packed
def test_a_large_file_is_unpacked_in_little_memory(
    planner: MappingPlanner, empty_stdin: io.BytesIO, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    (source,) = find_sources(
        [planner.write(pack(TEXT + b"1,2,c,5,z\n" * 4_000_000), f"m.csv{suffix}")]
    )
    tracemalloc.start()
    content = load_content(source, LINK, planner.scratch, empty_stdin, PlanningStop())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert Path(content.path).stat().st_size > 40_000_000
    assert peak < 12_000_000
    content.discard()
