"""Files that exist completely or not at all, even if the process is killed while it writes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNFINISHED = "new."  # prefix of the name of a file that is being written


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to, and then replaces `path` by the file that was written."""
    new = path.with_name(UNFINISHED + path.name)
    yield new
    with new.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(new, path)
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON."""
    with replacing(path) as new:
        new.write_text(json.dumps(value), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file; `None` if the file does not exist or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
