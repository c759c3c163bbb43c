"""TerminateOnNonFinite: stops at the first step whose loss is NaN or infinite, and says why."""

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

    It warns with the term, the epoch and batch, the term's weight and its last finite value. A
    term at weight 0 is reported once, and does not stop the training. Values come from the logs,
    which hold the mean of an epoch's steps so far; with `steps_per_execution=n` they are seen
    after every n steps only.

    Args:
        restore_weights: Whether the model and its optimizer go back to the last step after which
            all losses and weights were finite. This keeps a copy of both, renewed at each step;
            of a model that is built by its first step, from the end of that step on.

    Attributes:
        stopped_term: Name of the term that stopped the training; `"data"` where it was none of
            them; `None` while nothing has, and where the terms and the data loss failed at once,
            so that none is to blame alone.
        stopped_epoch: The epoch in which it did, counted from 0.
        stopped_batch: The batch in which it did, counted from 0.

    Raises:
        TypeError: If `restore_weights` is no boolean.
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
        """Finds the terms on the model that trains."""
        self.stopped_term = self.stopped_epoch = self.stopped_batch = None
        self._last_finite, self._reported = {}, set()
        self._terms = list(find_terms(self.model))
        if not self._terms:
            raise ValueError(
                f"TerminateOnNonFinite: model '{self.model.name}' has no physics terms. Use "
                "`keras.callbacks.TerminateOnNaN`, or call a `PhysicsRegularization` layer in it."
            )
        self._copies = []
        # The first step builds what is not built yet; the optimizer is built after it, and once.
        if self.restore_weights and is_built(self.model):
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
            self._keep_copies()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch; its means start again."""
        self._epoch = epoch
        self._excused = set()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the losses of the step, or of the steps of one execution."""
        logs = logs or {}
        logged = [name for name in self._terms if f"{name}_loss" in logs]
        values = {name: float(logs[f"{name}_loss"]) for name in logged}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        bad = [name for name in bad if self._has_rows(name)]
        total_is_finite = math.isfinite(float(logs.get("loss", 0.0)))
        if not bad and total_is_finite:
            self._go_on(values, bad)
            return
        weights = get_term_weights(self.model)
        # A mean stays NaN for the rest of the epoch: it may be from the time at weight 0.
        live = [name for name in bad if weights[name] and name not in self._excused]
        if live or not total_is_finite:
            data_loss = float(logs.get("data_loss", 0.0 if len(bad) < len(values) else math.nan))
            self._stop(batch, live, bad, values, weights, math.isfinite(data_loss))
            return
        for name in bad:
            if name not in self._reported:
                self._warn(self._what(name, batch, values, weights) + " It is not trained on.")
        self._go_on(values, bad)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Lets go of the copies."""
        self._copies = []

    def _go_on(self, values: dict[str, float], bad: list[str]) -> None:
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
        said = [self._what(name, batch, values, weights) for name in to_blame]
        if to_blame and data_is_finite:
            self.stopped_term = to_blame[0]
        elif to_blame:
            self.stopped_term = None
            said.append(
                "All losses failed at once: the weights, the inputs or the labels are not finite. "
                "Look at the step before, whose derivative may have been infinite, and at the rows "
                "of this batch; `keras_physreg.diagnose` names them."
            )
        else:
            self.stopped_term = "data"
            said = [
                f"The loss is not finite at epoch {self._epoch}, batch {batch}, and no term of a "
                "weight above 0 is to blame: look at the data loss."
            ]
        self.model.stop_training = True
        restored = ""
        if self._copies:
            for variable, value in self._copies:
                variable.assign(value)
            restored = " The model and its optimizer are back at the last finite step."
        self._warn(f"{' '.join(said)} Training stops.{restored}")

    def _what(
        self, name: str, batch: int, values: dict[str, float], weights: dict[str, float]
    ) -> str:
        last = self._last_finite.get(name)
        before = "it was never finite" if last is None else f"its last finite value was {last:.4g}"
        return (
            f"The loss of physics term '{name}' is {values[name]:g} at epoch {self._epoch}, batch "
            f"{batch}; its weight is {weights[name]:g}, and {before}."
        )

    def _has_rows(self, name: str) -> bool:
        """Returns whether a term had any rows in this epoch: NaN is the mean of none, too."""
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
