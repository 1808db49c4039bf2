"""The command line of a driver, and what of it a submission stores."""

from __future__ import annotations

import sys

from bulklink.cluster.runs import ClusterRun
from bulklink.errors import RunDirError
from bulklink.operations.job_options import LIMIT_OPTIONS

STORED_OPTIONS = LIMIT_OPTIONS - {"yes", "wait_for_org", "expect_org", "canary", "sync"}
"""Options of sending that a submission may set. The rest are its own, or fixed in a cluster."""


def driver_command(run: ClusterRun, profile: str | None) -> list[str]:
    """Return the command of the process that drives a run.

    Args:
        run: the run, which was given to its driver.
        profile: profile to connect with; None for the environment's.

    Raises:
        RunDirError: if the database has other options for it than those of sending.
    """
    _check_options(run)
    # -P: nothing is imported from the working folder.
    command = [sys.executable, "-P", "-m", "bulklink", "cluster", "drive", str(run.run)]
    command += ["--driver", str(run.driver), "--yes", "--json", "--progress", "none"]
    if profile is not None:
        command += ["--profile", profile]
    if run.org_id is not None:
        command += ["--expect-org", run.org_id]
    return [*command, *run.options]


def _check_options(run: ClusterRun) -> None:
    """Refuse words that `submit` does not store, such as the name of a file to write."""
    names = {f"--{name.replace('_', '-')}" for name in STORED_OPTIONS}
    for word in run.options:
        if word.startswith("-") and word.replace("--no-", "--") not in names:
            raise RunDirError(
                f"The database has the option {word} for this run, which no submission stores.",
                where=run.name,
                advice="Find out who wrote it: only bulklink should write to this database.",
            )
