"""How the outputs of the physics move with its constants, row by row.

Like `gradients`, this room knows TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_physreg.constants.constant import MAX_LOGGED_ELEMENTS, Constant
from keras_physreg.diagnosis.constant_trials import compiled, look_elsewhere, scope_of
from keras_physreg.diagnosis.observation import call_unnoticed
from keras_physreg.diagnosis.probe_rows import Rows
from keras_physreg.layers.step import open_step

# Two ways to one derivative differ by rounding only.
AGREEMENT = 1e-3


@dataclass(frozen=True)
class Sensitivities:
    """How the outputs of the terms move with the elements of all constants.

    With `J` the derivatives of a term's output values by the dimensionless variables of the
    constants (one row a value, one column an element), its Gramian is `J^T J` over the number of
    values.

    Args:
        gramians: Of each term, of shape `(elements, elements)`; NaN in the rows and columns of
            elements that TensorFlow cannot tell of, or of a vector longer than
            `MAX_LOGGED_ELEMENTS`.
        connected: Of each term, which elements its output is computed from.
        tried: Of each term, its loss at the present and at other values of the constants.
        escapes: Of each term, its loss with the predictions of other rows: under `"present"` as the
            constants are, else where they are taken as near to 0, or as far from it, as they go:
            under the way in words.

    The last two are empty where the physics fails at one of these values.
    """

    gramians: dict[str, np.ndarray]
    connected: dict[str, tuple[bool, ...]]
    tried: dict[str, np.ndarray]
    escapes: dict[str, dict[str, float]]


def sensitivities(
    model: keras.Model, constants: Sequence[Constant], rows: Rows, batch_size: int
) -> Sensitivities:
    """Measures how the physics outputs move with the constants, at the model's predictions.

    Nothing in the model changes. A column of `J` is a derivative of a derivative, which is linear
    in what it starts from: Townsend, "A new trick for calculating Jacobian vector products" (2017).

    Args:
        model: A built model.
        constants: Its trainable constants.
        rows: The rows to look at.
        batch_size: Rows in a batch.
    """
    meter = _Meter(model, constants)
    program = compiled(model, meter.measure, rows, batch_size)
    gramians: dict[str, Any] = {}
    counts: dict[str, float] = {}
    for batch in rows.batches(batch_size):
        for name, (gramian, count) in program(batch.x, batch.y, batch.sample_weight).items():
            gramians[name] = gramians.get(name, 0.0) + gramian.numpy()
            counts[name] = counts.get(name, 0.0) + float(count)
    return Sensitivities(
        {name: gramian / max(counts[name], 1.0) for name, gramian in gramians.items()},
        meter.connected,
        *look_elsewhere(model, constants, rows, batch_size),
    )


class _Meter:
    def __init__(self, model: keras.Model, constants: Sequence[Constant]) -> None:
        self._model = model
        self._raws = [constant.raw for constant in constants]
        self.connected: dict[str, tuple[bool, ...]] = {}

    def measure(self, x: Any, y: Any, sample_weight: Any) -> dict[str, tuple]:
        """Returns per term the Gramian's sum and number of values."""
        del y, sample_weight
        values = [tf.convert_to_tensor(raw) for raw in self._raws]
        with open_step(self._model, "labelled", unshielded=True) as step:
            with tf.GradientTape(persistent=True) as outer:
                with tf.GradientTape(persistent=True) as inner:
                    inner.watch(values)
                    with scope_of(self._raws, values):
                        call_unnoticed(self._model, x, False)
                    evaluations = list(step.evaluations)
                outputs = {n: out for e in evaluations for n, out in e.outputs.items()}
                starts = {name: tf.zeros_like(output) for name, output in outputs.items()}
                outer.watch(starts)
                back = {n: _back(inner, outputs[n], values, starts[n]) for n in outputs}
                parts = {n: [_elements(each) for each in back[n]] for n in outputs}
            gramians = {}
            for name, output in outputs.items():
                probe = tf.random.stateless_normal(tf.shape(output), (0, 0), dtype=output.dtype)
                expected = _back(inner, output, values, probe)
                columns = self._columns(outer, name, parts[name], starts[name])
                gramians[name] = _gramian(columns, probe, expected, values)
        return gramians

    def _columns(self, tape: tf.GradientTape, name: str, parts: list[Any], start: Any) -> list[Any]:
        """Returns the columns of `J`; NaN where they are not known."""
        columns, connected = [], []
        for raw, elements in zip(self._raws, parts, strict=True):
            size = int(np.prod(raw.shape))
            connected += [elements is not None] * size
            if elements is not None and size > MAX_LOGGED_ELEMENTS:  # Each costs a gradient.
                columns += [_unknown(start)] * size
            else:
                columns += [_column(tape, element, start) for element in elements or [None] * size]
        self.connected[name] = tuple(connected)
        return columns


def _back(tape: tf.GradientTape, output: Any, values: list[Any], start: Any) -> list[Any]:
    try:
        return tape.gradient(output, values, output_gradients=start)
    except (LookupError, NotImplementedError):  # An operation without a gradient.
        return [None] * len(values)


def _column(tape: tf.GradientTape, element: Any, start: Any) -> Any:
    """Returns a column of `J`; NaN where an operation has no second gradient."""
    if element is None:
        return tf.zeros_like(start)
    try:
        return tape.gradient(element, start, unconnected_gradients="zero")
    except (LookupError, NotImplementedError):
        return _unknown(start)


def _unknown(start: Any) -> Any:
    return tf.fill(tf.shape(start), tf.cast(np.nan, start.dtype))


def _gramian(columns: list[Any], probe: Any, expected: list[Any], values: list[Any]) -> tuple:
    """Returns `J^T J` and the number of values.

    Some operations have a gradient and silently no second one, so that their part of `J` is
    missing: then `J^T probe` is not `expected`, which took first gradients alone.
    """
    known = [tf.zeros_like(v) if e is None else e for e, v in zip(expected, values, strict=True)]
    wanted = tf.concat([_flat(each) for each in known], axis=0)
    jacobian = tf.stack([_flat(column) for column in columns])
    found = tf.linalg.matvec(jacobian, _flat(probe))
    scale = tf.abs(wanted) + tf.norm(jacobian, axis=1) * tf.norm(_flat(probe))
    wrong = tf.abs(found - wanted) > AGREEMENT * scale
    # Where physics is not finite the terms' own findings say so.
    unknown = wrong | tf.reduce_all(tf.math.is_nan(jacobian), axis=1)
    finite = tf.where(tf.math.is_finite(jacobian), jacobian, tf.zeros_like(jacobian))
    jacobian = tf.where(unknown[:, None], tf.constant(np.nan, "float64"), finite)
    return tf.matmul(jacobian, jacobian, transpose_b=True), tf.size(probe)


def _flat(tensor: Any) -> Any:
    return tf.cast(tf.reshape(tensor, [-1]), "float64")


def _elements(gradient: Any) -> list[Any] | None:
    return None if gradient is None else tf.unstack(tf.reshape(gradient, [-1]))
