"""sanity_sweep: every term off, then one term at a time, over many weights, splits and seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg._utils.errors import whole_number
from keras_physreg.diagnosis import Diagnosis, diagnose
from keras_physreg.executors.checks import checked_pool
from keras_physreg.replicas.first_points import FirstPoints
from keras_physreg.replicas.replica_points import rows_to_build_on
from keras_physreg.sweep import checks
from keras_physreg.sweep import others as other_terms
from keras_physreg.sweep.points import DEFAULT_MONITOR, check_points
from keras_physreg.sweep.recommendation import helpful_weights
from keras_physreg.sweep.result import SweepResult
from keras_physreg.sweep.settings import ALL_TERMS, SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.trainings import Floor, Trainings

DEFAULT_EXTEND_TO = 1e4
DEFAULT_WEIGHTS = tuple(float(f"1e{exponent}") for exponent in range(-10, 1))
SEEDS_PER_SPLIT, SEEDS_ON_ONE_SET = 2, 8


def sanity_sweep(
    model: keras.Model | Callable[[], keras.Model],
    x: Any = None,
    y: Any = None,
    validation_data: Any = None,
    weights: Sequence[float] = DEFAULT_WEIGHTS,
    terms: Sequence[str] | None = None,
    others: str | Mapping[str, float] = "zero",
    seeds: int | Sequence[int] | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    validation_batch_size: int | None = None,
    sample_weight: Any = None,
    monitor: str = DEFAULT_MONITOR,
    score: str = "best",
    extend_to: float = DEFAULT_EXTEND_TO,
    min_effect: float = 0.01,
    confidence: float = 0.95,
    engine: str = "auto",
    replicas_per_program: int | None = None,
    verbose: str | int = "auto",
    unlabelled: Any = None,
    unlabelled_batch_size: int | None = None,
    unlabelled_share: float | None = None,
    cv: Any = None,
    repeats: int | None = None,
    groups: Any = None,
    keep: str | None = None,
    points: Mapping[str, Any] | None = None,
    validation_points: Mapping[str, Any] | None = None,
    points_batch_size: int | Mapping[str, int] | None = None,
    steps_per_epoch: int | None = None,
    executor: Any = None,
    workers: int | None = None,
) -> SweepResult:
    """Trains with all terms off, then with one term at a time over many weights, and compares.

    With few labelled rows, give all of them as `x` and `y`, and no `validation_data`. The sweep
    splits them into training and held-out rows many times (`cv`): a result on which the splits
    agree is likely to hold for other rows, too. Then train on all rows with
    `recommended_weights()`.

    A differential equation has no labelled rows: give `points` and `validation_points` for every
    term, and no `x`. The score is then the sum of the losses of all terms at `validation_points`,
    each with weight 1 (give terms a `scale`, so that a loss of 1 means about as much in each): the
    loss of one term alone is small for solutions that violate the others. With all terms off
    nothing would train, so the other terms must stay on while one is swept: give `others="keep"`,
    or a dict. A term that does not help keeps this weight in `recommended_weights()`. Only the
    seeds differ between trainings, so that verdicts hold for these points.

    All trainings run as replicas in compiled programs; see `ReplicaTrainer`. Trainings of the same
    split and seed share rows, initial weights and batches, and are compared in pairs. While the
    best weight of a term is the largest one tried, the sweep adds larger weights at the same ratio,
    up to `extend_to`. At the end it trains all terms that help together. The weights of the model
    stay as they are.

    The verdict on a weight follows from the probabilities that the score falls or rises by more
    than `min_effect`, or neither, given how the differences vary between splits. Beyond 95 % the
    weight "helps", "hurts" or is the "same"; beyond 80 % it "probably helps" or "probably hurts";
    else the sweep "cannot tell".

    The variance is corrected for the rows that splits share (Nadeau and Bengio, "Inference
    for the Generalization Error", Machine Learning 52 (2003) 239-281). The probability is that of
    Corani and Benavoli, "A Bayesian approach for comparing cross-validated algorithms on multiple
    data sets", Machine Learning 100 (2015) 285-304. It is computed for the mean over splits of the
    logs of the scores, which is steady, and for the log of their mean, which a few rows may
    dominate; the smaller probability decides. So a term is not recommended that helps on most rows
    and harms the mean.

    Args:
        model: A compiled Keras model with physics terms, or a function without arguments that
            returns one. Workers of an `executor` call the function, where a model travels to them
            as a Keras file with the functions and classes that you wrote.
        x: Inputs in memory: an array or a structure of arrays of shape `(rows, ...)`; `None` to
            train on `points` alone.
        y: Labels, likewise.
        validation_data: Tuple `(x, y)` or `(x, y, sample_weight)` of held-out rows, in place of
            `cv`. The verdict is then about training on just these rows of `x`.
        weights: Weights to try, above 0, ascending, in units of 1 / loss.
        terms: Names of the terms to sweep, in this order; `None` for all but those that train
            constants only, such as terms with `at="labels"` or `trains="constants"`: they leave
            the predictions as they are, unless another term is on.
        others: The weights of the other terms meanwhile, swept ones or not. `"zero"`: 0. `"best"`:
            each term swept before has its best weight if that helps, else 0. `"keep"`: their
            weights in the model. A dict from names to weights: these, and 0 for terms that it
            leaves out. Terms that train constants only keep their weight in the model under all of
            these, unless the dict names them: otherwise another term would be judged with
            constants that nobody has trained. The baseline of each term has the same others.
            Without labelled rows it must be `"keep"` or a dict.
        seeds: Number of seeds per split, or the seeds of the first split. Each split has new seeds,
            the same for all weights. By default 2; with `validation_data` or without `x` 8.
        epochs: Number of epochs of every training.
        batch_size: Rows per batch; 32 by default.
        validation_batch_size: Rows per batch of held-out rows; `batch_size` by default.
        sample_weight: Weights of the labels, of shape `(rows,)`.
        monitor: Key of the log that is the score; smaller is better. It must not contain the term
            weights: `val_data_loss` of a `PhysicsModel`, a compiled metric such as `val_mse`, or
            `val_<term>_loss` with `validation_points`. Not without `x`.
        score: `"best"` compares at the best epoch of each weight, one for all its splits and seeds.
            This shows what a term gives beyond stopping at the right time, and baseline and term
            have the same chance to pick a lucky epoch. `"last"` compares at the last epoch, where a
            term that merely slows the training down may seem to help against overfitting.
        extend_to: Largest weight that the sweep adds by itself; 0 for none.
        min_effect: Smallest relative change of the score that matters, above 0. A smaller change is
            the "same".
        confidence: Probability that all intervals of a term hold together, between 0 and 1.
        engine: As for `ReplicaTrainer`.
        replicas_per_program: As for `ReplicaTrainer`.
        verbose: 0 for silence; `"auto"` or 1 for progress bars.
        unlabelled: Inputs without labels, as in `ReplicaTrainer.fit`: terms that need no label are
            trained on them, too. The scores are of labelled rows.
        unlabelled_batch_size: Unlabelled rows per step; by default as many as labelled ones.
        unlabelled_share: As in `PhysicsModel.fit`: the share of unlabelled rows in label-free
            terms; `None`: every row counts the same.
        cv: How the labelled rows are split, as in scikit-learn. A number of folds: the rows are
            shuffled anew in each of `repeats`. A splitter such as `GroupKFold()` or
            `TimeSeriesSplit()`: for rows that are not independent. A list of pairs `(training rows,
            held-out rows)` of row numbers. 5 by default; at least 20 splits are advised.
        repeats: Number of shuffles, only with a number of folds; 4 by default.
        groups: Group of each row, of shape `(rows,)`, for splitters that keep groups together.
        keep: `"recommended"` trains the models with the recommended weights once more, up to their
            best epoch, and keeps them for `SweepResult.ensemble`; `None` keeps no models.
        points: Per term, the points on which it is evaluated, as in `ReplicaTrainer.fit`.
        validation_points: Per term, arrays on which `val_<term>_loss` is computed.
        points_batch_size: Points per step, as in `ReplicaTrainer.fit`.
        steps_per_epoch: Steps in an epoch without `x`; 100 by default.
        executor: Trains the replicas elsewhere: a Dask `Client`, or a
            `concurrent.futures.Executor` such as a `ProcessPoolExecutor` with spawned processes.
            `None` trains them in this process, on all its cores. Each worker trains a group of
            replicas at a time, on one core. The results are the same, up to rounding.
        workers: Number of workers of the executor; Dask tells it by itself.

    Returns:
        A `SweepResult`. Start with `print(result)` and `result.plot()`; see also its `verdicts`,
        `recommended_weights()` and `recommended_epochs`.

    Raises:
        RuntimeError: If workers of the executor died, and no other worker could train their
            replicas.
        TypeError: If an argument has a wrong type.
        ValueError: If the model is not compiled or has no terms, the monitor is not in the logs,
            `others` names an unknown term or leaves nothing to train, or an argument has a value
            that is not allowed.

    Example:
    >>> import keras, numpy as np, keras_physreg as kp
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model = kp.regularize(encoder, lambda z, x: x - z, {"identity": 0.0})
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> z = np.random.default_rng(0).normal(size=(32, 2))
    >>> result = kp.sanity_sweep(  # The labels say the opposite of the physics.
    ...     model, z, -z, cv=4, repeats=2, weights=[0.1, 1.0], epochs=20, extend_to=0, verbose=0)
    >>> print(result.verdicts["identity"].verdict, result.recommended_weights())
    hurts {'identity': 0.0}
    """
    needs_tensorflow("`sanity_sweep`")
    begin = time.perf_counter()
    pool = checked_pool(executor, workers)
    model, build = checks.built_model(model)
    names = checks.checked_terms(model, terms)
    weights = checks.checked_weights(weights)
    checks.check_choices(score, keep)
    other_terms.check_others(model, others)
    checks.check_numbers(extend_to, min_effect, confidence)
    has_splits = x is not None and validation_data is None
    default = SEEDS_PER_SPLIT if has_splits else SEEDS_ON_ONE_SET
    seeds = checks.checked_seeds(default if seeds is None else seeds)
    epochs = whole_number("epochs", epochs)
    given = {"points": points, "points_batch_size": points_batch_size}
    given |= {"validation_points": validation_points, "steps_per_epoch": steps_per_epoch}
    rows = {"x": x, "y": y, "validation_data": validation_data, "sample_weight": sample_weight}
    others_of_rows = {"cv": cv, "repeats": repeats, "groups": groups, "unlabelled": unlabelled}
    others_of_rows |= {"batch_size": batch_size}
    counts = check_points(model, rows | others_of_rows, given, monitor)
    first = rows_to_build_on(x, points, points_batch_size), y, sample_weight
    first_points = FirstPoints(points, points_batch_size, x is not None)
    labelled, held_out = checks.prepare(model, first, validation_data, verbose, first_points)
    if x is not None:
        checks.check_monitor(model, monitor)
    splits = checks.checked_cv(validation_data, cv, repeats, groups, x, y, seeds[0])
    report = _diagnosed(model, x, y, sample_weight, validation_data, points)
    calibrating = other_terms.constants_only(model, report)
    if terms is None:
        names = other_terms.swept_by_default(model, names, calibrating)
    other_terms.check_is_other(others, names)
    meanwhile = other_terms.resolved(model, others, calibrating)
    if x is None:
        meanwhile.check_trains(names)
    settings = SweepSettings(
        monitor=ALL_TERMS if x is None else monitor,
        score=score,
        epochs=epochs,
        terms=names,
        seeds=seeds,
        min_effect=float(min_effect),
        confidence=float(confidence),
        engine="",
        seconds=0.0,
        interrupted=False,
        labelled=0 if x is None else labelled,
        held_out=held_out,
        splits=splits,
        batch_size=int(batch_size or 32),
        others=meanwhile.mode,
        others_weights=meanwhile.weights,
        constants_only=calibrating,
        points=counts.per_step,
        points_batch_size=points_batch_size,
        held_out_points=counts.held_out,
        steps_per_epoch=counts.steps,
    )
    trainings = Trainings(
        trainer={
            "pool": pool,
            "build": build,
            "model": model,
            "engine": engine,
            "replicas_per_program": replicas_per_program,
        },
        fit={
            **rows,
            **given,
            "batch_size": batch_size,
            "validation_batch_size": validation_batch_size,
            "epochs": epochs,
            "monitor": None if x is None else monitor,
            "verbose": verbose,
            "unlabelled": unlabelled,
            "unlabelled_batch_size": unlabelled_batch_size,
            "unlabelled_share": unlabelled_share,
        },
        settings=settings,
        extend_to=extend_to,
        floors=_floors(report, "floor" if has_splits else "val_floor"),
    )
    result = _sweep(trainings, weights, meanwhile)
    done = replace(
        settings,
        engine=trainings.engine,
        seconds=time.perf_counter() - begin,
        interrupted=trainings.interrupted,
    )
    result = SweepResult(result.terms, done, result.combined)
    return replace(result, kept=trainings.keep(result.recommendation)) if keep else result


def _sweep(trainings: Trainings, weights: list[float], others: other_terms.Others) -> SweepResult:
    """Sweeps each term beside the others, then all that help together."""
    settings = trainings.settings
    found: dict[str, TermSweep] = {}
    best: dict[str, float] = others.weights
    for group in others.groups(settings.terms):
        try:
            found |= trainings.run(group, weights, others.without(group, best))
        except KeyboardInterrupt:
            if not found:
                raise
            trainings.interrupted = True
        if trainings.interrupted:
            break
        so_far = SweepResult(found, settings)
        best = so_far.off | helpful_weights(so_far)
    result = SweepResult({name: found[name] for name in settings.terms if name in found}, settings)
    wanted = None if trainings.interrupted else _wanted_together(result)
    if wanted is None:
        return result
    return replace(result, combined=trainings.combine(*wanted))


def _wanted_together(result: SweepResult) -> tuple[dict[str, float], dict[str, float]] | None:
    """Returns what is still to train before weights can be recommended, or `None`.

    Returns:
        The weights of a baseline, and the weights of the terms that differ from it.
    """
    off, helpful = result.off, helpful_weights(result)
    if len(helpful) > 1 or any(not result.is_off_in(name) for name in helpful):
        return off, helpful
    if helpful or result.trained_at(off) is not None:
        return None
    if not result.settings.has_rows:  # The baseline of a term, and the term at its own weight.
        on = next(name for name in result.settings.terms if off[name])
        return off | {on: 0.0}, {on: off[on]}
    kept = {name: result.settings.others_weights[name] for name in result.settings.terms}
    together = {name: weight for name, weight in kept.items() if weight and not off[name]}
    if together:
        return off, together
    calibrating = {name: weight for name, weight in kept.items() if weight}
    return off | dict.fromkeys(calibrating, 0.0), calibrating


def _diagnosed(
    model: keras.Model, x: Any, y: Any, sample_weight: Any, validation_data: Any, points: Any
) -> Diagnosis:
    """Diagnoses the model before the training, on all labelled rows and points."""
    return diagnose(
        model,
        x,
        y,
        sample_weight,
        batch_size=512,
        max_samples=None,
        validation_data=validation_data,
        points=points,
    )


def _floors(report: Diagnosis, held_out: str) -> dict[str, Floor]:
    """Returns each term's floor on labelled and on held-out rows; with splits both are equal."""
    return {row["term"]: (row["floor"], row[held_out]) for row in report.to_dict()["terms"]}
