"""A sweep in words: a table, then what to do about each term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.verdict import TermVerdict

if TYPE_CHECKING:
    from keras_physreg.sweep.result import SweepResult

AT_FLOOR = 1.5  # Times the floor: up to here a term counts as standing at it.
FAR_ABOVE = 10.0  # Times the floor: from here on a term has a lot to give.


def report(result: SweepResult) -> str:
    """Returns the table and the sentences."""
    settings = result.settings
    head = (
        f"Sanity sweep: {len(settings.seeds)} seeds, {settings.epochs} epochs, score "
        f"{settings.monitor} at the {settings.score} epoch, {settings.seconds:.0f} s"
    )
    parts = [head, _table(result), *_notes(result)]
    parts += [f"{name}: {sentence(result, name)}" for name in result.terms]
    return "\n\n".join(parts)


def sentence(result: SweepResult, name: str) -> str:
    """Returns what the sweep says of a term, and what to do about it."""
    verdict, term = result.verdicts[name], result.terms[name]
    words = {
        "inert": _inert,
        "helps": _helps,
        "helps-then-hurts": _helps,
        "hurts": _hurts,
        "diverges": _diverges,
        "cannot tell": _cannot_tell,
    }[verdict.verdict](verdict, result)
    return " ".join(part for part in (words, _floors(term, verdict)) if part)


def _inert(verdict: TermVerdict, result: SweepResult) -> str:
    last = verdict.weights[-1]
    return (
        f"inert. No weight up to {last:g} changes {result.settings.monitor} by "
        f"{100 * result.settings.min_effect:g} % or more. Leave it at 0, or ask `diagnose` whether "
        "its gradient arrives."
    )


def _helps(verdict: TermVerdict, result: SweepResult) -> str:
    low, high = verdict.gain_interval
    assert verdict.search_range is not None
    text = (
        f"{verdict.verdict}. At {verdict.best_weight:g}, {result.settings.monitor} falls by "
        f"{verdict.gain:.1f} % ({100 * result.settings.confidence:g}% interval {low:.1f} to "
        f"{high:.1f} %); the first real change is at {verdict.onset:g}."
    )
    if verdict.hurts_from is not None:
        text += f" From {verdict.hurts_from:g} on {_worse(verdict, verdict.hurts_from)}."
    for weight in verdict.harmful_below_best:
        text += f" At {weight:g}, {_worse(verdict, weight)}."
    return text + f" Tune it between {verdict.search_range[0]:g} and {verdict.search_range[1]:g}."


def _hurts(verdict: TermVerdict, result: SweepResult) -> str:
    assert verdict.hurts_from is not None
    return (
        f"hurts. From {verdict.hurts_from:g} on {_worse(verdict, verdict.hurts_from)}"
        f"{_below(verdict)}. Leave it at 0: what it demands is not what the labels say, so look at "
        "its floor and bias with `diagnose`."
    )


def _diverges(verdict: TermVerdict, result: SweepResult) -> str:
    return (
        f"diverges. From {verdict.hurts_from:g} on trainings end in NaN or infinity"
        f"{_below(verdict)}. Leave it at 0, or make the physics finite wherever the prediction may "
        "go."
    )


def _below(verdict: TermVerdict) -> str:
    """Says what the weights below the first harmful one do, where none surely helps."""
    if verdict.hurts_from == verdict.weights[0]:
        return "; no smaller weight was tried"
    if not verdict.undecided:
        return ", and no smaller weight changes anything"
    weight = max(verdict.undecided, key=lambda w: verdict.gain_at(w)[0])
    gain, low, high = verdict.gain_at(weight)
    if not np.isfinite(low):
        return "; what smaller ones do cannot be told"
    needed = verdict.seeds_needed
    seeds = "more seeds" if needed is None else f"about {needed} seeds"
    return (
        f"; whether a smaller one helps cannot be told (at {weight:g} the gain is {gain:.1f} %, "
        f"interval {low:.1f} to {high:.1f} %), but {seeds} below {verdict.hurts_from:g} may"
    )


def _cannot_tell(verdict: TermVerdict, result: SweepResult) -> str:
    if np.isnan(verdict.gains).all():
        return "cannot tell. The baseline or all other trainings diverged or were not finished."
    if set(verdict.changes) == {"same"}:
        return "cannot tell. No weight has changed anything, but the trainings were cut short."
    low, high = verdict.gain_interval
    if not np.isfinite(low):
        number = f"{verdict.seeds} seed{'s are' if verdict.seeds != 1 else ' is'}"
        return f"cannot tell. {number} too few: take {verdict.seeds_needed}."
    text = (
        f"cannot tell. The best mean gain, {verdict.gain:.1f} % at {verdict.best_weight:g}, may be "
        f"chance (interval {low:.1f} to {high:.1f} %)."
    )
    if verdict.seeds_needed is None:
        return text
    return (
        f"{text} If the differences seen are real, about {verdict.seeds_needed} seeds would show "
        f"it; there were {verdict.seeds}."
    )


def _worse(verdict: TermVerdict, weight: float) -> str:
    gain = verdict.gain_at(weight)[0]
    i = list(verdict.weights).index(weight)
    if verdict.changes[i] == "diverges":
        return "trainings diverge"
    return f"it makes it worse (by {-gain:.1f} % there)"


def _floors(term: TermSweep, verdict: TermVerdict) -> str:
    """Says what the term's loss at weight 0 means, beside its floor."""
    train, held_out = (
        _ratio(term.mean(key)[0], floor)
        for key, floor in (("term_loss", term.floor), ("val_term_loss", term.val_floor))
    )
    if train is None or held_out is None:
        return ""
    if held_out < 1 / AT_FLOOR and not verdict.helps:
        return (
            f"Without it, its loss is {held_out:.3g} times its floor on held-out rows: the model "
            "fulfils it better than the labels do, and more weight can only pull away from them."
        )
    if train <= AT_FLOOR and held_out >= FAR_ABOVE:
        return (
            "Without it, its loss stands at its floor on the training rows and "
            f"{held_out:.0f} times above it on held-out rows: the model has memorised the labelled "
            "rows, and the term has most to give on rows without a label."
        )
    if train <= AT_FLOOR and held_out <= AT_FLOOR and not verdict.helps:
        return "Without it, its loss stands at its floor already: there is nothing left to gain."
    return (
        f"Without it, its loss is {train:.3g} times its floor on training rows and "
        f"{held_out:.3g} times on held-out rows."
    )


def _ratio(loss: float, floor: float | None) -> float | None:
    return float(loss / floor) if floor and np.isfinite(loss) else None


def _notes(result: SweepResult) -> list[str]:
    notes = [_diverged_baselines(result, name) for name in result.terms]
    notes += [_not_finite(name, term) for name, term in result.terms.items()]
    if result.settings.interrupted:
        missing = [name for name in result.settings.terms if name not in result.terms]
        never = f" Not swept: {', '.join(missing)}." if missing else ""
        notes.append(f"Interrupted by Ctrl-C: this is what was finished.{never}")
        notes += [_interrupted(result, name) for name in result.terms]
    return [note for note in notes if note]


def _not_finite(name: str, term: TermSweep) -> str:
    missing = np.isnan(term.measured["val_term_loss"]) & np.isfinite(term.measured["score"])
    weights = term.weights[(missing & ~term.diverged).any(axis=1)]
    if not len(weights):
        return ""
    return (
        f"{name}: val_{name}_loss is not finite at {len(weights)} of {len(term.weights)} weights, "
        "though the trainings are sound: some held-out rows make the physics NaN or infinite. "
        "`diagnose` names them."
    )


def _diverged_baselines(result: SweepResult, name: str) -> str:
    off = zip(result.settings.seeds, result.terms[name].diverged[0], strict=True)
    seeds = [seed for seed, diverged in off if diverged]
    if not seeds:
        return ""
    return (
        f"{name}: with the weight off, the training diverged for {len(seeds)} of "
        f"{len(result.settings.seeds)} seeds ({', '.join(map(str, seeds))}): they are left out of "
        "all comparisons. Look for NaN in the data, or lower the learning rate."
    )


def _interrupted(result: SweepResult, name: str) -> str:
    term = result.terms[name]
    return (
        f"{name}: compared after {term.epochs} of {result.settings.epochs} epochs; "
        f"{term.unfinished.sum()} of {term.unfinished.size} trainings did not get so far."
        + (" The largest weight is the best so far." if term.best_is_last else "")
    )


def _table(result: SweepResult) -> str:
    header = ("term", "weight", "score", "gain %", "interval %", "term loss", "val", "change")
    rows: list[tuple[str, ...]] = [header]
    for name, term in result.terms.items():
        rows += _rows(name, term, result.verdicts[name])
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = ["  ".join(map(_aligned, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _rows(name: str, term: TermSweep, verdict: TermVerdict) -> list[tuple[str, ...]]:
    means = {key: term.mean(key) for key in ("score", "term_loss", "val_term_loss")}
    rows = []
    for i, weight in enumerate(term.weights):
        gain = ("", "", "baseline") if i == 0 else _gain(verdict, i - 1)
        numbers = [_number(mean[i]) for mean in means.values()]
        off = f"{weight:g}" if weight else "off"
        rows.append((name, off, numbers[0], *gain[:2], *numbers[1:], gain[2]))
    floors = [_number(term.floor), _number(term.val_floor)]
    return [*rows, (name, "floor", "", "", "", *floors, "")]


def _gain(verdict: TermVerdict, i: int) -> tuple[str, str, str]:
    gain, low, high = verdict.gains[i], verdict.low[i], verdict.high[i]
    interval = f"{low:.1f} to {high:.1f}" if np.isfinite([low, high]).all() else ""
    return f"{gain:.1f}" if np.isfinite(gain) else "", interval, verdict.changes[i]


def _number(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.4g}"


def _aligned(text: str, width: int) -> str:
    return text.ljust(width) if text[:1].isalpha() else text.rjust(width)
