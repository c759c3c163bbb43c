"""What to do next, in three lines that can be copied."""

from __future__ import annotations

from keras_physreg.sweep.described import count
from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.recommendation import Recommendation


def recipe(sweep: MeasuredSweep, recommended: Recommendation) -> str:
    """Returns how to train with what is recommended."""
    if recommended.epochs is None:
        return (
            f"Recommended weights: {recommended.weights}{_why(recommended)}. The number of epochs "
            "is not known: no training was finished, or each was scored at an epoch of its own, as "
            "in files of version 0.1."
        )
    settings = sweep.settings
    epochs = settings.epochs_on_all_rows(recommended.epochs)
    batch = "" if settings.batch_size is None else f", batch_size={settings.batch_size}"
    rows = "" if settings.labelled is None else f"all {count(settings.labelled, 'labelled row')}"
    lines = [
        f"To train on {rows or 'all labelled rows'}{_why(recommended)}:",
        f"    kp.set_term_weights(model, {recommended.weights})",
        f"    model.fit(x, y, epochs={epochs}{batch})",
    ]
    text = "\n".join(lines)
    if epochs != recommended.epochs:
        text += (
            f"\nThat is as many steps as the best epoch, {recommended.epochs}, has in the sweep: "
            "all rows make more steps per epoch."
        )
    if recommended.last:
        text += (
            f"\nThe best epoch with these weights is the last one, {recommended.epochs}: the loss "
            "was still falling. Sweep again with more `epochs` before you rely on it."
        )
    return text


def _why(recommended: Recommendation) -> str:
    if recommended.verdict is None:
        return ", with no term of which it can be said that it helps"
    return f", with {' and '.join(recommended.terms)}: {recommended.verdict.verdict}"
