"""Finds residuals that pair every row with every other, where no shape of the batch at hand tells.

`(batch, 1) - (batch,)` broadcasts to `(batch, batch)`. With a batch of unknown size the shape shows
it, as `(None, None)`; with 64 rows, `(64, 64)` looks like 64 values per row.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_physreg._utils.serialization import display_name
from keras_physreg.terms.loss import message_of_pairs


def check_no_pairs(
    call: Callable, inputs: Any, prediction: Any, outputs: Mapping[str, Any], known: set[Any]
) -> None:
    """Raises where an output has an axis of the size of the batch beside the batch itself.

    Where an axis has that size the physics is traced once more, with a batch of unknown size: this
    tells an axis that is the batch from one that happens to be as long, and touches no variable.
    What cannot be traced so, such as physics that names its batch size, is taken as it is.

    Args:
        call: Function `(inputs, prediction) -> outputs by term name`.
        inputs: As in the layer's call.
        prediction: As in the layer's call.
        outputs: What the physics returned for them, by term name.
        known: Signatures that were checked before; this one is added.

    Raises:
        ValueError: If there is such an output, naming its term.
    """
    sources = keras.tree.flatten((inputs, prediction))
    rows = _rows(keras.tree.flatten(prediction))
    suspects = [name for name, output in outputs.items() if rows in tuple(output.shape)[1:]]
    if rows is None or not suspects:
        return
    signature = tuple(tuple(getattr(source, "shape", ()))[1:] for source in sources)
    if signature in known:
        return
    traced = _traced_shapes(call, inputs, prediction, rows)
    for name in suspects:
        got = tuple(outputs[name].shape)
        if _has_axis_of_rows(got, traced.get(name, got), rows):
            raise ValueError(message_of_pairs(name, got))
    known.add(signature)


def _has_axis_of_rows(shape: Sequence[int], traced: Sequence[Any], rows: int) -> bool:
    sizes = list(zip(shape, traced, strict=False))
    return len(shape) == len(traced) and any(s == rows and t is None for s, t in sizes[1:])


def _rows(tensors: Sequence[Any]) -> int | None:
    shapes = [tuple(tensor.shape) for tensor in tensors if getattr(tensor, "shape", ())]
    return shapes[0][0] if shapes else None


def _traced_shapes(call: Callable, inputs: Any, prediction: Any, rows: int) -> dict[str, Any]:
    """Returns the shapes of the outputs for a batch of unknown size; none where that fails."""

    def of_unknown_rows(tensor: Any) -> Any:
        shape = tuple(getattr(tensor, "shape", ()))
        if not shape or shape[0] != rows:
            return tensor
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        return keras.KerasTensor((None, *shape[1:]), dtype=dtype)

    given = keras.tree.map_structure(of_unknown_rows, (inputs, prediction))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Whoever warns has done so in the step itself.
            found = _Traced(call).compute_output_spec(*given)
    except Exception:
        return {}
    return {name: tuple(output.shape) for name, output in found.items()}


class _Traced(keras.Operation):
    """Runs a function on symbols: Keras does so without touching variables, losses or seeds."""

    def __init__(self, function: Callable) -> None:
        super().__init__(name=f"rows_of_{display_name(function)}")
        self._function = function

    def call(self, inputs: Any, prediction: Any) -> Any:
        """Returns what the function returns."""
        return self._function(inputs, prediction)
