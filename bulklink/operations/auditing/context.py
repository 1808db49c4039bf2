"""What the steps of an audit's reading share: session, folder, record, and the question of cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from bulklink.mapping.audit_lists import AuditLists
from bulklink.operations.auditing.folder import AuditFolder, AuditRecord
from bulklink.operations.auditing.log import AuditProgress
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.fetching.confirmation import confirm_credits
from bulklink.operations.session import CrmSession
from bulklink.runs.forecast import CreditRange

_MOST_PAGES = 2
"""Pages that a list may have on average, in a forecast."""


@dataclass(slots=True)
class ReadingContext:
    """What the steps of a reading share.

    Args:
        session: open session.
        folder: folder of the audit, with its sorted emails.
        record: identity of the audit.
        progress: what earlier commands read.
        callbacks: called with phases, cost, progress and warnings.
        yes: whether the cost needs no confirmation.
    """

    session: CrmSession
    folder: AuditFolder
    record: AuditRecord
    progress: AuditProgress
    callbacks: RunCallbacks
    yes: bool

    @property
    def lists(self) -> AuditLists:
        """The lists of what is still to be read; what was logged must be on disk."""
        return AuditLists(self.folder.emails, self.folder.log, self.session.interrupt)

    def save(self, **changes: Any) -> None:
        """Change the record."""
        self.record = msgspec.structs.replace(self.record, **changes)
        self.folder.write(self.record)

    def append(self, *lines: bytes) -> None:
        """Log lines.

        Raises:
            LedgerError: if an earlier write failed.
        """
        self.session.ledger.append(*lines)

    def confirm(self, step: str, description: str, calls: int) -> None:
        """Show the cost of a step, and ask once if it is much.

        Args:
            step: name of the step.
            description: what is read.
            calls: minimum calls, each of one credit.

        Raises:
            NotConfirmedError: if the answer is no.
        """
        credit_range = CreditRange(calls, calls, _MOST_PAGES * calls)
        self.callbacks.on_cost(description, credits_at_least=calls, credit_range=credit_range)
        if step not in self.record.confirmed:
            confirm_credits(
                self.callbacks, description, credit_range, yes=self.yes, folder=self.folder.path
            )
            self.save(confirmed=self.record.confirmed | {step})
