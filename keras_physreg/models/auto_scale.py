"""Replaces `scale="auto"` of terms by the standard deviations of their references."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg._utils.variables import unchanged
from keras_physreg.layers.physics_regularization import physics_layers
from keras_physreg.layers.step import open_step
from keras_physreg.terms import references
from keras_physreg.terms.scale import AUTO, Numbers, numbers_of_scale
from keras_physreg.terms.term import PhysicsTerm

ROWS_PER_CALL = 1024
MAX_SHOWN = 8  # numbers of a scale in the line that says what it is


def resolve_scales(model: keras.Model, x: Any, y: Any = None, verbose: Any = "auto") -> None:
    """Gives every term of `scale="auto"` the standard deviation of its reference.

    It must run before a step is traced, as it replaces the terms of the physics layers.

    Args:
        model: The model to train.
        x: Inputs of all rows, in memory.
        y: Labels of all rows, or `None`.
        verbose: Whether to say what the scales are; 0 for silence.

    Raises:
        ValueError: If the data are not arrays in memory, or a reference is not finite or never
            changes in a column.
    """
    layers = [layer for layer in physics_layers(model) if any(map(_is_auto, layer.terms))]
    if not layers:
        return
    names = [term.name for layer in layers for term in filter(_is_auto, layer.terms)]
    x, y = (_in_memory(part, name, names) for part, name in ((x, "x"), (y, "y")))
    sizes = {len(part) for part in keras.tree.flatten((x, y)) if part is not None}
    if len(sizes) != 1 or sizes == {0}:  # The training raises.
        return
    known: dict[int, list[np.ndarray]] = {}
    for term, reference in _references(model, x, y):
        known.setdefault(id(term), []).append(reference)
    for layer in layers:
        scales = {
            term.name: _standard_deviation(term, np.concatenate(known[id(term)]))
            for term in layer.terms
            if id(term) in known
        }
        layer.terms = tuple(
            replace(term, scale=scales.get(term.name, term.scale)) for term in layer.terms
        )
        for term in layer.terms:
            if term.name in scales and verbose not in (0, "0"):
                print(_said(term, *sizes))


def check_no_points(model: keras.Model, points: Any) -> None:
    """Raises if a term of `scale="auto"` has points: its reference on these is unknown.

    Args:
        model: The model to train.
        points: Points by term, or `None`.
    """
    names = {term.name for layer in physics_layers(model) for term in layer.terms if _is_auto(term)}
    for name in names & set(points if isinstance(points, Mapping) else ()):
        raise ValueError(
            f"`scale='auto'` of physics term '{name}' is the standard deviation of the reference "
            "on the rows of `x`, but the term is evaluated on points. Give a number as `scale`: "
            "what a deviation of 1 means. Received: points of this term"
        )


def _is_auto(term: PhysicsTerm) -> bool:
    return term.scale == AUTO


def _in_memory(data: Any, name: str, terms: list[str]) -> Any:
    """Returns arrays as NumPy arrays, as `keras.Model.fit` converts them; raises for others."""

    def convert(array: Any) -> Any:
        if array is None and name == "y":
            return None
        if not getattr(array, "shape", ()):
            raise ValueError(
                f"`scale='auto'` of physics term '{terms[0]}' is the standard deviation over all "
                "rows, so the first training needs arrays in memory. Give numbers instead, such as "
                f"`scale=x.std(axis=0)`. Received: {name} of type {type(data)}"
            )
        if hasattr(array, "to_frame"):  # A pandas Series is a column.
            array = array.to_frame()
        array = ops.convert_to_numpy(array) if ops.is_tensor(array) else np.asarray(array)
        return array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array

    return keras.tree.map_structure(convert, keras.tree.lists_to_tuples(data))


def _references(model: keras.Model, x: Any, y: Any) -> Iterator[tuple[PhysicsTerm, np.ndarray]]:
    """Yields each term of `scale="auto"` with its reference on some of the rows."""
    rows = len(keras.tree.flatten(x)[0])
    with unchanged(model.variables):
        for first in range(0, rows, ROWS_PER_CALL):
            some = slice(first, first + ROWS_PER_CALL)
            inputs, labels = keras.tree.map_structure(lambda a, s=some: _tensor(a, s), (x, y))
            with open_step(model, "arguments") as step:
                model(inputs, training=False)
            for evaluation in step.evaluations:
                for term in filter(_is_auto, evaluation.layer.terms):
                    yield term, _reference(term, evaluation.roots(labels))


def _tensor(array: np.ndarray | None, some: slice) -> Any:
    return None if array is None else ops.convert_to_tensor(array[some])


def _reference(term: PhysicsTerm, roots: dict[str, Any]) -> np.ndarray:
    value = references.resolve(term.name, term.reference or "", roots)
    if value is None:
        raise ValueError(
            f"`scale='auto'` of physics term '{term.name}' is the standard deviation of the "
            "label, but the training has none. Give `y`, or a number as `scale`. Received: y=None"
        )
    if term.components is not None:
        value = references.take_components(term.name, value, term.components)
    return np.atleast_1d(ops.convert_to_numpy(value)).astype("float64")


def _standard_deviation(term: PhysicsTerm, values: np.ndarray) -> Numbers:
    """Returns the standard deviation, of each component where there are several."""
    columns = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values[:, None]
    _refuse(term, ~np.isfinite(columns).all(axis=0), "holds NaN or infinity")
    _refuse(term, columns.max(axis=0) == columns.min(axis=0), "never changes")
    scale = columns.std(axis=0)
    return numbers_of_scale(
        f"physics term '{term.name}'", scale if len(scale) > 1 else float(scale[0])
    )


def _refuse(term: PhysicsTerm, bad: np.ndarray, what: str) -> None:
    if not bad.any():
        return
    numbers = np.arange(len(bad)) if term.components is None else np.asarray(term.components)
    where = f" in component(s) {numbers[bad].tolist()}" if len(bad) > 1 else ""
    raise ValueError(
        f"`scale='auto'` of physics term '{term.name}' is the standard deviation of its reference "
        f"'{term.reference}', which {what}{where}. Give numbers instead, one per component: what "
        "a deviation of 1 means, in the unit of the output."
    )


def _said(term: PhysicsTerm, rows: int) -> str:
    numbers = term.scale if isinstance(term.scale, tuple) else (term.scale,)
    shown = ", ".join(f"{number:.4g}" for number in numbers[:MAX_SHOWN])
    more = f", ... ({len(numbers)} components)" if len(numbers) > MAX_SHOWN else ""
    return (
        f"Scale of physics term '{term.name}': {shown}{more} (standard deviation of "
        f"'{term.reference}' over {rows} rows)"
    )
