"""What a report says of the terms that are not swept at the moment."""

from __future__ import annotations

from collections.abc import Mapping

from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.wording import score_name


def others_note(settings: SweepSettings) -> str:
    """Returns what the other terms did while one was swept; empty if there are no others."""
    weights = settings.others_weights
    if len(weights) < 2:
        return ""
    calibrating = {name: weights[name] for name in settings.constants_only}
    parts = [_of_all(settings)] if len(weights) - len(calibrating) > 1 or _chosen(settings) else []
    parts += [_of_calibration(name, weight, settings) for name, weight in calibrating.items()]
    return " ".join(parts)


def listed(weights: Mapping[str, float]) -> str:
    """Returns `a at 0.5, b at 0`."""
    return ", ".join(f"{name} at {weight:g}" for name, weight in weights.items())


def without_effect(term: TermSweep, settings: SweepSettings, weights: str) -> str:
    """Returns what it means that a term has no effect that trains constants only.

    Args:
        term: What was measured of the term.
        settings: How the sweep was made.
        weights: The weights that were tried, as the subject of a sentence.
    """
    on = {name: weight for name, weight in term.others.items() if weight}
    text = f"{weights} {score_name(settings)} by {100 * settings.min_effect:g} % or more. "
    if not on:
        return (
            f"{text}The term only trains constants, which reach the predictions through other "
            "terms, and these were off: the sweep cannot show what it is worth. Sweep it with "
            '`others="keep"` beside a term that uses the constants. Its weight stays as it is.'
        )
    return (
        f"{text}The term only trains constants, which reach the predictions through other terms, "
        f"here {listed(on)}. Its weight stays as it is: without it the constants are not trained."
    )


def _chosen(settings: SweepSettings) -> bool:
    return settings.others in ("keep", "given")


def _of_all(settings: SweepSettings) -> str:
    weights = settings.others_weights
    how = {
        "zero": "the others have weight 0",
        "best": "each one swept before has its best weight if that helps, and the others have 0",
        "keep": f"the others keep their weights in the model: {listed(weights)}",
        "given": f"the others have these weights: {listed(weights)}",
    }
    return f"While one term is swept, {how[settings.others]}."


def _of_calibration(name: str, weight: float, settings: SweepSettings) -> str:
    swept = name in settings.terms
    when = "while another term is swept" if swept else "in all trainings"
    text = f"{name} only trains constants: it "
    text += "" if swept else "is not swept, and "
    text += f"{'has' if _chosen(settings) else 'keeps'} weight {weight:g} {when}."
    if not weight:
        text += " So its constants stay untrained: set a weight with `set_term_weights`, such as 1."
    return text
