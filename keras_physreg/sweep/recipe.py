"""The last lines of a report: how to train with what is recommended, as code to copy."""

from __future__ import annotations

from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.recommendation import Recommendation
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
    batch = "" if settings.batch_size is None else f", batch_size={settings.batch_size}"
    rows = "labelled rows"
    if settings.labelled is not None:
        rows = count(settings.labelled, "labelled row")
    lines = [
        f"{_terms(sweep, recommended)} To train on all {rows}:",
        f"    kp.set_term_weights(model, {recommended.weights})",
        f"    model.fit(x, y, epochs={epochs}{batch})",
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
