"""Picture of a terminal for the README, showing a link run against the emulator.

The command runs in a pseudo-terminal. The picture shows one frame of the live view, from the middle
of the run, and the summary. It is an SVG that loads nothing and names only system fonts.

    python benchmarks/terminal.py [docs/terminal.svg]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich import terminal_theme
from rich.console import Console
from rich.text import Text
from servers import BULKLINK, emulator_environment, serve

assert sys.platform != "win32", "Windows has no such terminals"
_PICTURE = Path(__file__).parents[1] / "docs" / "terminal.svg"
_WIDTH, _HEIGHT = 92, 50
"""Columns and lines of the terminal."""
_WORLD = (
    *("--messages", "8000", "--contacts", "320", "--linked-wrong", "0.003", "--skew", "0.3"),
    *("--message-id-length", "24", "--seed", "11"),
)
_CRM = ("--latency", "0.6", "--concurrency", "20")
_REFUSING_CONTACT = 90
"""Index of the contact in the world whose emails cannot be linked to its deals."""
_COMMAND = ("link", "mapping.csv", "--run-dir", "change")
_SHOWN_SHARE = 60
"""Percent of the run; the first frame after it is shown."""
_FRAME_END = re.compile(r"\r?\x1b\[2K(?:\x1b\[1A\x1b\[2K)*|\x1b\[\?25[lh]")
"""Control sequences that the live view writes between two frames."""
_FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


def record_command(folder: Path, env: dict[str, str]) -> str:
    """Run the command in a pseudo-terminal and return all that it writes."""
    import termios

    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (_HEIGHT, _WIDTH))
    written = bytearray()
    with subprocess.Popen(
        [*BULKLINK, *_COMMAND], cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave
    ):
        os.close(slave)
        try:
            while output := os.read(master, 65536):
                written += output
        except OSError:  # the command has ended
            pass
    os.close(master)
    return written.decode().replace("\r\n", "\n")


def choose_frames(written: str) -> tuple[str, str]:
    """Return a frame from the middle of the run, and the text after the last frame.

    Args:
        written: all that the command wrote.
    """
    frames = [frame.strip("\n") for frame in _FRAME_END.split(written)]
    for frame in frames:
        share = re.search(r"(\d+) %", frame)
        if "Sending" in frame and share and int(share[1]) >= _SHOWN_SHARE:
            return frame, frames[-1]
    raise SystemExit("The run ended before its live view showed a frame from the middle.")


def draw(frame: str, summary: str) -> str:
    """Return the picture as SVG."""
    console = Console(
        record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    prompt = Text("$ ", style="green").append(
        " ".join(("bulklink", *_COMMAND)), style="bold default"
    )
    for text in (prompt, Text.from_ansi(frame), Text("  ⋮", style="dim"), Text.from_ansi(summary)):
        console.print(text, soft_wrap=True, highlight=False)
    picture = console.export_svg(
        title="bulklink", theme=terminal_theme.SVG_EXPORT_THEME, unique_id="terminal"
    )
    without_web_fonts = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return without_web_fonts.replace("Fira Code, monospace", _FONTS)


def main() -> None:
    """Run the command and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, nargs="?", default=_PICTURE, help="file to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate = [*BULKLINK, "generate", *_WORLD, "--out", name, "--force"]
        subprocess.run(generate, stdout=subprocess.DEVNULL, check=True)
        contacts = json.loads((folder / "world.json").read_text("utf-8"))["contacts"]
        fault = f"NOT_ALLOWED,op=link,contact_id={contacts[_REFUSING_CONTACT]['id']}"
        world = ("--world", str(folder / "world.json"))
        with serve([*BULKLINK, "emulator", *world, *_CRM, "--fault", fault]) as url:
            environment = emulator_environment(url) | {
                "TERM": "xterm-256color",
                "XDG_STATE_HOME": str(folder / "state"),
                "XDG_CONFIG_HOME": str(folder / "config"),
            }
            written = record_command(folder, environment)
    arguments.picture.write_text(draw(*choose_frames(written)), "utf-8")


if __name__ == "__main__":
    main()
