"""A lock on a project folder, so that two processes cannot run the same search."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

LOCK = "search.lock"
HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
HOLDER_OFFSET = 1  # Windows locks the first byte, which other processes then cannot read.

if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, HOLDER_OFFSET)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder's lock during the block.

    The operating system holds the lock on the open file, and releases it when the process ends for
    any reason. A file that a killed process left behind is reused. The file names the process that
    holds the lock.

    Args:
        folder: The folder; created if it does not exist.

    Raises:
        RuntimeError: If another process, or another tuner of this one, holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = _open_and_lock(folder / LOCK)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not delete open files.
            (folder / LOCK).unlink()
        file.close()


def _open_and_lock(path: Path) -> BinaryIO:
    """Returns the open and locked file."""
    while True:
        file = path.open("a+b")
        try:
            _lock(file)
        except OSError as error:
            holder = _holder(file)
            file.close()
            if error.errno in HELD:
                raise RuntimeError(_held(path, holder)) from None
            warnings.warn(
                f"The file system of {path} has no locks ({error}): make sure that no other "
                "process runs the search in this folder.",
                stacklevel=5,
            )
            return path.open("a+b")
        if _is_still_there(file, path):
            file.truncate(0)
            file.write(b" " * HOLDER_OFFSET + json.dumps(_this_process()).encode())
            file.flush()
            return file
        file.close()  # Another process has deleted the file since it was opened.


def _is_still_there(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _this_process() -> dict[str, str]:
    return {
        "process": str(os.getpid()),
        "host": socket.gethostname(),
        "since": datetime.datetime.now().isoformat(" ", "seconds"),
    }


def _holder(file: BinaryIO) -> str:
    file.seek(HOLDER_OFFSET)
    try:
        known = json.loads(file.read())
        return f"process {known['process']} on {known['host']}, since {known['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _held(path: Path, holder: str) -> str:
    return (
        f"The search in {path.parent} is in use by {holder}. Wait until that ends, or give another "
        f"`project_name` or `directory`. This is process {os.getpid()} on {socket.gethostname()}."
    )
