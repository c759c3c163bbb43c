"""sanity_sweep: every term off, then one term at a time, over many weights and seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_physreg.diagnosis import diagnose
from keras_physreg.inspection import find_terms
from keras_physreg.sweep import checks
from keras_physreg.sweep.replicas import ReplicaHistory, ReplicaTrainer
from keras_physreg.sweep.result import SweepResult, SweepSettings
from keras_physreg.sweep.term_sweep import QUANTITIES, TermSweep, measure

LARGEST_WEIGHT = 1e4
WEIGHTS = tuple(float(f"1e{exponent}") for exponent in range(-10, 1))


def sanity_sweep(
    model: keras.Model,
    x: Any,
    y: Any = None,
    validation_data: Any = None,
    weights: Sequence[float] = WEIGHTS,
    terms: Sequence[str] | None = None,
    others: str = "zero",
    seeds: int | Sequence[int] = 8,
    epochs: int = 100,
    batch_size: int | None = None,
    validation_batch_size: int | None = None,
    sample_weight: Any = None,
    monitor: str = "val_data_loss",
    score: str = "best",
    extend_to: float = LARGEST_WEIGHT,
    min_effect: float = 0.01,
    confidence: float = 0.95,
    verbose: str | int = "auto",
    unlabelled: Any = None,
    unlabelled_batch_size: int | None = None,
    **trainer: Any,
) -> SweepResult:
    """Trains with all terms off, then with one term at a time over many weights, and compares.

    All trainings run as replicas in compiled programs; see `ReplicaTrainer`. With the same seed
    they have the same initial weights and batches, and are compared pair by pair. While the best
    weight of a term is the last one tried, further ones follow at the same ratio, up to
    `extend_to`. The model keeps its weights.

    Args:
        model: A compiled Keras model with physics terms.
        x: Inputs in memory: an array or a structure of arrays of shape `(rows, ...)`.
        y: Labels, likewise.
        validation_data: Tuple `(x, y)` or `(x, y, sample_weight)` of held-out rows.
        weights: Weights to try, above 0, ascending, in units of 1 / loss.
        terms: Names of the terms to sweep, in this order; `None` for all.
        others: The other terms' weights meanwhile: `"zero"`, or `"best"`: those of the terms
            swept before stand at their best weight where it helps.
        seeds: Number of seeds (from 6 on a verdict is possible), or the seeds themselves.
        epochs: Epochs of every training.
        batch_size: Rows in a batch; 32 by default.
        validation_batch_size: Rows in a batch of validation data; `batch_size` by default.
        sample_weight: Trust in the labels, of shape `(rows,)`.
        monitor: The log that is the score, smaller is better. It must not depend on the weights:
            `val_data_loss` of a `PhysicsModel`, or a compiled metric such as `val_mse`.
        score: `"best"` compares each training at its best epoch, as with early stopping: what a
            term gives beyond stopping early, and with the same chance to pick a lucky epoch on
            both sides. `"last"` compares at the last epoch, where a term that merely slows the
            training down may seem to help against overfitting.
        extend_to: Largest weight that is tried by extension; 0 for none.
        min_effect: Smallest relative change of the score that matters: separates "inert" from
            "cannot tell".
        confidence: Probability that all intervals of a term hold together.
        verbose: 0: silent; `"auto"` or 1: progress bars.
        unlabelled: Inputs without labels, in memory, as in `PhysicsModel.fit`: terms that need no
            label are trained on them, too. The scores are of labelled rows.
        unlabelled_batch_size: Unlabelled rows a step; by default as many as labelled ones.
        **trainer: `engine` and `replicas_per_program` of `ReplicaTrainer`.

    Returns:
        A `SweepResult`: `print` it, `plot()` it, look into `verdicts`.

    Raises:
        TypeError: If an argument has a type that cannot serve.
        ValueError: If the model is not compiled or has no terms, there is no validation data, the
            monitor is not in the logs, or an argument has no meaning.

    Example:
    >>> import keras, numpy as np, keras_physreg as kp
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model = kp.regularize(encoder, lambda z, x: x - z, {"identity": 0.0})
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> z = np.random.default_rng(0).normal(size=(32, 2))
    >>> result = kp.sanity_sweep(
    ...     model, z[:16], -z[:16], (z[16:], -z[16:]), weights=[0.1, 1.0], seeds=6, epochs=20,
    ...     extend_to=0, verbose=0)
    >>> result.verdicts["identity"].verdict  # The labels say the opposite.
    'hurts'
    """
    begin = time.perf_counter()
    names = checks.checked_terms(model, terms)
    weights = checks.checked_weights(weights)
    checks.check_arguments(validation_data, others, score, monitor)
    sweep = _Sweep(
        trainer={"model": model, **trainer},
        fit={
            "x": x,
            "y": y,
            "validation_data": validation_data,
            "sample_weight": sample_weight,
            "batch_size": batch_size,
            "validation_batch_size": validation_batch_size,
            "epochs": epochs,
            "monitor": monitor,
            "verbose": verbose,
            "unlabelled": unlabelled,
            "unlabelled_batch_size": unlabelled_batch_size,
        },
        seeds=checks.checked_seeds(seeds),
        score=score,
        extend_to=extend_to,
        names=list(find_terms(model)),
    )
    rounds = [names] if others == "zero" else [[name] for name in names]
    settings = SweepSettings(
        monitor, score, epochs, sweep.seeds, min_effect, confidence, "", 0.0, False
    )
    found: dict[str, TermSweep] = {}
    fixed = dict.fromkeys(sweep.names, 0.0)
    for group in rounds:
        found |= sweep.run(group, weights, fixed)
        if others == "best":
            verdict = SweepResult(found, settings).verdicts[group[0]]
            if verdict.verdict.startswith("helps") and verdict.best_weight is not None:
                fixed = fixed | {group[0]: verdict.best_weight}
        if sweep.interrupted:
            break
    floors = _floors(model, x, y, sample_weight, validation_data)
    return SweepResult(
        {n: replace(t, floor=floors[n][0], val_floor=floors[n][1]) for n, t in found.items()},
        replace(
            settings,
            epochs=sweep.epochs_done,
            engine=sweep.engine,
            seconds=time.perf_counter() - begin,
            interrupted=sweep.interrupted,
        ),
    )


@dataclass
class _Sweep:
    """Trains what a sweep asks for, and remembers how it went."""

    trainer: dict[str, Any]
    fit: dict[str, Any]
    seeds: list[int]
    score: str
    extend_to: float
    names: list[str]
    engine: str = ""
    epochs_done: int = 0
    interrupted: bool = False

    def run(
        self, terms: list[str], weights: list[float], fixed: dict[str, float]
    ) -> dict[str, TermSweep]:
        """Trains the baseline and each term at each weight, and extends where the last is best."""
        settings = [fixed] + [fixed | {term: w} for term in terms for w in weights]
        history = self._train(settings)
        found = {}
        for i, term in enumerate(terms):
            rows = [0, *range(1 + i * len(weights), 1 + (i + 1) * len(weights))]
            found[term] = self._read(history, term, rows, [0.0, *weights], fixed)
        while not self.interrupted:
            wanted = [t for t in terms if self._wants_more(found[t])]
            if not wanted:
                break
            found |= self._extend(wanted, found, fixed)
        return found

    def _extend(
        self, terms: list[str], found: dict[str, TermSweep], fixed: dict[str, float]
    ) -> dict[str, TermSweep]:
        following = {term: found[term].next_weight for term in terms}
        history = self._train([fixed | {term: w} for term, w in following.items()])
        if history.interrupted:
            return {}  # Its few epochs cannot be compared with a baseline that ran in full.
        return {
            term: found[term].extended(self._read(history, term, [i], [following[term]], fixed))
            for i, term in enumerate(terms)
        }

    def _wants_more(self, term: TermSweep) -> bool:
        return term.best_is_last and term.next_weight <= self.extend_to * (1 + 1e-9)

    def _train(self, settings: list[dict[str, float]]) -> ReplicaHistory:
        weights = {
            name: [setting[name] for setting in settings for _ in self.seeds] for name in self.names
        }
        trainer = ReplicaTrainer(**self.trainer, weights=weights, seeds=self.seeds * len(settings))
        history = trainer.fit(**self.fit)
        self.engine = self.engine or history.engine
        self.epochs_done = self.epochs_done or int(history.epochs_done.max())
        self.interrupted |= history.interrupted
        return history

    def _read(
        self, history: ReplicaHistory, term: str, rows: list[int], weights: list[float], fixed: Any
    ) -> TermSweep:
        measured, diverged = measure(history, term, self.fit["monitor"], self.score)
        shape = (-1, len(self.seeds))
        return TermSweep(
            np.array(weights),
            {key: measured[key].reshape(shape)[rows] for key in QUANTITIES},
            diverged.reshape(shape)[rows],
            None,
            None,
            {name: value for name, value in fixed.items() if name != term},
        )


def _floors(
    model: keras.Model, x: Any, y: Any, sample_weight: Any, validation_data: Any
) -> dict[str, tuple[float | None, float | None]]:
    report = diagnose(
        model,
        x,
        y,
        sample_weight,
        batch_size=512,
        max_samples=None,
        validation_data=validation_data,
    )
    rows = report.to_dict()["terms"]
    return {row["term"]: (row["floor"], row["val_floor"]) for row in rows}
