"""Resolves the reference of a term: a dotted path into the input, the label or the prediction."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_physreg._utils.errors import received

ROOTS = ("input", "target", "prediction")


def root(path: str | None) -> str | None:
    """Returns the first part of a reference path: `"input"` of `"input.pressure"`."""
    return None if path is None else path.split(".")[0]


def check_path(term_name: str, path: Any) -> None:
    """Raises unless a term's reference is `None` or a path that begins with a known root."""
    if path is None:
        return
    if not isinstance(path, str) or root(path) not in ROOTS or "" in path.split("."):
        raise ValueError(
            f"`reference` of physics term '{term_name}' must be None (a residual), 'input', "
            "'target', 'prediction', or a dotted path into one of them, such as "
            f"'input.pressure'. {received('reference', path)}"
        )


def resolve(term_name: str, path: str, roots: dict[str, Any]) -> Any:
    """Returns the tensor at a dotted path.

    Args:
        term_name: Name of the term, for messages.
        path: Dotted path, such as `"input.pressure"`.
        roots: Structures by the first part of a path.

    Raises:
        ValueError: If the path does not exist, or leads to a structure of several tensors.
    """
    first, *keys = path.split(".")
    value = _unpack_single(roots[first]) if not keys else roots[first]
    for depth, key in enumerate(keys, start=1):
        value = _step_into(value, key, term_name, path, ".".join([first, *keys[: depth - 1]]))
    value = _unpack_single(value)
    if isinstance(value, (dict, list, tuple)):
        raise ValueError(
            f"The reference '{path}' of physics term '{term_name}' must be one tensor, but is a "
            f"structure of several. Give the path to one of them: {_known_paths(path, value)}."
        )
    return value


def resolve_part(path: str, structure: Any) -> Any:
    """Returns the part of a structure that belongs to a reference, such as its sample weights.

    Args:
        path: Dotted path of the reference, such as `"target.flow"`; its root is ignored.
        structure: Tensor, or structure such as the sample weights of several outputs, or `None`. A
            tensor at the beginning of the path holds for all that is below it.

    Returns:
        A tensor, or `None` if the structure has nothing at the path.
    """
    value = structure
    for key in path.split(".")[1:]:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, (list, tuple)):
            value = value[int(key)] if key.isdigit() and int(key) < len(value) else None
    return _unpack_single(value)


def take_components(term_name: str, tensor: Any, components: Sequence[int]) -> Any:
    """Returns some components of a term's reference, by their indices on its last axis.

    Args:
        term_name: Name of the term, for messages.
        tensor: The reference, of shape `(batch, ..., components)`.
        components: The indices; negative ones count from the end.

    Raises:
        ValueError: If an index is out of range, or the last axis is the batch.
    """
    size = tensor.shape[-1] if len(tensor.shape) else None
    if size is None or not all(-size <= index < size for index in components):
        raise ValueError(
            f"`components` of physics term '{term_name}' must be indices on the last axis of its "
            f"reference. Received: components={list(components)} for a reference of shape "
            f"{tuple(tensor.shape)}."
        )
    if len(tensor.shape) < 2:
        raise ValueError(
            f"`components` of physics term '{term_name}' would select rows of the batch: its "
            f"reference has shape {tuple(tensor.shape)}. Leave `components` out."
        )
    return keras.ops.take(tensor, [index % size for index in components], axis=-1)


def _unpack_single(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return value[0]
    return value


def _step_into(value: Any, key: str, term_name: str, path: str, reached: str) -> Any:
    if isinstance(value, dict) and key in value:
        return value[key]
    if isinstance(value, (list, tuple)) and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    raise ValueError(
        f"The reference '{path}' of physics term '{term_name}' does not exist: "
        f"'{reached}' has {_known_paths(reached, value)}. Correct `reference`."
    )


def _known_paths(prefix: str, value: Any) -> str:
    if isinstance(value, dict):
        return str([f"{prefix}.{key}" for key in value])
    if isinstance(value, (list, tuple)):
        return str([f"{prefix}.{index}" for index in range(len(value))])
    return f"no parts (it is a {type(value).__name__})"
