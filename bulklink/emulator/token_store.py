"""Store of issued tokens, with a limit on issuing more."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field

import msgspec

from bulklink.emulator.settings import Settings

DEMO_CREDENTIAL = "demo"
"""Client id, client secret and code, and the refresh token that is valid from the start."""


class IssuedToken(msgspec.Struct, frozen=True):
    """The expiry and origin of an access token.

    Args:
        expires_at: when it expires, in seconds since 1970.
        refresh_token: the refresh token that it was issued for.
    """

    expires_at: float
    refresh_token: str


@dataclass(slots=True)
class TokenStore:
    """Access and refresh tokens.

    Args:
        settings: lifetime of access tokens, and how many are issued per window.
        access_tokens: the issued access tokens; expired ones are removed when the next is issued.
        refresh_tokens: the valid refresh tokens.
    """

    settings: Settings
    access_tokens: dict[str, IssuedToken] = field(default_factory=dict, init=False)
    refresh_tokens: set[str] = field(default_factory=lambda: {DEMO_CREDENTIAL}, init=False)
    _issued_count: int = field(default=0, init=False)
    _issue_times: deque[float] = field(default_factory=deque, init=False)
    _refused_until: float = field(default=0.0, init=False)

    def register_request(self, now: float) -> bool:
        """Return whether a request for a token at `now` is throttled.

        A request made while requests are refused prolongs the refusal.
        """
        if not self.settings.tokens_per_window:
            return False
        while self._issue_times and self._issue_times[0] <= now - self.settings.token_window:
            self._issue_times.popleft()
        if now < self._refused_until:
            self._refused_until += self.settings.token_penalty
            return True
        if len(self._issue_times) >= self.settings.tokens_per_window:
            self._refused_until = self._issue_times[0] + self.settings.token_window
            return True
        return False

    def issue(self, refresh_token: str | None, now: float) -> tuple[str, str]:
        """Issue an access token.

        Args:
            refresh_token: the refresh token to issue it for; None issues a new one.
            now: seconds since 1970.

        Returns:
            The access token and its refresh token.
        """
        for expired in [
            name for name, issued in self.access_tokens.items() if issued.expires_at <= now
        ]:
            del self.access_tokens[expired]
        self._issued_count += 1
        self._issue_times.append(now)
        token = _make_token(f"{self.settings.seed}:{self._issued_count}")
        refresh_token = refresh_token or _make_token(f"refresh:{token}")
        self.refresh_tokens.add(refresh_token)
        self.access_tokens[token] = IssuedToken(now + self.settings.expires_in, refresh_token)
        return token, refresh_token

    def revoke(self, token: str) -> bool:
        """Revoke an access token, or a refresh token and all access tokens issued for it.

        Returns:
            Whether the token existed.
        """
        if token not in self.refresh_tokens and token not in self.access_tokens:
            return False
        self.refresh_tokens.discard(token)
        for revoked in [
            name
            for name, issued in self.access_tokens.items()
            if token in (name, issued.refresh_token)
        ]:
            del self.access_tokens[revoked]
        return True


def _make_token(seed: str) -> str:
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return f"1000.{digest[:32]}.{digest[32:]}"
