"""The calls that change: how tracks are cut into them, what each asks, what came back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from bulklink.engine.batching import link_batches, unlink_batches
from bulklink.engine.caller import Exchange
from bulklink.engine.context import Sending
from bulklink.engine.message_state import Need, Track
from bulklink.models import Op
from bulklink.zoho import requests
from bulklink.zoho.error_policy import AnswerClass, class_of
from bulklink.zoho.http import Request, Silence
from bulklink.zoho.link_response import Reading, Verdict, read_answer


def batches_of(tracks: Sequence[Track], need: Need, sending: Sending) -> Iterable[list[Track]]:
    """Cut tracks into calls: per owner and lot, unlinks packed by the length of their ids."""
    shared = sending.by_contact and need is not Need.UNLINK
    by_row = {track.message.row: track for track in tracks}
    cut = unlink_batches if need is Need.UNLINK else link_batches

    def group(track: Track) -> tuple[str, int]:
        return "" if shared else track.message.owner_id, track.lot

    for _, members in groupby(sorted(tracks, key=group), key=group):
        for batch in cut([track.message for track in members], sending.batch_size):
            yield [by_row[message.row] for message in batch]


def relinks(batch: Sequence[Track]) -> bool:
    """Tell whether a batch carries relinks."""
    return any(track.message.op is Op.RELINK for track in batch)


def may_be_applied(verdict: Verdict) -> bool:
    """Tell whether a refusal is a failure of the server, after which anything can be true."""
    return class_of(verdict.http_status, verdict.code) in (AnswerClass.AGAIN, AnswerClass.BUSY)


def read_writing(
    batch: Sequence[Track], need: Need, exchange: Exchange, sending: Sending
) -> Reading:
    """Read what came back from a link or unlink call; silence names nobody."""
    if isinstance(exchange.outcome, Silence):
        return Reading({})
    single = len(batch) == 1 and sending.single_endpoint and need is not Need.UNLINK
    ids = [track.message.message_id for track in batch]
    return read_answer(ids, exchange.outcome, echo_of=batch[0].target[0] if single else None)


def request_for(batch: Sequence[Track], need: Need, sending: Sending) -> Request:
    """Return the request that does what these messages need."""
    messages = [track.message for track in batch]
    one = len(batch) == 1 and sending.single_endpoint
    if need is Need.UNLINK:
        return requests.unlink_one(messages[0]) if one else requests.unlink(messages)
    deals = [track.target for track in batch]
    if one:
        return requests.link_one(messages[0], deals[0], sending.module_id, names=sending.names)
    return requests.link(messages, deals, sending.module_id, names=sending.names)
