"""Decoding in several threads, and that all of the package decodes this way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import bulklink
from bulklink.decoding import convert, decode_json

_PACKAGE = Path(bulklink.__file__).parent
_FIRST_USES = """
import sys, threading
import msgspec
from bulklink.decoding import convert, decode_json, json_decoder

DECODE = {
    "decode_json": lambda wanted: decode_json(b'{"outer": [{"inner": 1}]}', wanted),
    "json_decoder": lambda wanted: json_decoder(wanted).decode(b'{"outer": [{"inner": 1}]}'),
    "convert": lambda wanted: convert({"outer": [{"inner": 1}]}, wanted),
}[sys.argv[1]]
sys.setswitchinterval(1e-6)
for number in range(300):
    fields = [(f"unused_{index}", "int | None", None) for index in range(20)]
    inner = msgspec.defstruct(f"Inner{number}", [("inner", int), *fields], module=__name__)
    globals()[inner.__name__] = inner
    texts = [(f"unused_{index}", f"tuple[Inner{number}, ...]", ()) for index in range(20)]
    outer = [("outer", f"tuple[Inner{number}, ...]"), *texts]
    wanted = msgspec.defstruct(f"Outer{number}", outer, module=__name__)
    barrier, decoded = threading.Barrier(3), []

    def decode():
        barrier.wait()
        decoded.append(DECODE(wanted))

    threads = [threading.Thread(target=decode) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [value.outer[0].inner for value in decoded] == [1, 1, 1]
"""
"""First uses of 300 types, by three threads each."""


class _Point(msgspec.Struct):
    x: int


@pytest.mark.parametrize("function", ["decode_json", "json_decoder", "convert"])
def test_three_threads_may_be_the_first_to_decode_a_type(function: str) -> None:
    command = [sys.executable, "-c", _FIRST_USES, function]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_wrong_type_is_refused() -> None:
    assert decode_json(b'{"x": 1}', _Point) == convert({"x": 1}, _Point) == _Point(1)
    with pytest.raises(msgspec.ValidationError):
        decode_json(b'{"x": "1"}', _Point)
    with pytest.raises(msgspec.ValidationError):
        convert({"x": "1"}, _Point)


def _decoding_without_lock(code: str) -> Iterator[str]:
    """Yield the calls by which a module decodes into types on its own."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        typed = called == "msgspec.json.decode" and (len(node.args) > 1 or node.keywords)
        if typed or called in {"msgspec.convert", "msgspec.json.Decoder"}:
            yield ast.unparse(node)


def test_no_other_module_decodes_into_types() -> None:
    found = [
        f"{path.relative_to(_PACKAGE)}: {call}"
        for path in _PACKAGE.rglob("*.py")
        if path.name != "decoding.py" and path.relative_to(_PACKAGE).parts[0] != "emulator"
        for call in _decoding_without_lock(path.read_text("utf-8"))
    ]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "msgspec.json.decode(line, type=Run)",
        "msgspec.convert(values, Run)",
        "decode = msgspec.json.Decoder(Run).decode",
    ],
)
def test_such_decoding_is_found(code: str) -> None:
    assert list(_decoding_without_lock(code))
