"""Finds outputs of physics that pair every row with every other.

`(batch, 1) - (batch,)` broadcasts to `(batch, batch)`. No shape of the batch at hand tells it from
as many values per row: with another number of rows it does.
"""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.serialization import display_name

Shape = tuple[int | None, ...]


def check_no_pairs(
    call: Callable, inputs: Any, prediction: Any, outputs: Mapping[str, Any], known: set[Any]
) -> None:
    """Raises where an output has an axis of the size of the batch beside the batch itself.

    Where an axis has that size, or both sizes are unknown, the physics is run on symbols of another
    number of rows, or of an unknown one where it names the number itself: this tells an axis that
    is the batch from one that happens to be as long, and touches no variable. What runs on neither
    is taken as it is.

    Args:
        call: Function `(inputs, prediction) -> outputs by term name`.
        inputs: As in the layer's call.
        prediction: As in the layer's call.
        outputs: What the physics returned for them, by term name.
        known: Signatures that were checked before; this one is added.

    Raises:
        ValueError: If there is such an output, naming its term.
    """
    sources = [_shape(source) for source in keras.tree.flatten((inputs, prediction))]
    rows = next((shape[0] for shape in map(_shape, keras.tree.flatten(prediction)) if shape), 0)
    suspects = [name for name, output in outputs.items() if rows in _shape(output)[1:]]
    signature = (rows is None, *(shape[1:] for shape in sources))
    if not suspects or signature in known:
        return
    given = (call, inputs, prediction, rows)
    sizes = {size for shape in sources for size in shape}
    other = next(n for n in itertools.count((rows or 82) + 1) if n not in sizes)
    shapes = _shapes_for(*given, other)
    if shapes is not None:
        pairs = [name for name in suspects if other in shapes[name][1:]]
    elif rows is not None:
        shapes = _shapes_for(*given, None) or {}
        pairs = [name for name in suspects if _pairs_unknown(shapes.get(name, ()))]
    else:
        rest = [size for shape in sources for size in shape[1:]]
        pairs = [] if None in rest else suspects
    for name in pairs:
        raise ValueError(_message(name, _shape(outputs[name])))
    known.add(signature)


def _pairs_unknown(shape: Shape) -> bool:
    return None in shape[:1] and None in shape[1:]


def _shape(value: Any) -> Shape:
    return tuple(getattr(value, "shape", ()))


def _message(name: str, shape: Shape) -> str:
    return (
        f"The residual of physics term '{name}' has shape {shape}: an axis of the size of the "
        "batch, or of unknown size, beside the batch itself, which neither input nor prediction "
        "has. Were `(batch,)` and `(batch, 1)` broadcast against each other? Use "
        "`keras.ops.expand_dims(..., -1)` or `keras.ops.squeeze(..., -1)` on one of them. If you "
        "mean pairs of rows, return them as one axis: `keras.ops.reshape(..., (-1,))`."
    )


def _shapes_for(
    call: Callable, inputs: Any, prediction: Any, rows: int | None, other: int | None
) -> dict[str, Shape] | None:
    """Returns the shapes of the outputs for another number of rows; `None` where that fails."""

    def of_other_rows(tensor: Any) -> Any:
        shape = _shape(tensor)
        if not shape or shape[0] != rows:
            return tensor
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        return keras.KerasTensor((other, *shape[1:]), dtype=dtype)

    given = keras.tree.map_structure(of_other_rows, (inputs, prediction))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Whoever warns has done so in the step itself.
            found = _OnSymbols(call).compute_output_spec(*given)
    except Exception:  # The user's physics need not run so.
        return None
    return {name: _shape(output) for name, output in found.items()}


class _OnSymbols(keras.Operation):
    """Runs physics on symbols: Keras does so without touching variables, losses or seeds."""

    def __init__(self, function: Callable) -> None:
        super().__init__(name=f"rows_of_{display_name(function)}")
        self._function = function

    def call(self, inputs: Any, prediction: Any) -> Any:
        """Returns what the function returns."""
        sources = [tensor for tensor in keras.tree.flatten(inputs) if _is_differentiable(tensor)]

        def computed(tensor: Any) -> Any:
            return _computed_from(tensor, sources) if _is_differentiable(tensor) else tensor

        return self._function(inputs, keras.tree.map_structure(computed, prediction))


def _is_differentiable(tensor: Any) -> bool:
    if not _shape(tensor):
        return False
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def _computed_from(tensor: Any, sources: Sequence[Any]) -> Any:
    """Returns a tensor plus 0, computed from the sources: it has derivatives by them of any order.

    Symbols come from nowhere, and physics may differentiate the prediction by the input.
    """
    for source in sources:
        if source.shape[0] == tensor.shape[0]:
            total = ops.sum(ops.sin(source), axis=tuple(range(1, len(source.shape))))
            total = ops.reshape(total, (-1, *(1 for _ in tensor.shape[1:])))
            tensor = tensor + ops.cast(0 * total, tensor.dtype)
    return tensor
