"""Reading of the replies to the calls of a probe; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bulklink.operations.probing.values import Answers, ExperimentError, ProbeAnswer
from bulklink.zoho.answer_shape import AnswerShape, EntryShape, visible_code
from bulklink.zoho.error_codes import Code
from bulklink.zoho.link_response import ParsedAnswer

LOST = "An answer was lost on the way: probe again."
UNREADABLE = "The answer does not say what became of the email."
_SAME_ENTRIES = "The entries are indistinguishable."
_WORDINGS = {
    "email has been linked with the deal successfully": "pages",
    "Email linked to the record successfully": "openapi",
}


class Reply(msgspec.Struct, frozen=True):
    """The reply to a link or unlink call.

    Args:
        parsed: what it says about each message.
        shape: its shape; None if an answer was lost, so that nothing can be concluded.
    """

    parsed: ParsedAnswer
    shape: AnswerShape | None

    def code(self, message_id: str) -> str:
        """Return the code for a message; empty if the reply does not say what became of it."""
        verdict = self.parsed.verdicts.get(message_id) or self.parsed.call_verdict
        return visible_code(verdict.code) if verdict else ""

    def accepts(self, message_id: str) -> bool:
        """Return whether a message was changed, or is as wanted already."""
        return self.code(message_id) == Code.SUCCESS

    @property
    def seen(self) -> str:
        """HTTP status and codes."""
        if self.shape is None:
            return ""
        return " ".join([f"HTTP {self.shape.status}", *self.shape.codes])

    def require_shape(self) -> AnswerShape:
        """Return the shape.

        Raises:
            ExperimentError: if an answer was lost.
        """
        if self.shape is None:
            raise ExperimentError(LOST)
        return self.shape


def read_verdict(reply: Reply, message_id: str, words: Mapping[str, str]) -> ProbeAnswer:
    """Return the answer that the code for a message stands for.

    Args:
        reply: reply to the call.
        message_id: the message.
        words: answers by code; another code is its own answer, in lower case.

    Raises:
        ExperimentError: if there is no verdict on the message.
    """
    reply.require_shape()
    code = reply.code(message_id)
    if not code:
        raise ExperimentError(UNREADABLE, reply.seen)
    return ProbeAnswer(words.get(code, _word(code)), seen=reply.seen)


def read_name_replies(with_names: Reply, ids_alone: Reply, message_id: str) -> ProbeAnswer:
    """Return whether a link needs, allows or refuses names.

    Args:
        with_names: reply to a link with the names of owner and deal.
        ids_alone: reply to a link without names.
        message_id: the message of both.
    """
    answers = {
        (True, True): "optional",
        (True, False): "required",
        (False, True): "refused",
    }
    refused = ids_alone if with_names.accepts(message_id) else with_names
    key = (with_names.accepts(message_id), ids_alone.accepts(message_id))
    return ProbeAnswer(answers.get(key), seen=refused.seen)


def read_wording(replies: Sequence[Reply]) -> ProbeAnswer:
    """Return whose words the text of a success has."""
    shapes = [reply.shape for reply in replies if reply.shape is not None]
    texts = [entry.text for shape in shapes for entry in shape.entries if entry.is_success]
    if not texts:
        return ProbeAnswer(reason="No success had a text.")
    return ProbeAnswer(_WORDINGS.get(texts[0], "other"))


def read_over_max(most: Reply, one_more: Reply) -> ProbeAnswer:
    """Return how a call with one email too many is answered.

    The emails of both calls do not exist, so both are refused: what differs is due to the number.

    Args:
        most: reply to a call with the documented maximum of emails.
        one_more: reply to a call with one more.
    """
    expected, shape = most.require_shape(), one_more.require_shape()
    if Code.LIMIT_EXCEEDED in expected.codes:
        return ProbeAnswer(
            reason="The documented maximum of 20 emails is refused too.", seen=most.seen
        )
    new_codes = [code for code in shape.codes if code not in expected.codes]
    if new_codes:
        return ProbeAnswer(_word(new_codes[0]), seen=one_more.seen)
    error, expected_error = shape.call_error, expected.call_error
    if error is None:
        return ProbeAnswer("accept", seen=one_more.seen)
    if expected_error is None or _names_email(error) != _names_email(expected_error):
        return ProbeAnswer(_word(error.code), seen=one_more.seen)
    if _names_email(error):
        return ProbeAnswer("accept", seen=one_more.seen)
    return ProbeAnswer(reason="20 and 21 emails have the same answer.", seen=one_more.seen)


def _names_email(entry: EntryShape) -> bool:
    return entry.index is not None or entry.message_id is not None


def read_single_answer(reply: Reply, message_id: str) -> ProbeAnswer:
    """Return the shape of the success of a single link."""
    entries = reply.require_shape().entries
    if entries and entries[0].is_echo:
        return ProbeAnswer("echo", seen=reply.seen)
    return read_verdict(reply, message_id, {Code.SUCCESS: "success"})


def read_single_error(reply: Reply) -> ProbeAnswer:
    """Return the shape of the error of a single link."""
    shape = reply.require_shape()
    if shape.call_error is not None:
        return ProbeAnswer("flat", seen=reply.seen)
    if not any(entry.is_error for entry in shape.entries):
        raise ExperimentError("A link to a deal that does not exist is not refused.", reply.seen)
    return ProbeAnswer("nested" if shape.entries[0].nested else "list", seen=reply.seen)


def read_mixed(
    reply: Reply, message_ids: Sequence[str], good: Sequence[int], applied: Sequence[bool]
) -> Answers:
    """Return the shape of the answer to a call with valid and invalid emails.

    Args:
        reply: reply to the call.
        message_ids: its messages in order.
        good: positions of the valid ones.
        applied: whether each valid one was changed.
    """
    shape = reply.require_shape()
    changed = "yes" if all(applied) else "some" if any(applied) else "no"
    answers = {
        "mixed-status": ProbeAnswer(str(shape.status), seen=reply.seen),
        "mixed-applied": ProbeAnswer(changed),
    }
    if shape.call_error is not None:
        return answers | {
            "mixed-shape": ProbeAnswer("call"),
            "mixed-named": ProbeAnswer(_naming([shape.call_error])),
            "mixed-good": ProbeAnswer("omitted"),
            "mixed-order": ProbeAnswer(reason=_SAME_ENTRIES),
        }
    errors = [entry for entry in shape.entries if entry.is_error]
    if not errors:
        raise ExperimentError("Emails that do not exist are not refused.", reply.seen)
    return answers | {
        "mixed-shape": ProbeAnswer("nested" if errors[0].nested else "flat"),
        "mixed-named": ProbeAnswer(_naming(errors)),
        "mixed-good": ProbeAnswer(_good_entry(shape.entries)),
        "mixed-order": _order(shape.entries, message_ids, good),
    }


def _naming(errors: Sequence[EntryShape]) -> str:
    by_path = all(entry.index is not None for entry in errors)
    by_id = all(entry.message_id is not None for entry in errors)
    if by_path and by_id:
        return "both"
    return "json-path" if by_path else "message-id" if by_id else "none"


def _good_entry(entries: Sequence[EntryShape]) -> str:
    if any(entry.is_success for entry in entries):
        return "success"
    return "empty" if any(not entry.is_error for entry in entries) else "omitted"


def _order(
    entries: Sequence[EntryShape], message_ids: Sequence[str], good: Sequence[int]
) -> ProbeAnswer:
    """Return the order of the entries, as far as they can be distinguished."""
    is_omitted = len(entries) == len(message_ids) - len(good)
    expected = [n for n in range(len(message_ids)) if not (is_omitted and n in good)]
    if len(entries) != len(expected):
        return ProbeAnswer(reason="The answer has another number of entries than the call.")

    def fits(positions: Sequence[int]) -> bool:
        return all(
            _is_entry_of(entry, position, message_ids, good)
            for entry, position in zip(entries, positions, strict=True)
        )

    in_order, reversed_order = fits(expected), fits(expected[::-1])
    if in_order and reversed_order:
        return ProbeAnswer(reason=_SAME_ENTRIES)
    return ProbeAnswer("sent" if in_order else "reversed" if reversed_order else "shuffled")


def _is_entry_of(
    entry: EntryShape, position: int, message_ids: Sequence[str], good: Sequence[int]
) -> bool:
    """Return whether an entry can be that of the message at a position."""
    return (
        entry.index in (None, position)
        and entry.message_id in (None, message_ids[position])
        and entry.is_error is (position not in good)
    )


def _word(code: str) -> str:
    return code.lower().replace("_", "-")
