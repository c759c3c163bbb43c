"""Detects physics outputs that pair every row with every other row.

`(batch, 1) - (batch,)` broadcasts to `(batch, batch)`. For one batch size this shape looks like
`batch` values per row; a second batch size shows the difference.
"""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.serialization import display_name

Shape = tuple[int | None, ...]


def check_no_row_pairs(
    call: Callable, inputs: Any, prediction: Any, outputs: Mapping[str, Any], checked: set[Any]
) -> None:
    """Raises if an output has a second axis that is the batch.

    An axis is suspect if it has the size of the batch, or if both sizes are unknown. The physics
    then runs on symbolic tensors with another number of rows, or with an unknown number if it does
    not accept another one: only an axis that is the batch follows. This run changes no variable.
    If it fails, too, an output passes unless its unknown axis can only be the batch.

    Args:
        call: Function `(inputs, prediction) -> outputs by term name`.
        inputs: As in the layer's call.
        prediction: As in the layer's call.
        outputs: Outputs of the physics for these arguments, by term name.
        checked: Signatures that passed the check before; this one is added.

    Raises:
        ValueError: If an output has a second batch axis; the message names its term.
    """
    sources = [_shape(source) for source in keras.tree.flatten((inputs, prediction))]
    rows = next((shape[0] for shape in map(_shape, keras.tree.flatten(prediction)) if shape), 0)
    suspects = [name for name, output in outputs.items() if rows in _shape(output)[1:]]
    signature = (rows is None, *(shape[1:] for shape in sources))
    if not suspects or signature in checked:
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
    checked.add(signature)


def _pairs_unknown(shape: Shape) -> bool:
    return None in shape[:1] and None in shape[1:]


def _shape(value: Any) -> Shape:
    return tuple(getattr(value, "shape", ()))


def _message(name: str, shape: Shape) -> str:
    return (
        f"The physics output of term '{name}' has shape {shape}, with a second axis that is the "
        "batch: it pairs every row with every other row. The usual cause is `(batch,)` broadcast "
        "against `(batch, 1)`: use `keras.ops.expand_dims(..., -1)` or "
        "`keras.ops.squeeze(..., -1)` on one of them. If you do want pairs of rows, return them as "
        "one axis: `keras.ops.reshape(..., (-1,))`."
    )


def _shapes_for(
    call: Callable, inputs: Any, prediction: Any, rows: int | None, other: int | None
) -> dict[str, Shape] | None:
    """Returns the shapes of the outputs for another number of rows, or `None` if that fails."""

    def of_other_rows(tensor: Any) -> Any:
        shape = _shape(tensor)
        if not shape or shape[0] != rows:
            return tensor
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        return keras.KerasTensor((other, *shape[1:]), dtype=dtype)

    given = keras.tree.map_structure(of_other_rows, (inputs, prediction))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The step itself has already warned.
            found = _SymbolicCall(call).compute_output_spec(*given)
    except Exception:  # The user's physics may not run on symbolic tensors.
        return None
    return {name: _shape(output) for name, output in found.items()}


class _SymbolicCall(keras.Operation):
    """Runs physics on symbolic tensors, without changing variables, losses or seeds."""

    def __init__(self, function: Callable) -> None:
        super().__init__(name=f"rows_of_{display_name(function)}")
        self._function = function

    def call(self, inputs: Any, prediction: Any) -> Any:
        """Returns the outputs of the function."""
        sources = [tensor for tensor in keras.tree.flatten(inputs) if _is_differentiable(tensor)]

        def computed(tensor: Any) -> Any:
            return _computed_from(tensor, sources) if _is_differentiable(tensor) else tensor

        return self._function(inputs, keras.tree.map_structure(computed, prediction))


def _is_differentiable(tensor: Any) -> bool:
    if not _shape(tensor):
        return False
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def _computed_from(tensor: Any, sources: Sequence[Any]) -> Any:
    """Returns a tensor plus zeros computed from the sources: it has derivatives of any order.

    Physics may differentiate the prediction by the input, but symbolic tensors alone are not
    connected to each other.
    """
    for source in sources:
        if source.shape[0] == tensor.shape[0]:
            total = ops.sum(ops.sin(source), axis=tuple(range(1, len(source.shape))))
            total = ops.reshape(total, (-1, *(1 for _ in tensor.shape[1:])))
            tensor = tensor + ops.cast(0 * total, tensor.dtype)
    return tensor
