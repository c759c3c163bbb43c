"""Checks of the names of terms and constants: allowed characters, and collisions in the logs."""

import re
from collections.abc import Sequence
from typing import Any

from keras_physreg._utils.errors import received

PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.\-]*"


def check_name(what: str, name: Any, reserved: Sequence[str] = (), log: str = "{}") -> None:
    """Raises unless a name can be a key of the logs and the name of a variable.

    Args:
        what: What has the name, with its article: `"a physics term"`.
        name: The name.
        reserved: Names that are not allowed.
        log: Format of the key in the logs: `"{}_loss"`.
    """
    if not isinstance(name, str):
        raise TypeError(f"The name of {what} must be a string. {received('name', name)}")
    if not re.fullmatch(PATTERN, name):
        raise ValueError(
            f"The name of {what} appears in the logs and names variables: use letters, digits, "
            f"'_', '-' and '.'. {received('name', name)}"
        )
    if name in reserved or name.startswith("val_"):
        raise ValueError(
            f"{what[:1].upper()}{what[1:]} cannot be named '{name}': it would log "
            f"'{log.format(name)}', which Keras, `PhysicsModel` or the validation logs use. "
            "Choose another name."
        )


def duplicates(names: Sequence[str]) -> list[str]:
    """Returns the names that occur more than once, sorted."""
    return sorted({name for name in names if names.count(name) > 1})


def check_unique(what: str, names: Sequence[str], owner: str) -> None:
    """Raises if two of the names are equal.

    Args:
        what: What has the names: `"physics terms"`.
        names: The names.
        owner: What holds them all: `"model 'm'"`.
    """
    if twice := duplicates(names):
        raise ValueError(
            f"The names of {what} must be unique, or their logs would overwrite each other. "
            f"Received in {owner}: {twice} more than once, among {list(names)}. Rename one."
        )
