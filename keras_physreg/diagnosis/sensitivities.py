"""How the outputs of the physics move with its constants, row by row."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg.constants.constant import MAX_LOGGED_ELEMENTS, Constant
from keras_physreg.diagnosis.constant_trials import scope_of, try_constants
from keras_physreg.diagnosis.graphs import compiled, gradient_or_none, new_tape
from keras_physreg.diagnosis.observation import call_unnoticed, unweighted_step
from keras_physreg.diagnosis.probe_rows import Rows, sets_of_rows

# Two ways to one derivative differ by rounding only.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Sensitivities:
    """How the outputs of the terms move with the elements of all constants.

    With `J` the derivatives of a term's output values by the dimensionless variables of the
    constants (one row per value, one column per element), its Gramian is `J^T J` over the number
    of values.

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
    model: keras.Model,
    constants: Sequence[Constant],
    rows: Rows,
    batch_size: int,
    points: Mapping[str, Rows] | None = None,
) -> Sensitivities:
    """Measures how the physics outputs move with the constants, at the model's predictions.

    Nothing in the model changes. A column of `J` is a derivative of a derivative, which is linear
    in what it starts from: Townsend, "A new trick for calculating Jacobian vector products" (2017).
    Central differences need half as much code, and no second derivatives, but cannot tell a
    derivative of 0 from rounding.

    Args:
        model: A built model.
        constants: Its trainable constants.
        rows: The rows to look at.
        batch_size: Rows in a batch.
        points: Rows by term, on which that term is looked at in place of all others.
    """
    meter = _Meter(model, constants)
    gramians: dict[str, Any] = {}
    counts: dict[str, float] = {}
    tried: dict[str, np.ndarray] = {}
    escapes: dict[str, dict[str, float]] = {}
    for some, skipped in sets_of_rows(model, rows, points or {}):
        measure = functools.partial(meter.measure, skipped)
        program = compiled(model, measure, some, batch_size)
        for batch in some.batches(batch_size):
            for name, (gramian, count) in program(batch.x, batch.y, batch.sample_weight).items():
                gramians[name] = gramians.get(name, 0.0) + ops.convert_to_numpy(gramian)
                counts[name] = counts.get(name, 0.0) + float(count)
        at_others = try_constants(model, constants, some, batch_size, skipped)
        tried |= at_others[0]
        escapes |= at_others[1]
    return Sensitivities(
        {name: gramian / max(counts[name], 1.0) for name, gramian in gramians.items()},
        meter.connected,
        tried,
        escapes,
    )


class _Meter:
    def __init__(self, model: keras.Model, constants: Sequence[Constant]) -> None:
        self._model = model
        self._raws = [constant.raw for constant in constants]
        self.connected: dict[str, tuple[bool, ...]] = {}

    def measure(
        self, skipped: frozenset[str], x: Any, y: Any, sample_weight: Any
    ) -> dict[str, tuple]:
        """Returns per term, except those to skip, the Gramian's sum and number of values."""
        del sample_weight
        values = [ops.copy(raw) for raw in self._raws]
        with unweighted_step(self._model, skipped) as step, new_tape() as outer:
            with new_tape() as inner:
                inner.watch(values)
                with scope_of(self._raws, values):
                    call_unnoticed(self._model, x, False)
                    found = [e.layer.evaluations(e, y) for e in step.evaluations]
            outputs = {n: there.outputs[n] for each in found for n, there in each.items()}
            starts = {name: ops.zeros_like(output) for name, output in outputs.items()}
            outer.watch(starts)
            back = {n: _back(inner, outputs[n], values, starts[n]) for n in outputs}
            parts = {n: [_elements(each) for each in back[n]] for n in outputs}
        gramians = {}
        for name, output in outputs.items():
            probe = keras.random.normal(ops.shape(output), dtype=output.dtype, seed=0)
            expected = _back(inner, output, values, probe)
            columns = self._columns(outer, name, parts[name], starts[name])
            gramians[name] = _gramian(columns, probe, expected, values)
        return gramians

    def _columns(self, outer: Any, name: str, parts: list[Any], start: Any) -> list[Any]:
        """Returns the columns of `J`; NaN where they are not known."""
        columns, connected = [], []
        for raw, elements in zip(self._raws, parts, strict=True):
            size = int(np.prod(raw.shape))
            connected += [elements is not None] * size
            if elements is None:
                columns += [ops.zeros_like(start)] * size
            elif size > MAX_LOGGED_ELEMENTS:  # Each costs a gradient.
                columns += [ops.full_like(start, np.nan)] * size
            else:
                columns += [_column(outer, element, start) for element in elements]
        self.connected[name] = tuple(connected)
        return columns


def _back(tape: Any, output: Any, values: list[Any], start: Any) -> list[Any]:
    found = gradient_or_none(tape, output, values, start)
    return [None] * len(values) if found is None else found


def _column(tape: Any, element: Any, start: Any) -> Any:
    """Returns a column of `J`; NaN where an operation has no second gradient."""
    found = gradient_or_none(tape, element, [start])
    if found is None:
        return ops.full_like(start, np.nan)
    return ops.zeros_like(start) if found[0] is None else found[0]


def _gramian(columns: list[Any], probe: Any, expected: list[Any], values: list[Any]) -> tuple:
    """Returns `J^T J` and the number of values.

    Some operations have a gradient and silently no second one, so that their part of `J` is
    missing: then `J^T probe` is not `expected`, which took first gradients alone.
    """
    known = [ops.zeros_like(v) if e is None else e for e, v in zip(expected, values, strict=True)]
    wanted = ops.concatenate([_flat(each) for each in known])
    jacobian = ops.stack([_flat(column) for column in columns])
    found = ops.matmul(jacobian, _flat(probe))
    scale = ops.abs(wanted) + ops.norm(jacobian, axis=1) * ops.norm(_flat(probe))
    wrong = ops.abs(found - wanted) > TOLERANCE * scale
    # Where physics is not finite the terms' own findings say so.
    unknown = ops.logical_or(wrong, ops.all(ops.isnan(jacobian), axis=1))
    finite = ops.where(ops.isfinite(jacobian), jacobian, ops.zeros_like(jacobian))
    jacobian = ops.where(unknown[:, None], ops.full_like(jacobian, np.nan), finite)
    return ops.matmul(jacobian, ops.transpose(jacobian)), ops.size(probe)


def _flat(tensor: Any) -> Any:
    return ops.cast(ops.reshape(tensor, (-1,)), "float64")


def _elements(gradient: Any) -> list[Any] | None:
    return None if gradient is None else ops.unstack(ops.reshape(gradient, (-1,)))
