"""GradientMonitor: logs the size and direction of each term's gradient in training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg._utils.errors import whole_number
from keras_physreg.diagnosis.gradient_products import DATA, Gradients
from keras_physreg.diagnosis.inputs_alone import rows_of_points
from keras_physreg.diagnosis.probe_rows import Rows, check_rows, choose_rows
from keras_physreg.inspection import find_terms, get_term_weights
from keras_physreg.layers.build_physics import is_built
from keras_physreg.unlabelled.point_sources import check_rows_for_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from keras_physreg.diagnosis.gradients import GradientMeter


class GradientMonitor(keras.callbacks.Callback):
    """Callback that compares each term's gradient with that of the data loss, on a probe set.

    At the end of the first epoch, and of every `every`-th epoch after it, it logs:

    - `<term>_grad_norm`: norm of the gradient of the unweighted term loss;
    - `<term>_grad_ratio`: weight times this norm, over the norm of the data gradient;
    - `<term>_grad_cosine`: cosine with the data gradient.

    A value is NaN if the term is not connected, there are no labels, or a gradient is zero. The
    callback does not change the training, which stays the same bit for bit. In a plain
    `keras.Model` put it before a `CSVLogger` in the list; `PhysicsModel.fit` does this itself.

    Args:
        x: Inputs of the probe set: array or structure of arrays of shape `(rows, ...)`, or a
            dataset of batches; `None` if every term has `points`.
        y: Labels. Without them only norms are measured.
        every: Number of epochs from one measurement to the next.
        sample_weight: Weights of the rows, of shape `(rows,)`.
        max_samples: Maximum number of rows of the probe set, and of each point set, drawn at random
            once; `None` for all.
        batch_size: Rows per batch. One batch is fastest.
        training: Whether dropout and batch normalisation work as in training.
        points: Per term, inputs on which its gradient is measured in place of `x`, as in
            `PhysicsModel.fit`: arrays, a dataset of inputs, or a sampler, of which 1024 rows are
            taken. They stay the same in all epochs.

    Attributes:
        epochs: The measured epochs, counted from 0.
        history: Dict from log key to a list of measured values, one per epoch in `epochs`.

    Raises:
        NotImplementedError: If Keras does not run on TensorFlow.
        TypeError: If a count is not an integer, or the data are not arrays of numbers.
        ValueError: If a count is < 1, or the data do not match each other. In `fit`: if the model
            has no terms, or the data do not match it.

    Example:
    >>> import keras, keras_physreg as kp
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model = kp.regularize(encoder, lambda z, x: x - z, {"balance": 0.5})
    >>> model.compile("sgd", "mse")
    >>> ones = keras.ops.ones((4, 2))
    >>> monitor = kp.GradientMonitor(ones, ones)
    >>> history = model.fit(ones, ones, epochs=3, callbacks=[monitor], verbose=0)
    >>> [round(ratio, 4) for ratio in history.history["balance_grad_ratio"]]
    [0.5, 0.5, 0.5]
    """

    adds_logs = True

    def __init__(
        self,
        x: Any = None,
        y: Any = None,
        every: int = 1,
        sample_weight: Any = None,
        max_samples: int | None = 256,
        batch_size: int = 256,
        training: bool = False,
        points: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        needs_tensorflow("`GradientMonitor`")
        self.every = whole_number("every", every)
        self.batch_size = whole_number("batch_size", batch_size)
        self.training = training
        self.points, self.max_samples = points, max_samples
        self.rows: Rows | None = None
        # Labels without inputs are refused there, too.
        if points is None or any(given is not None for given in (x, y, sample_weight)):
            self.rows = choose_rows(x, y, sample_weight, max_samples)
        self._sets: list[tuple[Rows, frozenset[str]]] = []
        self.epochs: list[int] = []
        self.history: dict[str, list[float]] = {}
        self._first_epoch: int | None = None
        self._meter: GradientMeter | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that the model has terms and accepts the probe rows."""
        if not find_terms(self.model):
            raise ValueError(
                f"GradientMonitor: model '{self.model.name}' has no physics terms. Call a "
                "`keras_physreg.PhysicsRegularization` layer in it."
            )
        self.epochs, self.history = [], {}
        self._first_epoch, self._meter = None, None
        self._sets = self._sets_of_rows()
        if is_built(self.model):
            self._meter = self._new_meter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the gradients, and adds them to the logs."""
        if self._first_epoch is None:
            self._first_epoch = epoch
        if (epoch - self._first_epoch) % self.every:
            return
        if self._meter is None:  # The first step has built the model.
            self._meter = self._new_meter()
        gradients = self._measure(self._meter)
        if not self.epochs:
            self._warn_of_disconnected(gradients, self._meter.notes)
        found = _logs(gradients, get_term_weights(self.model))
        self.epochs.append(epoch)
        for key, value in found.items():
            self.history.setdefault(key, []).append(value)
        if logs is not None:
            logs.update(found)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Releases the compiled measurement."""
        self._meter = None

    def plot(self) -> Figure:
        """Draws norms, ratios and cosines over the measured epochs.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If no epoch was measured yet.
        """
        from keras_physreg.diagnosis.picture import plot_gradient_history

        return plot_gradient_history(self.history, self.epochs)

    def _sets_of_rows(self) -> list[tuple[Rows, frozenset[str]]]:
        """Returns each set of rows with the terms that are not computed on it."""
        owner, every = "GradientMonitor", frozenset(find_terms(self.model))
        points = rows_of_points(owner, self.model, self.points, self.max_samples)
        if self.rows is None:
            check_rows_for_all(self.model, tuple(points))
            labelled = []
        else:
            check_rows(owner, self.model, self.rows)
            labelled = [(self.rows, frozenset(points))]
        return labelled + [(own, every - {term}) for term, own in points.items()]

    def _new_meter(self) -> GradientMeter:
        """Returns a meter that was tried out on the probe rows."""
        # Imported here: importing the package must not load TensorFlow.
        from keras_physreg.diagnosis.gradients import GradientMeter

        meter = GradientMeter(self.model, self.training)
        for rows, skipped in self._sets:
            try:
                meter.try_out(next(rows.batches(self.batch_size)), self._in_one_batch, skipped)
            except Exception as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(
                    f"GradientMonitor cannot measure model '{self.model.name}' on the probe rows "
                    f"({rows.shapes()}): {error}"
                ) from error
        return meter

    @property
    def _in_one_batch(self) -> bool:
        rows, skipped = self._sets[0]
        return not skipped and len(rows.numbers) <= self.batch_size

    def _measure(self, meter: GradientMeter) -> Gradients:
        if self._in_one_batch:
            return meter.measure(next(self._sets[0][0].batches(self.batch_size)))
        meter.reset()
        for rows, skipped in self._sets:
            for batch in rows.batches(self.batch_size):
                meter.update(batch, skipped)
        return meter.result()

    def _warn_of_disconnected(self, gradients: Gradients, notes: dict[str, str]) -> None:
        for name in gradients.names[1:]:
            if not any(gradients.connected[name]) and name not in notes:
                warnings.warn(
                    f"GradientMonitor: no gradient of physics term '{name}' reaches the model's "
                    "variables, so its logs are NaN. Run `keras_physreg.diagnose` to see why.",
                    stacklevel=2,
                )


def _logs(gradients: Gradients, weights: dict[str, float]) -> dict[str, float]:
    data_norm, logs = gradients.norm(DATA), {}
    for name in gradients.names[1:]:
        norm, cosine = gradients.norm(name), gradients.cosine(DATA, name)
        ratio = weights[name] * norm / data_norm if norm is not None and data_norm else None
        for key, value in (("norm", norm), ("ratio", ratio), ("cosine", cosine)):
            logs[f"{name}_grad_{key}"] = math.nan if value is None else value
    return logs
