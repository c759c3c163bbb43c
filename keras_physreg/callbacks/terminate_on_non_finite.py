"""TerminateOnNonFinite: stops at the first loss that is NaN or infinite, and names the term."""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.errors import boolean
from keras_physreg.inspection import find_terms, get_term_weights
from keras_physreg.layers.build_physics import is_built
from keras_physreg.layers.metrics import NamedMeans


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Callback that stops training at the first step whose loss is NaN or infinite.

    A warning names the term, the epoch and batch, the term's weight and its last finite value. A
    term at weight 0 is reported once and does not stop the training. The callback reads the logs,
    which hold the mean over the epoch's steps so far; with `steps_per_execution=n` it reads them
    after every n steps only.

    Args:
        restore_weights: Whether to restore the model and its optimizer from the last step after
            which all losses and weights were finite. This copies both at every step. For a model
            that its first step builds, the copies begin after that step.

    Attributes:
        stopped_term: Name of the term that stopped the training, or `"data"` if no term did. `None`
            if the training was not stopped, or if terms and data loss failed in the same step, so
            that the cause is unknown.
        stopped_epoch: Epoch at which the training stopped, counted from 0, or `None`.
        stopped_batch: Batch at which the training stopped, counted from 0, or `None`.

    Raises:
        TypeError: If `restore_weights` is not a boolean.
        ValueError: In `fit`, if the model has no physics terms.

    Example:
    >>> import warnings
    >>> import keras, keras_physreg as kp
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model = kp.regularize(encoder, lambda z, x: keras.ops.log(x - x - 1), {"log": 0.5})
    >>> model.compile("sgd", "mse")
    >>> ones, stop = keras.ops.ones((4, 2)), kp.TerminateOnNonFinite()
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     history = model.fit(ones, ones, epochs=3, callbacks=[stop], verbose=0)
    >>> stop.stopped_term, stop.stopped_epoch, len(history.epoch)
    ('log', 0, 1)
    """

    def __init__(self, restore_weights: bool = False) -> None:
        super().__init__()
        self.restore_weights = boolean("restore_weights", restore_weights)
        self.stopped_term: str | None = None
        self.stopped_epoch: int | None = None
        self.stopped_batch: int | None = None
        self._terms: list[str] = []
        self._epoch = 0
        self._last_finite: dict[str, float] = {}
        self._reported: set[str] = set()
        self._excused: set[str] = set()
        self._copies: list[tuple[keras.Variable, Any]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the terms of the model."""
        self.stopped_term = self.stopped_epoch = self.stopped_batch = None
        self._last_finite, self._reported = {}, set()
        self._terms = list(find_terms(self.model))
        if not self._terms:
            raise ValueError(
                f"TerminateOnNonFinite: model '{self.model.name}' has no physics terms. Use "
                "`keras.callbacks.TerminateOnNaN`, or call a `PhysicsRegularization` layer in it."
            )
        self._copies = []
        # Copies need a built model and optimizer. The first step builds an unbuilt model.
        if self.restore_weights and is_built(self.model):
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
            self._keep_copies()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stores the epoch; its logged means start again."""
        self._epoch = epoch
        self._excused = set()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the losses after a step, or after the steps of one execution."""
        logs = logs or {}
        logged = [name for name in self._terms if f"{name}_loss" in logs]
        values = {name: float(logs[f"{name}_loss"]) for name in logged}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        bad = [name for name in bad if self._has_rows(name)]
        total_is_finite = math.isfinite(float(logs.get("loss", 0.0)))
        if not bad and total_is_finite:
            self._continue(values, bad)
            return
        weights = get_term_weights(self.model)
        # A mean stays NaN for the rest of the epoch: the NaN may date from steps at weight 0.
        live = [name for name in bad if weights[name] and name not in self._excused]
        if live or not total_is_finite:
            data_loss = float(logs.get("data_loss", 0.0 if len(bad) < len(values) else math.nan))
            self._stop(batch, live, bad, values, weights, math.isfinite(data_loss))
            return
        for name in bad:
            if name not in self._reported:
                self._warn(
                    f"{self._description(name, batch, values, weights)} Training continues without "
                    "it."
                )
        self._continue(values, bad)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Releases the copies."""
        self._copies = []

    def _continue(self, values: dict[str, float], bad: list[str]) -> None:
        self._last_finite.update({n: value for n, value in values.items() if n not in bad})
        self._reported |= set(bad)
        self._excused |= set(bad)
        self._keep_copies()

    def _stop(
        self,
        batch: int,
        live: list[str],
        bad: list[str],
        values: dict[str, float],
        weights: dict[str, float],
        data_is_finite: bool,
    ) -> None:
        to_blame = live or [name for name in bad if weights[name]]
        self.stopped_epoch, self.stopped_batch = self._epoch, batch
        sentences = [self._description(name, batch, values, weights) for name in to_blame]
        if to_blame and data_is_finite:
            self.stopped_term = to_blame[0]
        elif to_blame:
            self.stopped_term = None
            sentences.append(
                "All losses failed at once, so the weights, the inputs or the labels are not "
                "finite. Check the step before, whose gradient may have been infinite, and the "
                "rows of this batch; `keras_physreg.diagnose` names bad rows."
            )
        else:
            self.stopped_term = "data"
            sentences = [
                f"The loss is not finite at epoch {self._epoch}, batch {batch}, although all terms "
                "of a weight above 0 are finite: check the data loss."
            ]
        self.model.stop_training = True
        restored = ""
        if self._copies:
            for variable, value in self._copies:
                variable.assign(value)
            restored = " The model and its optimizer are restored to the last finite step."
        self._warn(f"{' '.join(sentences)} Training stops.{restored}")

    def _description(
        self, name: str, batch: int, values: dict[str, float], weights: dict[str, float]
    ) -> str:
        last = self._last_finite.get(name)
        before = "it was never finite" if last is None else f"its last finite value was {last:.4g}"
        return (
            f"The loss of physics term '{name}' is {values[name]:g} at epoch {self._epoch}, batch "
            f"{batch}; its weight is {weights[name]:g}, and {before}."
        )

    def _has_rows(self, name: str) -> bool:
        """Returns whether a term had any rows in this epoch; without rows its mean is NaN, too."""
        key = f"{name}_loss"
        metrics = find_terms(self.model)[name].metrics
        means = [m for m in metrics if isinstance(m, NamedMeans) and key in m.names]
        rows = [float(m.rows.numpy()[m.names.index(key)]) for m in means]
        return not means or sum(rows) > 0

    def _warn(self, message: str) -> None:
        warnings.warn(f"TerminateOnNonFinite: {message}", RuntimeWarning, stacklevel=2)

    def _keep_copies(self) -> None:
        if not self.restore_weights:
            return
        if all(bool(ops.all(ops.isfinite(weight))) for weight in self.model.trainable_weights):
            variables = [*self.model.weights, *self.model.optimizer.variables]
            self._copies = [(v, ops.copy(v)) for v in variables]
