"""Compressed mappings: detected by their first bytes, streamed, refused if damaged."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulklink.errors import BadFileError
from bulklink.mapping.database import PLANNING_MEMORY
from bulklink.mapping.input.content import load_content
from bulklink.mapping.input.files import find_sources
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
def test_a_compressed_file_is_read_and_its_original_bytes_are_hashed(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(TEXT)
    checked = planner.check([planner.write(packed, f"m.CSV{suffix.upper()}")])
    assert checked.messages == 2
    (input_file,) = checked.inputs
    assert (input_file.sha256, input_file.bytes) == (
        hashlib.sha256(packed).hexdigest(),
        len(packed),
    )


@packed
def test_a_regular_compressed_file_is_read_by_duckdb(
    planner: MappingPlanner, empty_stdin: io.BytesIO, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    (source,) = find_sources([planner.write(pack(TEXT), f"m.csv{suffix}")])
    prepared = prepare_input(
        source, LINK, planner.scratch, empty_stdin, PlanningStop(), PLANNING_MEMORY
    )
    assert not prepared.csv_input.staged
    prepared.discard()


@packed
def test_several_compressed_parts_are_one_file(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    parts = pack(TEXT) + pack(b"") + pack(b"1,2,c,5,z\n")
    planned = planner.plan(parts, name=f"m.csv{suffix}")
    assert [row["Note"] for row in planned.plan] == ["x", "y", "z"]


@packed
@pytest.mark.parametrize("size", [5, 12, -9, -1])
def test_a_truncated_compressed_file_is_refused(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes], size: int
) -> None:
    name = planner.write(pack(TEXT)[:size], f"m.csv{suffix}")
    with pytest.raises(BadFileError, match="cut off") as raised:
        planner.plan_files([name])
    assert raised.value.where == name
    assert list(planner.scratch.iterdir()) == []


@packed
@pytest.mark.parametrize("place", ["inside", "after"])
def test_a_damaged_compressed_file_is_refused(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes], place: str
) -> None:
    packed = pack(b"".join(b"%d,2,%d,5,x\n" % (n, n * n) for n in range(1000)))
    damaged = {
        "inside": packed[:200] + bytes(byte ^ 0xFF for byte in packed[200:220]) + packed[220:],
        "after": packed + b"something else",
    }[place]
    with pytest.raises(BadFileError, match=r"damaged|ends at byte .* other bytes follow"):
        planner.plan(damaged, name=f"m.csv{suffix}")


@packed
@pytest.mark.parametrize("name", ["m.csv", "m.xlsx", "m", "m.dat", "m.jsonl.gz", "m.csv.zst"])
def test_compression_is_detected_by_the_first_bytes(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes], name: str
) -> None:
    line = b'{"contact_id":1,"owner_id":2,"message_id":"m","deal_id":5}\n'
    assert planner.plan(pack(line), name=name).messages == 1
    assert planner.plan(pack(TEXT), name=f"2{name}").messages == 2
    planned = planner.plan_files(["-"], standard_input=io.BytesIO(pack(TEXT)))
    assert planned.messages == 2


@packed
@pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 1, (1 << 20) + 1, 3_000_000])
def test_a_part_that_ends_at_a_block_is_followed_by_the_next(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes], size: int
) -> None:
    noise = random.Random(size).randbytes(size).hex()[:size]
    long = f"1,2,b,5,{noise[:200_000]}\n" + "".join(
        f"1,2,{noise[n : n + 500]},5,x\n" for n in range(200_000, size - 500, 500)
    )
    packed_parts = pack(HEADER.encode()) + pack(long.encode()) + pack(b"1,2,last,5,z\n")
    planned = planner.plan(packed_parts, name=f"m{suffix}")
    assert planned.rejected == 0
    assert planned.rows == long.count("\n") + 1


@packed
def test_a_compressed_empty_file_is_empty(
    planner: MappingPlanner, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(BadFileError, match="empty"):
        planner.plan(pack(b""), name=f"m.csv{suffix}")


@pytest.mark.parametrize("name", ["m.csv.gz", "m.zst", "m.xlsx", "m.parquet", "m.zip"])
def test_text_under_the_name_of_another_format_is_read_as_text(
    planner: MappingPlanner, name: str
) -> None:
    assert planner.plan(TEXT, name=name).messages == 2


def test_bytes_after_the_last_gzip_member_are_named_and_the_advice_works(
    planner: MappingPlanner,
) -> None:
    packed_text = gzip.compress(TEXT)
    with pytest.raises(BadFileError, match=f"ends at byte {len(packed_text)}") as raised:
        planner.plan(packed_text + b"something else", name="m.csv.gz")
    assert "gzip -dc" in raised.value.advice
    assert planner.plan(gzip.decompress(packed_text)).messages == 2
    assert planner.plan(packed_text + b"\0" * 600, name="m.csv.gz").messages == 2


def test_a_window_beyond_the_memory_limit_is_refused_before_it_is_read(
    planner: MappingPlanner,
) -> None:
    options = {int(zstd.CompressionParameter.window_log): 27}
    compressor = zstd.ZstdCompressor(options=options)
    name = planner.write(compressor.compress(TEXT) + compressor.flush(), "m.csv.zst")
    with pytest.raises(BadFileError, match="window of 128 MiB") as raised:
        planner.plan_files([name], memory="200MB")
    assert "memory='256MiB'" in raised.value.advice
    assert planner.plan_files([name], memory="256MiB").messages == 2


@packed
def test_a_large_file_is_unpacked_in_little_memory(
    planner: MappingPlanner, empty_stdin: io.BytesIO, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    (source,) = find_sources(
        [planner.write(pack(TEXT + b"1,2,c,5,z\n" * 4_000_000), f"m.csv{suffix}")]
    )
    tracemalloc.start()
    content = load_content(source, LINK, planner.scratch, empty_stdin, PlanningStop(), 512_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert Path(content.path).stat().st_size > 40_000_000
    assert peak < 12_000_000
    content.discard()
