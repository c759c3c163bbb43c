"""Joins the labelled and unlabelled rows of one step, labelled rows first."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops


class NoRows(NamedTuple):
    """Takes the place of labelled rows where a step has none.

    Args:
        filler: A scalar: a dataset needs at least one tensor.
    """

    filler: Any


class Rows(NamedTuple):
    """The inputs of one step in the data of `PhysicsModel.train_step`.

    Args:
        labelled: Inputs of the labelled rows, or `NoRows`.
        unlabelled: Inputs of the unlabelled rows, of the same structure; `()`: there are none.
        points: Inputs of those point sets that are not the same in every step, by term; `()`: the
            step has no point sets.
    """

    labelled: Any
    unlabelled: Any = ()
    points: Any = ()


class MoreRows(NamedTuple):
    """The inputs of one step beside the labelled ones; see `Rows`."""

    unlabelled: Any
    points: dict[str, Any]


def with_unlabelled(data: Any, unlabelled: Any) -> tuple[Any, ...]:
    """Returns the data `(x, y, sample_weight)` of a step with other rows added to `x`.

    Args:
        data: Labelled data.
        unlabelled: Inputs of unlabelled rows, or `MoreRows`.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(unlabelled, MoreRows):
        parts = (Rows(x, *unlabelled), y, sample_weight)
    else:
        parts = (beside(x, unlabelled), y, sample_weight)
    return parts[: 3 if sample_weight is not None else 2 if y is not None else 1]


def beside(x: Any, unlabelled: Any) -> Rows:
    """Returns labelled inputs, or the `Rows` of a step, with unlabelled rows."""
    if isinstance(x, Rows):
        return x._replace(unlabelled=unlabelled)
    return Rows(x, unlabelled)


def without_nones(data: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """Returns `(x, y, sample_weight)` up to the last that is not `None`, as Keras expects it."""
    x, y, sample_weight = data
    return (x,) if y is None else (x, y) if sample_weight is None else (x, y, sample_weight)


def labelled_inputs(x: Any) -> Any:
    """Returns the inputs of the labelled rows."""
    return x.labelled if isinstance(x, Rows) else x


def split_rows(data: Any) -> tuple[Any, Any, Any]:
    """Returns the data of a step without other rows, the unlabelled rows, and the points.

    Returns:
        The data `(x, y, sample_weight)`; the unlabelled rows, or `None`; and the points of `Rows`,
        `None` if the step has no point sets.
    """
    if not (isinstance(data, (tuple, list)) and data and isinstance(data[0], Rows)):
        return data, None, None
    rows = data[0]
    unlabelled = None if isinstance(rows.unlabelled, tuple) and not rows.unlabelled else rows[1]
    points = rows.points if isinstance(rows.points, dict) else None
    return (rows.labelled, *data[1:]), unlabelled, points


def join(labelled: Any, unlabelled: Any) -> Any:
    """Returns the inputs of all rows; raises if labelled and unlabelled inputs do not match."""
    check_alike(labelled, unlabelled)
    pairs = zip(keras.tree.flatten(labelled), keras.tree.flatten(unlabelled), strict=True)
    joined = [None if a is None else ops.concatenate([a, b], axis=0) for a, b in pairs]
    return keras.tree.pack_sequence_as(labelled, joined)


def change_first(
    call: Callable, args: tuple, kwargs: dict[str, Any], change: Callable[[Any], Any]
) -> tuple[tuple, dict[str, Any]]:
    """Changes the first argument of a call, positional or by keyword."""
    if args:
        return (change(args[0]), *args[1:]), kwargs
    name = next(iter(inspect.signature(call).parameters))
    return args, kwargs | {name: change(kwargs[name])}


class FirstRows(keras.layers.Layer):
    """Layer that returns the first rows of a tensor and of its Keras mask.

    Args:
        count: Number of rows to keep: an integer or a tensor.
    """

    def __init__(self, count: Any) -> None:
        super().__init__(autocast=False)
        self.supports_masking = True
        self._count = count

    def call(self, tensor: Any) -> Any:
        """Returns the first rows."""
        return tensor[: self._count]

    def compute_mask(self, tensor: Any, previous_mask: Any = None) -> Any:
        """Returns the mask of the first rows."""
        return None if previous_mask is None else previous_mask[: self._count]


def first_rows(structure: Any, count: Any) -> Any:
    """Returns the first rows of all tensors in a structure, with their Keras masks."""
    return keras.tree.map_structure(FirstRows(count), structure)


def check_alike(
    labelled: Any, unlabelled: Any, name: str = "`unlabelled`", like: str = "`x`"
) -> None:
    """Raises if unlabelled inputs differ from labelled ones in structure, row shape or dtype.

    Args:
        labelled: Tensors, arrays or specs of shape `(rows, ...)`, in any structure.
        unlabelled: The same for the unlabelled rows.
        name: What the unlabelled rows are called in messages.
        like: What the labelled rows are called.
    """
    wanted, got = map(keras.tree.lists_to_tuples, (labelled, unlabelled))
    try:
        keras.tree.assert_same_structure(wanted, got)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} must be inputs with the structure of {like}, without labels. Expected: "
            f"{_described(wanted)}. Received: {_described(got)}."
        ) from error
    for path, one, other in zip(
        _paths(wanted), keras.tree.flatten(wanted), keras.tree.flatten(got), strict=True
    ):
        if one is not None:
            _check_leaf(name + path, like, one, other)


def _check_leaf(name: str, like: str, wanted: Any, got: Any) -> None:
    shape, other = tuple(wanted.shape), tuple(got.shape)
    if len(shape) != len(other) or not all(map(_same_size, shape[1:], other[1:])):
        cure = " Call `batch` on a dataset of single rows." if other == shape[1:] else ""
        raise ValueError(
            f"{name} must have the row shape of {like}: {('rows', *shape[1:])}. "
            f"Received: shape {other}.{cure}"
        )
    dtypes = [keras.backend.standardize_dtype(value.dtype) for value in (wanted, got)]
    if dtypes[0] != dtypes[1]:
        raise TypeError(
            f"{name} must have the dtype of {like}: {dtypes[0]}. "
            f"Received: dtype {dtypes[1]}. Cast one of them."
        )


def _same_size(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


def _paths(structure: Any) -> list[str]:
    """Returns the index expression of each leaf: `"['flow']"`; `""` for a single tensor."""
    if isinstance(structure, dict):
        return [f"[{k!r}]{rest}" for k in sorted(structure) for rest in _paths(structure[k])]
    if isinstance(structure, tuple):
        return [f"[{i}]{rest}" for i, part in enumerate(structure) for rest in _paths(part)]
    return [""]


def _described(structure: Any) -> Any:
    """Returns a structure of shapes and dtypes, for messages."""
    if isinstance(structure, dict):
        return {key: _described(part) for key, part in structure.items()}
    if isinstance(structure, tuple):
        return tuple(_described(part) for part in structure)
    if not hasattr(structure, "shape"):
        return type(structure).__name__
    dtype = keras.backend.standardize_dtype(structure.dtype)
    return f"{dtype}{list(structure.shape)}"
