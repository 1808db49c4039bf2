"""Result of a probe, and the file that it writes."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.operations.probing.experiments import EXPERIMENTS
from bulklink.operations.probing.observer import OBSERVED_QUESTIONS
from bulklink.operations.probing.values import Answers, ProbeAnswer, Question

PROBE_FILE_VERSION = 1
QUESTIONS: tuple[Question, ...] = (
    *(question for experiment in EXPERIMENTS for question in experiment.questions),
    *OBSERVED_QUESTIONS,
)
"""All questions in order."""


class AnsweredQuestion(msgspec.Struct, frozen=True):
    """A question and what a probe found out about it.

    Args:
        key: key of the question in the file.
        question: the question.
        option: option of `bulklink emulator` for it, without its dashes; empty if there is none.
        answer: the answer; None if it is unknown.
        reason: why it is unknown; empty if it is known.
        seen: HTTP status and codes that the CRM answered; may be empty.
    """

    key: str
    question: str
    option: str
    answer: str | None
    reason: str
    seen: str


class ProbeResult(msgspec.Struct, frozen=True):
    """Result of a probe.

    Args:
        file: the file that was written; None if none was.
        answers: the questions with their answers; empty if the probe did not reach its end.
        restored: emails that may have been changed and are as before.
        not_restored: emails that are not as before, or could not be read.
        folder: folder that keeps what the emails were on, if some are not as before.
        calls: requests by kind.
        credits: credits spent.
        stopped_by: why it stopped; None if it reached its end.
        exit_code: exit code of the command.
    """

    file: str | None
    answers: tuple[AnsweredQuestion, ...]
    restored: int
    not_restored: int
    folder: str | None
    calls: dict[str, int]
    credits: int
    stopped_by: str | None
    exit_code: int


def answered_questions(answers: Answers) -> tuple[AnsweredQuestion, ...]:
    """Return all questions with their answers."""
    unasked = ProbeAnswer(reason="It was not asked.")
    rows = []
    for question in QUESTIONS:
        answer = answers.get(question.key, unasked)
        rows.append(
            AnsweredQuestion(
                question.key,
                question.text,
                question.option,
                answer.answer,
                answer.reason,
                answer.seen,
            )
        )
    return tuple(rows)


def write_probe_file(path: Path, answers: Answers) -> None:
    """Write the answers to a file that identifies nobody.

    Raises:
        RunDirError: if it cannot be written.
    """
    content: dict[str, Any] = {
        "version": PROBE_FILE_VERSION,
        "bulklink": version("bulklink"),
        "answers": {key: msgspec.to_builtins(answer) for key, answer in answers.items()},
    }
    with atomic_replace(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
