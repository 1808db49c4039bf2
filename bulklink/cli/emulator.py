"""`bulklink emulator`: a local Zoho CRM that behaves as documented."""

from __future__ import annotations

from pathlib import Path

import click

from bulklink.errors import BadFileError, UsageError


@click.command("emulator")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port to serve on; without it, a free one.",
)
@click.option(
    "--world",
    "world_file",
    type=click.Path(path_type=Path),
    help="The world to serve, a JSON file; without it, a small one that is built in.",
)
def emulator(host: str, port: int, world_file: Path | None) -> None:
    """Serve a local Zoho CRM that behaves as documented.

    The first line on standard output is {"url":"http://127.0.0.1:PORT"}. Client id, client secret
    and refresh token are all "demo". Ctrl-C ends it.
    """
    # aiohttp takes a quarter of a second to import: not for --help.
    from bulklink.emulator.builtin import builtin_world  # noqa: PLC0415
    from bulklink.emulator.server import check_loopback, serve  # noqa: PLC0415
    from bulklink.emulator.worldfile import WorldError, load_world  # noqa: PLC0415

    try:
        check_loopback(host)
    except ValueError as error:
        raise UsageError(str(error), where="--host", advice="Use 127.0.0.1.") from None
    try:
        world = load_world(world_file) if world_file else builtin_world()
    except WorldError as error:
        raise BadFileError(
            str(error),
            where=str(world_file),
            advice="docs/emulator.md describes the world file.",
        ) from None
    try:
        serve(world, host=host, port=port)
    except OSError as error:
        raise UsageError(
            f"cannot serve there: {error.strerror or error}",
            where=f"{host}:{port}",
            advice="Choose another --port, or leave it out for a free one.",
        ) from None
