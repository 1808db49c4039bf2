"""Who may use the page: checks of every request (pure).

A page on the loopback interface is reachable from any website in the same browser and by any user
of the machine. So each request carries the token, and comes from the page itself or from the
address bar. No cookie is used: browsers send those of one port to every other port of the machine.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from hmac import new as new_hmac

import msgspec

_HOSTS = ("127.0.0.1", "localhost")
_DEFAULT_PORT = 80
"""Port that browsers leave out."""
_SAME_SITE = ("same-origin", "none")


class RequestOrigin(msgspec.Struct, frozen=True):
    """Where a request comes from, as the browser says; None for a header that is missing.

    Args:
        method: HTTP method.
        hosts: all `Host` headers.
        origin: `Origin`.
        site: `Sec-Fetch-Site`.
        mode: `Sec-Fetch-Mode`.
        token: token of the request, from its query, its form or its header.
        path: path of its address.
        ticket: ticket of its address.
    """

    method: str
    hosts: tuple[str, ...]
    origin: str | None = None
    site: str | None = None
    mode: str | None = None
    token: str | None = None
    path: str = ""
    ticket: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """Why a request is refused.

    Args:
        status: HTTP status.
        reason: reason for the user.
    """

    status: int
    reason: str


class Access(msgspec.Struct, frozen=True):
    """Decides which requests are served.

    Args:
        port: port of the page.
        token: token that each request carries.
    """

    port: int
    token: str

    def __repr__(self) -> str:
        return f"Access({self.port}, …)"

    def refuse_origin(self, request: RequestOrigin) -> Refusal | None:
        """Return why a request is refused whatever its token, or None.

        Forms of the page have the origin `null`, as its policy is to send no referrer; the browser
        says by another header that they are of the page.
        """
        if len(request.hosts) != 1 or request.hosts[0].lower() not in self._names():
            return Refusal(421, "This address is not the one that the page is served at.")
        is_own = request.origin in (None, *(f"http://{name}" for name in self._names()))
        is_own_form = request.origin == "null" and request.site == "same-origin"
        if not is_own and not is_own_form:
            return Refusal(403, "The request comes from another page.")
        is_navigation = request.method == "GET" and request.mode == "navigate"
        if request.site is not None and request.site not in _SAME_SITE and not is_navigation:
            return Refusal(403, "The request comes from another page.")
        return None

    def refuse_token(self, request: RequestOrigin) -> Refusal | None:
        """Return why a request without the right token is refused, or None.

        The ticket of a page opens that page.
        """
        if request.method == "GET" and _is_same(request.ticket, self.ticket(request.path)):
            return None
        if not request.token:
            return Refusal(401, "Open the address that `bulklink ui` printed.")
        if not _is_same(request.token, self.token):
            return Refusal(
                403,
                "This address is of an earlier `bulklink ui`, or was changed. Open the one that the"
                " current one printed.",
            )
        return None

    def ticket(self, path: str) -> str:
        """Return what opens one page and does nothing else, so that the page itself may know it.

        Args:
            path: path of the page.
        """
        return new_hmac(
            self.token.encode(), path.encode(errors="surrogatepass"), sha256
        ).hexdigest()

    def _names(self) -> list[str]:
        if self.port == _DEFAULT_PORT:
            return list(_HOSTS)
        return [f"{host}:{self.port}" for host in _HOSTS]


def _is_same(given: str | None, secret: str) -> bool:
    return given is not None and compare_digest(
        given.encode(errors="surrogateescape"), secret.encode()
    )
