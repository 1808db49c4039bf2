"""Builder of the documentation site; `make site` runs it.

python -m tests.docs.site FOLDER
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.docs.reference import ROOT


def build_site(folder: Path) -> Path:
    """Build the site in a folder and return its first page; a warning is an error.

    Raises:
        subprocess.CalledProcessError: if there was a warning; it has been printed.
    """
    options = ["--quiet", "--fail-on-warning", "--conf-dir", "docs/site"]
    target = folder.resolve()
    folders = ["--doctree-dir", str(target / ".doctrees"), ".", str(target)]
    subprocess.run([sys.executable, "-m", "sphinx", *options, *folders], cwd=ROOT, check=True)
    return folder / "index.html"


def shared_site(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, which the first worker that needs it builds."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "site.lock"):
        if not (folder / "site" / ".built").exists():
            build_site(folder / "site")
            (folder / "site" / ".built").touch()
    return folder / "site"


if __name__ == "__main__":
    try:
        print(build_site(Path(sys.argv[1])))  # noqa: T201 - the result of a script
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
