"""What this machine knows of the epochs of orgs, to notice a database from an old backup.

Epochs only grow. One that this machine has seen before, or a lower one, means that the database has
forgotten what its drivers did since: calls, and the credits that they took.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.atomic_files import write_json
from bulklink.cluster.lease import Lease
from bulklink.decoding import decode_json
from bulklink.errors import BulklinkError, LedgerError
from bulklink.folder_files import check_folder_file, read_small_file
from bulklink.operations.org_lock import org_file_name


class _Seen(msgspec.Struct):
    epoch: int


def check_epoch(folder: Path, cluster: UUID, org_key: str, run: str, lease: Lease) -> None:
    """Refuse a lease whose epoch this machine has seen before, and remember it; blocks.

    Args:
        folder: folder of what this machine remembers.
        cluster: id of the cluster, which a restored database keeps.
        org_key: key of the org.
        run: name of the run.
        lease: the lease, just taken.

    Raises:
        LedgerError: if the database is older than what this machine has seen.
        RunDirError: if it cannot be remembered.
    """
    path = folder / f"{org_file_name(f'{cluster} {org_key}')}.epoch"
    seen = _read(path)
    if lease.epoch <= seen:
        raise LedgerError(
            f"The database was restored from an old backup: it gave the org epoch {lease.epoch},"
            f" and this machine has driven it in epoch {seen}. What was sent since is missing in"
            " its ledgers.",
            where=run,
            advice=Advice(
                "Restore a later backup. If there is none, look at what is on which deal, and give"
                " the run back: {}.",
                NextCall("cluster_resume", run, settings=[Keyword("accept_restored", value=True)]),
            ),
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(path, _Seen(lease.epoch))


def _read(path: Path) -> int:
    with suppress(FileNotFoundError, ValueError, BulklinkError):
        check_folder_file(path)
        return decode_json(read_small_file(path), _Seen).epoch
    return 0
