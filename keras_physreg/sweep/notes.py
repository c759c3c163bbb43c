"""Notes on what limits a verdict: few splits or rows, trainings that diverged or were cut short."""

from __future__ import annotations

import numpy as np

from keras_physreg._utils.student_t import student_t_cdf
from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.split_checks import ADVISED_SPLITS
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.wording import count

ADVISED_HELD_OUT_ROWS = 100  # of validation data
MAX_FLOOR_RATIO = 2.0  # of the floors on training and held-out rows, before they count as different


def notes(sweep: MeasuredSweep) -> list[str]:
    """Returns a note for each thing that limits the verdicts."""
    found = [_few_splits(sweep.settings), _rows_left_out(sweep.settings)]
    found += [_few_held_out_rows(sweep.settings), _seeds_only(sweep), _own_score(sweep)]
    for name, term in sweep.terms.items():
        found.append(_floors_differ(name, term))
        found.append(_diverged_baselines(sweep, name))
        if sweep.settings.is_held_out(name):
            found.append(_not_finite(name, term))
    found.append(_baseline_still_falls(sweep))
    if sweep.settings.interrupted:
        missing = [name for name in sweep.settings.terms if name not in sweep.terms]
        not_swept = f" Not swept: {', '.join(missing)}." if missing else ""
        found.append(f"Interrupted by Ctrl-C: the report covers what was finished.{not_swept}")
        found += [_interrupted(sweep, name) for name in sweep.terms]
    return [note for note in found if note]


def _few_splits(settings: SweepSettings) -> str:
    splits = settings.splits
    if splits is None or splits.count >= ADVISED_SPLITS:
        return ""
    here, advised = (
        _smallest_sure_gain(number, splits.mean_ratio) for number in (splits.count, ADVISED_SPLITS)
    )
    return (
        f"{splits.count} splits are fewer than the {ADVISED_SPLITS} advised: a gain must be "
        f"{here / advised:.2g} times as large before it is sure, and the best weight depends more "
        "on how the rows were split. Give more `repeats`, or more splits."
    )


def _rows_left_out(settings: SweepSettings) -> str:
    sizes = set() if settings.splits is None else set(map(len, settings.splits.train))
    if len(sizes) < 2 or len(settings.trained_on) > 1:
        return ""
    return (
        f"All trainings have {min(sizes)} rows: from splits with {max(sizes)} training rows one "
        "row, drawn by its seeds, is left out."
    )


def _smallest_sure_gain(splits: int, ratio: float) -> float:
    """Returns the smallest mean gain that is 95 % sure, in standard deviations between splits."""
    quantiles = np.linspace(0.0, 20.0, 20_001)
    at = np.searchsorted(student_t_cdf(quantiles, np.array(splits - 1)), 0.95)
    return float(quantiles[at] * np.sqrt(1 / splits + ratio))


def _few_held_out_rows(settings: SweepSettings) -> str:
    if settings.held_out is None or settings.held_out >= ADVISED_HELD_OUT_ROWS:
        return ""
    return (
        f"{count(settings.held_out, 'held-out row')}: fewer than {ADVISED_HELD_OUT_ROWS} say "
        "little about other rows, and the verdict may depend on which rows were held out. Give all "
        "labelled rows as `x` and `y` and no `validation_data`: then each row is held out in turn."
    )


def _seeds_only(sweep: MeasuredSweep) -> str:
    if not any(verdict.basis == "seeds" for verdict in sweep.verdicts.values()):
        return ""
    if sweep.settings.is_scored_at_points:
        return (
            "Probabilities and intervals contain the differences between seeds only. What is sure "
            "at these held-out points may not hold at others."
        )
    return (
        "Probabilities and intervals contain the differences between seeds only, since the loss of "
        "each held-out row is unknown here. What is sure for these rows may not hold for others."
    )


def _own_score(sweep: MeasuredSweep) -> str:
    """Says what a score shows that consists of losses of terms."""
    if not sweep.settings.has_rows:
        return (
            "The score is the sum of the held-out losses of all terms, each with weight 1. Give "
            "terms a `scale`, so that a loss of 1 means about as much in each of them."
        )
    name = sweep.settings.scored_at
    if name not in sweep.terms:
        return ""
    return (
        f"{name}: the score is the loss of this very term, which a larger weight lowers at the "
        "cost of the others. Look at their losses before you follow its verdict, or sweep the "
        "other terms alone: `terms`."
    )


def _floors_differ(name: str, term: TermSweep) -> str:
    if term.floor is None or term.val_floor is None:
        return ""
    low, high = sorted([term.floor, term.val_floor])
    if high <= MAX_FLOOR_RATIO * low:
        return ""
    return (
        f"{name}: its floor is {term.floor:.3g} on training rows and {term.val_floor:.3g} on "
        "held-out rows. The physics fits the labels less well on one side, so the two sets of rows "
        "differ. The verdict is about rows like the held-out ones."
    )


def _diverged_baselines(sweep: MeasuredSweep, name: str) -> str:
    term, settings = sweep.terms[name], sweep.settings
    off = term.diverged[0]
    if not off.any():
        return ""
    if term.cross_validated:
        left_out = np.flatnonzero(off.any(axis=1))
        what = f"in {len(left_out)} of {len(off)} splits"
    else:
        left_out = np.array(settings.seeds)[off]
        what = f"for {len(left_out)} of {count(len(off), 'seed')}"
    return (
        f"{name}: with the weight off, the training diverged {what} "
        f"({', '.join(map(str, left_out.tolist()))}): they are left out of all comparisons. Check "
        "the data for NaN, or lower the learning rate."
    )


def _not_finite(name: str, term: TermSweep) -> str:
    missing = np.isnan(term.measured["val_term_loss"]) & np.isfinite(term.measured["score"])
    trainings = tuple(range(1, missing.ndim))
    weights = term.weights[(missing & ~term.diverged).any(axis=trainings)]
    if not len(weights):
        return ""
    return (
        f"{name}: val_{name}_loss is not finite at {len(weights)} of {len(term.weights)} weights, "
        "though the trainings did not diverge: the physics is NaN or infinite on some held-out "
        "rows. `diagnose` names them."
    )


def _baseline_still_falls(sweep: MeasuredSweep) -> str:
    first = next(iter(sweep.terms.values()))
    if sweep.settings.score != "best" or first.epoch_of(0.0) != first.epochs:
        return ""
    off = "the swept" if any(first.others.values()) else "all"
    return (
        f"With {off} weights off the best epoch is the last one, {first.epochs}: the loss was "
        "still falling. A term that merely speeds up the training would seem to help: give more "
        "`epochs`."
    )


def _interrupted(sweep: MeasuredSweep, name: str) -> str:
    term = sweep.terms[name]
    return (
        f"{name}: compared after {term.epochs} of {sweep.settings.epochs} epochs; "
        f"{term.unfinished.sum()} of {term.unfinished.size} trainings did not reach that epoch."
        + (" The largest weight is the best so far." if term.best_is_last else "")
    )
