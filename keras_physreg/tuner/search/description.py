"""The description of a search, kept in its folder so that different searches are not mixed."""

from __future__ import annotations

import hashlib
from typing import Any

import keras
import numpy as np


def describe_search(oracle: Any, spaces: list[Any]) -> dict[str, Any]:
    """Returns the description of a search, except for how its trials are trained.

    Args:
        oracle: The oracle, with its space and objective.
        spaces: The `TermSpace`s of the hypermodel.
    """
    return {
        "search_space": _named(oracle.get_space()),
        "terms": {space.term: repr(space) for space in spaces},
        "objective": str(oracle.objective),
        "oracle": type(oracle).__name__,
    }


def describe_rows(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the numbers of rows on which trials are trained and validated, and their contents."""
    rows: dict[str, Any]
    rows = {"rows": _rows(data["x"]), "validation_rows": _rows(data["validation_data"])}
    if data["unlabelled"] is not None:
        rows["unlabelled_rows"] = _rows(data["unlabelled"])
    for name in ("points", "validation_points"):
        for term, points in sorted(data.get(name, {}).items()):
            rows[f"{name} of {term}"] = _rows(points)
    return rows | {f"content of {name}": _digest(given) for name, given in data.items()}


def _named(space: Any) -> dict[str, Any]:
    """Returns the hyperparameters of a space by name, with their conditions."""
    named: dict[str, Any] = {}
    for config in space.get_config()["space"]:
        named.setdefault(config["config"]["name"], []).append(config)
    return named


def _digest(data: Any) -> str | None:
    """Returns a hash of the arrays in a structure; `None` if it has none, such as of samplers."""
    found = hashlib.blake2b(digest_size=8)
    leaves = [leaf for leaf in keras.tree.flatten(data) if hasattr(leaf, "shape")]
    for leaf in leaves:
        array = np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)
        found.update(repr((array.shape, array.dtype.str)).encode())
        if array.dtype.kind in "biufc":
            found.update(np.ascontiguousarray(array).data)
        else:
            found.update(repr(array.tolist()).encode())
    return found.hexdigest() if leaves else None


def _rows(data: Any) -> int | None:
    shapes = [array.shape for array in keras.tree.flatten(data) if hasattr(array, "shape")]
    return int(shapes[0][0]) if shapes and len(shapes[0]) else None
