"""Files of probes: which settings they determine, and what is wrong with a file that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bulklink.emulator.like import LikedOrg, LikeError, read_probe_file
from bulklink.emulator.settings import MixedAnswer, Settings


def read(folder: Path, answers: dict[str, str | None], **content: Any) -> LikedOrg:
    """Write a file with these answers and read it."""
    objects = {key: {} if text is None else {"answer": text} for key, text in answers.items()}
    file = folder / "probe.json"
    file.write_text(json.dumps({"version": 1, "answers": objects} | content))
    return read_probe_file(file)


def test_known_answers_become_settings_and_unknown_ones_are_named(tmp_path: Path) -> None:
    org = read(
        tmp_path,
        {
            "same-deal": "success",
            "link-source": "workflow",
            "read-credits": "2",
            "mixed-status": "207",
            "mixed-order": "reversed",
            "unlinked": None,
            "mixed-good": None,
        },
    )
    assert org.apply(Settings(latency=3), frozenset()) == Settings(
        same_deal="success",
        link_source="workflow",
        read_credits=2,
        mixed_answer=MixedAnswer(status=207, order="reversed"),
        latency=3,
    )
    assert (org.unknown, org.unsupported) == (("unlinked", "mixed-good"), ())


def test_settings_that_the_user_chose_are_kept(tmp_path: Path) -> None:
    org = read(tmp_path, {"same-deal": "success", "names": "optional", "mixed-status": "200"})
    chosen = frozenset({"same_deal", "mixed_answer"})
    assert org.apply(Settings(), chosen) == Settings(names="optional")


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("same-deal", "no-permission"),
        ("mixed-status", "422"),
        ("mixed-colour", "red"),
        ("read-credits", "-1"),
        ("read-credits", "9" * 5000),
        ("read-credits", "0" * 10 + "9" * 5000),
        ("link-source", "Acme Ltd"),
        ("latency", "5"),
        ("seed", "5"),
        ("permissions", "none"),
        ("__init__", "x"),
    ],
)
def test_an_answer_that_no_setting_can_express_is_named(
    key: str, answer: str, tmp_path: Path
) -> None:
    org = read(tmp_path, {key: answer})
    assert org.apply(Settings(), frozenset()) == Settings()
    assert org.unsupported == (f"{key}: {answer[:100]}",)


def test_answers_about_mixed_calls_that_no_setting_can_combine_are_named(tmp_path: Path) -> None:
    org = read(tmp_path, {"mixed-good": "success", "mixed-applied": "some", "mixed-status": "207"})
    assert org.apply(Settings(), frozenset()) == Settings()
    assert org.unsupported == ("mixed-applied: some", "mixed-good: success", "mixed-status: 207")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not the file of a probe"),
        (b"\xff\xfe", "not the file of a probe"),
        (b"[1]", "not the file of a probe"),
        (b"{}", "missing required field `version`"),
        (b'{"version":1,"answers":{"names":"optional"}}', "Expected `object`"),
        (b'{"version":1,"answers":{"names":{"answer":5}}}', "Expected `str | null`"),
        (b'{"version":2,"answers":[]}', "of version 2, and this bulklink reads versions up to 1"),
        (b'{"version":1,"answers":' + b"[" * 100_000, "not the file of a probe"),
        (b" " * ((1 << 20) + 1), "larger than 1 MiB"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_file_that_is_none_of_a_probe_is_refused(
    content: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(LikeError) as caught:
        read_probe_file(tmp_path / "file")
    assert problem in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(LikeError, match="cannot be read: "):
            read_probe_file(path)
