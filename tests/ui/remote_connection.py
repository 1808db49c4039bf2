"""Connection to a CRM of this machine that counts as one of another machine."""

from __future__ import annotations

from typing import Self

from bulklink import Connection


class RemoteConnection(Connection, frozen=True):
    """Connection to a CRM whose changes are to be confirmed."""

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """Return a connection as one to another machine."""
        return cls(*(getattr(connection, name) for name in Connection.__struct_fields__))

    @property
    def loopback(self) -> bool:
        """Whether changes need no confirmation."""
        return False
