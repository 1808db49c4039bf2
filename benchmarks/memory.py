"""Peak resident memory of `bulklink apply`, by the size of the sealed plan.

Each plan is sealed in advance by a separate process; the measured process sends it to a local
server that answers at once. Quote the ratios.

    python benchmarks/memory.py [--messages 100000 1000000 5000000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import measure
from servers import BULKLINK, serve, token_environment, write_mapping

assert sys.platform != "win32", "Windows does not report the memory of child processes"


def seal(messages: int, folder: Path) -> Path:
    """Seal a plan of links for a number of messages; return its run folder."""
    mapping, run = folder / "mapping.csv", folder / str(messages)
    write_mapping(mapping, messages)
    plan = [*BULKLINK, "plan", "--op", "link", "--no-names", "--run-dir", str(run), str(mapping)]
    subprocess.run(plan, check=True, stdout=subprocess.DEVNULL)
    mapping.unlink()
    return run


def main() -> None:
    """Measure and print a table."""
    from sending import IN_FLIGHT, SERVER

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    arguments = parser.parse_args()
    first = 0
    print("| messages | peak resident memory | relative |\n|---|---|---|")
    with serve(SERVER) as url, tempfile.TemporaryDirectory() as folder:
        env = token_environment(url)
        options = ["--rate", "off", "--concurrency", str(IN_FLIGHT), "--progress", "none", "--json"]
        for messages in arguments.messages:
            run = seal(messages, Path(folder))
            size = measure([*BULKLINK, "apply", str(run), *options], env=env).memory
            first = first or size
            print(f"| {messages:,} | {size / 1e6:.0f} MB | {size / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
