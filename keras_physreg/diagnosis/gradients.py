"""Gradients of the data loss and of each term's unweighted loss, summed over batches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.diagnosis.gradient_products import DATA as DATA
from keras_physreg.diagnosis.gradient_products import Gradients as Gradients
from keras_physreg.diagnosis.graphs import of_any_size
from keras_physreg.diagnosis.observation import Observation, observe
from keras_physreg.diagnosis.probe_rows import Batch, choose_rows
from keras_physreg.inspection import find_terms


class GradientMeter:
    """Measures one model; compiled once, it may be used again as the model trains.

    The model, its optimizer, metrics and random state stay as they are. Memory: one gradient per
    loss, whatever the number of rows.

    Args:
        model: Any Keras model with physics layers, built.
        training: Whether dropout and batch normalisation work as in training. Then each batch
            goes on with the random state that the last one left.
        in_full: Whether to look at rows and at the labels too; see `observe`.
        differentiate: Whether to compute gradients.
    """

    def __init__(
        self,
        model: keras.Model,
        training: bool = False,
        in_full: bool = False,
        differentiate: bool = True,
    ) -> None:
        self.names = (DATA, *find_terms(model))
        self.notes: dict[str, str] = {}
        self._model = model
        self._variables = model.trainable_variables
        self._state = model.non_trainable_variables if training else []
        self._training, self._in_full, self._differentiates = training, in_full, differentiate
        self._connected: dict[str, tuple[bool, ...]] = dict.fromkeys(
            self.names, (False,) * len(self._variables)
        )
        self._cut_before: set[str] = set()
        self._reasons: dict[str, str] = {}
        self._traced: list[Any] = []
        self._adders: dict[frozenset[str], Any] = {}
        self._at_once = self._compiled(self._multiply_batch)
        self.reset()

    def reset(self) -> None:
        """Forgets all batches."""
        self._rows: dict[str, float] = dict.fromkeys(self.names, 0.0)
        self._sums: Any = None
        self._before: tuple[Any, dict[str, float]] | None = None
        self._values = [tf.convert_to_tensor(variable) for variable in self._state]

    def update(self, batch: Batch, skipped: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Adds a batch, and returns what was observed, in NumPy.

        Args:
            batch: The batch.
            skipped: Terms of a `PhysicsModel` that are not computed on these rows.
        """
        if self._sums is None:
            self._sums = self._no_sums()
        state, data = (self._sums, self._values), (batch.x, batch.y, batch.sample_weight)
        add = self._adder(skipped)
        self._trace(add, state, data)
        self._sums, self._values, observed = add(*state, *data)
        observed = tf.nest.map_structure(_to_numpy, observed)
        for name in observed["losses"]:
            self._rows[name] += len(batch.numbers) * int(observed["has_values"].get(name, True))
        return observed

    def begin_part(self) -> None:
        """Keeps what was added so far as the labelled part of `result(share)`."""
        if self._sums is not None:
            self._before = self._sums, self._rows
        self._sums, self._rows = None, dict.fromkeys(self.names, 0.0)

    def result(self, share: float | None = None) -> Gradients:
        """Returns the gradients of the mean over all rows so far.

        Args:
            share: Factor of the mean over the rows since `begin_part`; that over the rows before
                has the factor `1 - share`. Terms with rows in one part alone are means over these.
                `None`: all rows count alike.
        """
        self._join(share)
        rows = np.array([self._rows[name] or 1 for name in self.names])
        found = self._gradients(self._inner_products(self._sums))
        return replace(found, by_variable=found.by_variable / np.outer(rows, rows))

    def _join(self, share: float | None) -> None:
        """Joins both parts to sums over all rows, of which each part has its share."""
        if self._before is None:
            return
        sums, rows = self._before
        self._before = None
        if self._sums is None:
            self._sums, self._rows = sums, rows
            return
        for k, name in enumerate(self.names if self._differentiates else ()):
            first, others = rows[name], self._rows[name]
            factor = 1.0
            if share is not None and first and others:
                # With it the earlier rows count as `(1 - share) / share` times as many.
                factor = (1 - share) / share * others / first
            pairs = zip(sums[k], self._sums[k], strict=True)
            self._sums[k] = [factor * a + b for a, b in pairs]
            self._rows[name] = factor * first + others

    def measure(self, batch: Batch) -> Gradients:
        """Returns the gradients over one batch: in one program, and faster for it."""
        data = (batch.x, batch.y, batch.sample_weight)
        self._trace(self._at_once, (self._values,), data)
        return self._gradients(self._at_once(self._values, *data))

    def try_out(self, batch: Batch, alone: bool, skipped: frozenset[str] = frozenset()) -> None:
        """Raises what batches like this one would raise, and compiles for them.

        Args:
            batch: The first batch.
            alone: Whether it is the only one, for `measure`, or others follow, for `update`.
            skipped: As in `update`.
        """
        program = self._at_once if alone else self._adder(skipped)
        state: tuple = (self._values,) if alone else (self._no_sums(), self._values)
        data = (batch.x, batch.y, batch.sample_weight)
        self._trace(program, state, data)
        if self._model.run_eagerly:
            program(*state, *data)

    def _adder(self, skipped: frozenset[str]) -> Any:
        """Returns the program that adds a batch."""
        if skipped not in self._adders:
            add = functools.partial(self._add_batch, skipped)
            self._adders[skipped] = self._compiled(add)
        return self._adders[skipped]

    def _no_sums(self) -> list[list[tf.Tensor]]:
        names = self.names if self._differentiates else ()
        return [[_zeros(v) for v in self._variables] for _ in names]

    def _gradients(self, by_variable: tf.Tensor) -> Gradients:
        return Gradients(
            self.names,
            tuple(variable.path for variable in self._variables),
            np.asarray(by_variable).reshape(-1, len(self.names), len(self.names)),
            self._connected,
            frozenset(self._cut_before),
            self._reasons,
        )

    def _compiled(self, function: Callable) -> Callable:
        if self._model.run_eagerly:
            return function
        return tf.function(function, autograph=False)

    def _trace(self, program: Any, state: tuple, data: tuple) -> None:
        """Traces a program once, for batches of any size."""
        if program in self._traced or self._model.run_eagerly:
            return
        program.get_concrete_function(*state, *tf.nest.map_structure(of_any_size, data))
        self._traced.append(program)

    def _add_batch(
        self, skipped: frozenset[str], sums: Any, values: Any, x: Any, y: Any, sample_weight: Any
    ) -> Any:
        seen, gradients, values = self._differentiate(values, x, y, sample_weight, skipped)
        rows = tf.shape(tf.nest.flatten(x)[0])[0]
        sums = [
            [_add(total, gradient, rows) for total, gradient in zip(*parts, strict=True)]
            for parts in zip(sums, gradients, strict=True)
        ]
        observed = {
            "losses": seen.losses,
            "has_values": seen.has_values,
            "here": seen.at_prediction,
            "labels": seen.at_labels,
        }
        return sums, values, observed

    def _multiply_batch(self, values: Any, x: Any, y: Any, sample_weight: Any) -> tf.Tensor:
        _, gradients, _ = self._differentiate(values, x, y, sample_weight)
        zeros = [_zeros(variable) for variable in self._variables]
        return self._inner_products(
            [
                [z if g is None else g for z, g in zip(zeros, part, strict=True)]
                for part in gradients
            ]
        )

    def _inner_products(self, gradients: list[list[tf.Tensor]]) -> tf.Tensor:
        products = []
        for parts in zip(*gradients, strict=True):
            flat = tf.stack([tf.cast(tf.reshape(part, [-1]), "float64") for part in parts])
            products.append(tf.matmul(flat, flat, transpose_b=True))
        return tf.stack(products) if products else tf.zeros((0,), "float64")

    def _differentiate(
        self,
        values: Any,
        x: Any,
        y: Any,
        sample_weight: Any,
        skipped: frozenset[str] = frozenset(),
    ) -> tuple[Observation, list[list[Any]], list[Any]]:
        with tf.GradientTape(persistent=True) as tape:
            # A scope in which nothing is assigned; its variables are these tensors.
            variables = [tf.convert_to_tensor(variable) for variable in self._variables]
            tape.watch(variables)
            pairs = [*zip(self._variables, variables, strict=True)]
            pairs += zip(self._state, values, strict=True)
            with keras.StatelessScope(pairs, collect_losses=True) as scope:
                how = (self._training, self._in_full, skipped)
                seen = observe(self._model, x, y, sample_weight, *how)
        values = [scope.get_current_value(variable) for variable in self._state]
        self.notes.update(seen.notes)
        names = self.names if self._differentiates else ()
        gradients = [self._gradient(tape, name, variables, seen) for name in names]
        return seen, gradients, values

    def _gradient(
        self, tape: tf.GradientTape, name: str, variables: list[tf.Tensor], seen: Observation
    ) -> list[Any]:
        if name not in seen.losses:
            return [None] * len(variables)
        try:
            found = tape.gradient(seen.losses[name], variables)
        except (LookupError, NotImplementedError) as error:  # An op without a gradient.
            self._reasons[name] = str(error)
            found = [None] * len(variables)
        connected = self._connected[name] = tuple(gradient is not None for gradient in found)
        predictions = seen.predictions.get(name, [])
        if not any(connected) and not any(_connects(tape, part, variables) for part in predictions):
            self._cut_before.add(name)
        return [_dense(gradient) for gradient in found]


def gradients(
    model: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int = 32,
    max_samples: int | None = None,
    training: bool = False,
) -> Gradients:
    """Measures the mean gradients of the data loss and of each term's unweighted loss.

    The model, its optimizer, metrics and random state stay as they are.

    Args:
        model: Any Keras model with physics layers, built.
        x: Inputs, array or structure of arrays of shape `(rows, ...)`, or a dataset of batches.
        y: Labels; without them there is no gradient of the data loss.
        sample_weight: Weights of the rows.
        batch_size: Rows in a batch.
        max_samples: Most rows to take; `None` for all.
        training: Whether dropout and batch normalisation work as in training.

    Returns:
        The gradients, as all their inner products.

    Example:
    >>> import keras, keras_physreg as kp
    >>> from keras_physreg.diagnosis.gradients import gradients
    >>> dense = keras.layers.Dense(1, kernel_initializer="ones")
    >>> encoder = keras.Sequential([keras.Input((1,)), dense])
    >>> model = kp.regularize(encoder, lambda z, x: x - 3 * z, {"triple": 0.1})
    >>> model.compile("sgd", "mse")
    >>> found = gradients(model, keras.ops.ones((4, 1)), 2 * keras.ops.ones((4, 1)))
    >>> print(f"{found.cosine('data', 'triple'):.3f}")
    1.000
    >>> print(f"{found.norm('triple') / found.norm('data'):.3f}")
    2.000
    """
    meter = GradientMeter(model, training)
    for batch in choose_rows(x, y, sample_weight, max_samples).batches(batch_size):
        meter.update(batch)
    return meter.result()


def _zeros(variable: keras.Variable) -> tf.Tensor:
    # Sums of many small parts need float32 at least.
    dtype = "float64" if variable.dtype == "float64" else "float32"
    return tf.zeros(variable.shape, dtype)


def _connects(tape: tf.GradientTape, tensor: tf.Tensor, variables: list[tf.Tensor]) -> bool:
    return any(gradient is not None for gradient in tape.gradient(tensor, variables))


def _add(total: tf.Tensor, gradient: Any, rows: tf.Tensor) -> tf.Tensor:
    if gradient is None:
        return total
    return total + tf.cast(rows, total.dtype) * tf.cast(gradient, total.dtype)


def _dense(gradient: Any) -> Any:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])


def _to_numpy(value: Any) -> Any:
    return value.numpy() if hasattr(value, "numpy") else value
