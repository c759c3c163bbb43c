"""What limits a verdict: few splits or rows, trainings that diverged or were cut short."""

from __future__ import annotations

import numpy as np

from keras_physreg.sweep.described import count
from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.student_t import student_t_cdf
from keras_physreg.sweep.term_sweep import TermSweep

ADVISED_SPLITS = 20
ADVISED_ROWS = 100  # of validation data
UNLIKE = 2.0  # Times the other: floors of training and held-out rows that differ so are not alike.


def notes(sweep: MeasuredSweep) -> list[str]:
    """Returns a note for each thing that limits the verdicts."""
    found = [_few_splits(sweep.settings), _left_out(sweep.settings)]
    found += [_few_rows(sweep.settings), _basis(sweep)]
    for name, term in sweep.terms.items():
        found += [_unlike(name, term), _diverged_baselines(sweep, name), _not_finite(name, term)]
    found.append(_baseline_still_falls(sweep))
    if sweep.settings.interrupted:
        missing = [name for name in sweep.settings.terms if name not in sweep.terms]
        never = f" Not swept: {', '.join(missing)}." if missing else ""
        found.append(f"Interrupted by Ctrl-C: this is what was finished.{never}")
        found += [_interrupted(sweep, name) for name in sweep.terms]
    return [note for note in found if note]


def _few_splits(settings: SweepSettings) -> str:
    splits = settings.splits
    if splits is None or splits.count >= ADVISED_SPLITS:
        return ""
    here, advised = (
        _sure_from(number, splits.mean_ratio) for number in (splits.count, ADVISED_SPLITS)
    )
    return (
        f"{splits.count} splits are fewer than the {ADVISED_SPLITS} advised: a gain must be "
        f"{here / advised:.2g} times as large before it is sure, and which weight is best depends "
        "more on how the rows fell. Give more `repeats`."
    )


def _left_out(settings: SweepSettings) -> str:
    sizes = set() if settings.splits is None else set(map(len, settings.splits.train))
    if len(sizes) < 2 or len(settings.trained_on) > 1:
        return ""
    return (
        f"All trainings have {min(sizes)} rows: where a split has {max(sizes)}, one row, drawn by "
        "its seeds, is left out."
    )


def _sure_from(splits: int, ratio: float) -> float:
    """Returns how many standard deviations of splits a difference must be to be 95 % sure."""
    quantiles = np.linspace(0.0, 20.0, 20_001)
    at = np.searchsorted(student_t_cdf(quantiles, np.array(splits - 1)), 0.95)
    return float(quantiles[at] * np.sqrt(1 / splits + ratio))


def _few_rows(settings: SweepSettings) -> str:
    if settings.held_out is None or settings.held_out >= ADVISED_ROWS:
        return ""
    return (
        f"{count(settings.held_out, 'held-out row')}: fewer than {ADVISED_ROWS} say little about "
        "other rows, and which rows were held out may decide. Give all labelled rows as `x` and "
        "`y` and no `validation_data`: then each is held out in turn."
    )


def _basis(sweep: MeasuredSweep) -> str:
    if not any(verdict.basis == "seeds" for verdict in sweep.verdicts.values()):
        return ""
    return (
        "Probabilities and intervals are of seeds alone: losses per held-out row are not known "
        "here, so that what is sure for these rows may not hold for others."
    )


def _unlike(name: str, term: TermSweep) -> str:
    if term.floor is None or term.val_floor is None:
        return ""
    low, high = sorted([term.floor, term.val_floor])
    if high <= UNLIKE * low:
        return ""
    return (
        f"{name}: its floor is {term.floor:.3g} on training rows and {term.val_floor:.3g} on "
        "held-out rows: labels and physics agree less well on one side, so these rows are not "
        "alike, and the verdict is about rows like the held-out ones."
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
        f"({', '.join(map(str, left_out.tolist()))}): they are left out of all comparisons. Look "
        "for NaN in the data, or lower the learning rate."
    )


def _not_finite(name: str, term: TermSweep) -> str:
    missing = np.isnan(term.measured["val_term_loss"]) & np.isfinite(term.measured["score"])
    trainings = tuple(range(1, missing.ndim))
    weights = term.weights[(missing & ~term.diverged).any(axis=trainings)]
    if not len(weights):
        return ""
    return (
        f"{name}: val_{name}_loss is not finite at {len(weights)} of {len(term.weights)} weights, "
        "though the trainings are sound: some held-out rows make the physics NaN or infinite. "
        "`diagnose` names them."
    )


def _baseline_still_falls(sweep: MeasuredSweep) -> str:
    first = next(iter(sweep.terms.values()))
    if sweep.settings.score != "best" or first.epoch_of(0.0) != first.epochs:
        return ""
    return (
        f"With all weights off the best epoch is the last one, {first.epochs}: the loss was still "
        "falling. A term that only speeds up the training seems to help: give more `epochs`."
    )


def _interrupted(sweep: MeasuredSweep, name: str) -> str:
    term = sweep.terms[name]
    return (
        f"{name}: compared after {term.epochs} of {sweep.settings.epochs} epochs; "
        f"{term.unfinished.sum()} of {term.unfinished.size} trainings did not get so far."
        + (" The largest weight is the best so far." if term.best_is_last else "")
    )
