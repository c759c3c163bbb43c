"""Pickles that hold functions of `__main__`, lambdas and local functions by value."""

from typing import Any

import keras


def cloudpickle() -> Any:
    """Returns cloudpickle; raises `ImportError` with the command that installs it."""
    try:
        import cloudpickle
    except ImportError as error:
        raise ImportError(
            '`executor` needs cloudpickle: pip install "keras_physreg[cluster]"'
        ) from error
    return cloudpickle


def dumps(value: Any) -> bytes:
    """Returns an object as bytes."""
    content: bytes = cloudpickle().dumps(value)
    return content


def loads(content: bytes) -> Any:
    """Returns the object that `dumps` packed."""
    return cloudpickle().loads(content)


def without_tensors(value: Any) -> Any:
    """Returns a structure whose tensors are NumPy arrays, which pickle."""

    def converted(leaf: Any) -> Any:
        return keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf

    return keras.tree.map_structure(converted, value)
