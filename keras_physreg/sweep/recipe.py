"""The last lines of a report: how to train with what is recommended, as code to copy."""

from __future__ import annotations

from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.recommendation import Recommendation
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.wording import count, these_make


def recipe(sweep: MeasuredSweep, recommended: Recommendation) -> str:
    """Returns how to train with what is recommended."""
    if recommended.epochs is None:
        return (
            f"{_terms(sweep, recommended)} Recommended weights: {recommended.weights}. The number "
            "of epochs is unknown: no training with these weights was finished, or each was scored "
            "at an epoch of its own, as in files of version 0.1."
        )
    settings = sweep.settings
    epochs = settings.epochs_on_all_rows(recommended.epochs)
    lines = [
        f"{_terms(sweep, recommended)} To train{_on_what(settings)}:",
        f"    kp.set_term_weights(model, {recommended.weights})",
        f"    model.fit({', '.join(_arguments(settings, epochs))})",
    ]
    text = "\n".join(lines)
    if epochs != recommended.epochs:
        text += (
            f"\n{these_make(epochs)} as many steps as the best epoch of the sweep, "
            f"{recommended.epochs}: with all rows there are more steps per epoch."
        )
    if recommended.last:
        text += (
            f"\nThe best epoch with these weights is the last one, {recommended.epochs}: the loss "
            "was still falling. Sweep again with more `epochs` before you rely on it."
        )
    return text


def _on_what(settings: SweepSettings) -> str:
    if not settings.has_rows:
        return " on the points"
    rows = "labelled rows"
    if settings.labelled is not None:
        rows = count(settings.labelled, "labelled row")
    return f" on all {rows}"


def _arguments(settings: SweepSettings, epochs: int) -> list[str]:
    """Returns the arguments of `fit`, as code."""
    found = ["x", "y"] if settings.has_rows else []
    if settings.points:
        found.append("points=points")
    if settings.points_batch_size is not None:
        found.append(f"points_batch_size={settings.points_batch_size}")
    found.append(f"epochs={epochs}")
    if settings.steps_per_epoch is not None:
        found.append(f"steps_per_epoch={settings.steps_per_epoch}")
    elif settings.batch_size is not None:
        found.append(f"batch_size={settings.batch_size}")
    return found


def _terms(sweep: MeasuredSweep, recommended: Recommendation) -> str:
    together = ", together" if len(recommended.terms) > 1 else ""
    names = " and ".join(recommended.terms)
    text = "No term can be said to help."
    if recommended.verdict is not None:
        text = f"Recommended: {names} ({recommended.verdict.verdict}{together})."
    kept = {n: w for n, w in recommended.weights.items() if w and n not in recommended.terms}
    if not kept:
        return text
    how = [
        f"{name} at {weight:g}{'' if name in sweep.settings.terms else ' (not swept)'}"
        for name, weight in kept.items()
    ]
    return f"{text} Kept as in the sweep: {', '.join(how)}."
