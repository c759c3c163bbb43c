"""sanity_sweep: every term off, then one term at a time, over many weights and seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras

from keras_physreg.diagnosis import diagnose
from keras_physreg.sweep import checks
from keras_physreg.sweep.result import SweepResult, SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.trainings import Floor, Rounds

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
    engine: str = "auto",
    replicas_per_program: int | None = None,
    verbose: str | int = "auto",
    unlabelled: Any = None,
    unlabelled_batch_size: int | None = None,
    unlabelled_share: float | None = None,
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
        min_effect: Smallest relative change of the score that matters, above 0: separates "inert"
            from "cannot tell".
        confidence: Probability that all intervals of a term hold together, between 0 and 1.
        engine: As for `ReplicaTrainer`.
        replicas_per_program: As for `ReplicaTrainer`.
        verbose: 0: silent; `"auto"` or 1: progress bars.
        unlabelled: Inputs without labels, in memory, as in `PhysicsModel.fit`: terms that need no
            label are trained on them, too. The scores are of labelled rows.
        unlabelled_batch_size: Unlabelled rows a step; by default as many as labelled ones.
        unlabelled_share: As in `PhysicsModel.fit`: what unlabelled rows count in label-free terms;
            `None`: as much as labelled ones.

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
    checks.check_choices(validation_data, others, score)
    checks.check_numbers(extend_to, min_effect, confidence)
    seeds = checks.checked_seeds(seeds)
    epochs = checks.checked_count("epochs", epochs)
    checks.prepare(model, (x, y, sample_weight), validation_data)
    checks.check_monitor(model, monitor)
    rounds = Rounds(
        trainer={
            "model": model,
            "engine": engine,
            "replicas_per_program": replicas_per_program,
        },
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
            "unlabelled_share": unlabelled_share,
        },
        seeds=seeds,
        score=score,
        extend_to=extend_to,
        floors=_floors(model, x, y, sample_weight, validation_data),
    )
    settings = SweepSettings(
        monitor, score, epochs, names, seeds, float(min_effect), float(confidence), "", 0.0, False
    )
    found: dict[str, TermSweep] = {}
    fixed = dict.fromkeys(rounds.floors, 0.0)
    for group in [names] if others == "zero" else [[name] for name in names]:
        try:
            found |= rounds.run(group, weights, fixed)
        except KeyboardInterrupt:
            if not found:
                raise
            rounds.interrupted = True
        if rounds.interrupted:
            break
        if others == "best":
            fixed = fixed | SweepResult(found, settings).helpful_weights(group)
    return SweepResult(
        found,
        replace(
            settings,
            engine=rounds.engine,
            seconds=time.perf_counter() - begin,
            interrupted=rounds.interrupted,
        ),
    )


def _floors(
    model: keras.Model, x: Any, y: Any, sample_weight: Any, validation_data: Any
) -> dict[str, Floor]:
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
