"""Signed requests to the CRM API."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import msgspec

from bulklink.zoho.error_policy import AnswerClass, classify_outcome
from bulklink.zoho.http import Answer, NoResponse, Request, Transport
from bulklink.zoho.plain_success import PlainSuccessParser
from bulklink.zoho.request_log import CallReference, is_log_enabled, log_request
from bulklink.zoho.secret_mask import SecretMask
from bulklink.zoho.throttling import requested_wait
from bulklink.zoho.tokens import Token, TokenProvider

_ENDS = {b"{": b"}", b"[": b"]"}
"""Last characters of a JSON value by its first."""
_JSON_HEADERS = {"Content-Type": "application/json"}


class ClientResponse(msgspec.Struct, frozen=True):
    """The outcome of a request and the token it was sent with.

    Args:
        outcome: the answer, or why there is none.
        token: the token of the request, to renew it if it was refused.
        answer_class: class of a refusal, see `classify_outcome`; None for a success or no answer.
        success_text: Zoho's text if the answer reports success for each message of the request, in
            order, and nothing else; else None.
    """

    outcome: Answer | NoResponse
    token: Token
    answer_class: AnswerClass | None = None
    success_text: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx, and the answer refuses no call as a whole."""
        return self.answer_class is None and isinstance(self.outcome, Answer)


def is_stray(answer: Answer) -> bool:
    """Return whether the answer to a read is a late answer to another read.

    A stray answer has records and repeats the previous answer; empty lists are always alike.
    """
    content = answer.content if answer.repeated and answer.ok else None
    return isinstance(content, dict) and any(
        isinstance(value, list) and value for value in content.values()
    )


def is_cut(answer: Answer) -> bool:
    """Return whether the end of a successful answer is missing: it is JSON but for its end."""
    begin, end = answer.body.lstrip()[:1], answer.body.rstrip()[-1:]
    return answer.ok and begin in _ENDS and end != _ENDS[begin]


@dataclass(slots=True, repr=False)
class Client:
    """Sends requests to the API host with an access token.

    The token is an argument of `send`, so that a request is sent without further waiting once its
    ledger line is on disk.

    Args:
        tokens: provides the access token of the run.
        transport: sends the requests.
        secrets: secrets to mask in texts of answers, in addition to the access token.
    """

    tokens: TokenProvider
    transport: Transport
    secrets: tuple[str, ...] = ()
    _masks: dict[str, SecretMask] = field(default_factory=dict, init=False)
    _plain_success: PlainSuccessParser = field(default_factory=PlainSuccessParser, init=False)

    async def send(
        self, request: Request, token: Token, reference: CallReference | None = None
    ) -> ClientResponse:
        """Send a request exactly once, without waiting first.

        Args:
            request: the request.
            token: token just returned by `tokens.current`.
            reference: ledger call of the request, for the request log.
        """
        headers = {"Authorization": f"Zoho-oauthtoken {token.access_token}"}
        if request.body is not None:
            headers |= _JSON_HEADERS
        url = f"{token.api_url}{request.target}"
        is_logged = is_log_enabled()
        started = anyio.current_time() if is_logged else 0.0
        success_text: str | None = None
        outcome = await self.transport.send(request.method, url, headers, request.body)
        if isinstance(outcome, Answer) and not request.kind.is_write and is_stray(outcome):
            outcome = NoResponse("the answer to another request arrived")
        if isinstance(outcome, Answer) and not request.kind.is_write and is_cut(outcome):
            outcome = NoResponse("the answer was cut off on its way")
        if isinstance(outcome, Answer):
            outcome = msgspec.structs.replace(outcome, mask=self._mask(token.access_token))
            if request.message_ids:
                success_text = self._plain_success.parse(request.message_ids, outcome)
        answer_class = classify_outcome(outcome) if success_text is None else None
        if answer_class is not None and isinstance(outcome, Answer):
            outcome = msgspec.structs.replace(outcome, retry_after=requested_wait(outcome))
        if is_logged:
            duration = anyio.current_time() - started
            log_request(request.method, url, outcome, duration, reference)
        return ClientResponse(outcome, token, answer_class, success_text)

    def _mask(self, access_token: str) -> SecretMask:
        """Return a cached mask of the secrets and all tokens so far; building one is slow."""
        mask = self._masks.get(access_token)
        if mask is None:
            mask = SecretMask(access_token, *self._masks, *self.secrets)
            self._masks[access_token] = mask
        return mask
