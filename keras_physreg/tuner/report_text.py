"""The report of a search by cross-validation: its winner, how sure that is, how to train."""

from __future__ import annotations

import numpy as np

from keras_physreg.schedules.schedule import Schedule
from keras_physreg.sweep.split_checks import ADVISED_SPLITS
from keras_physreg.sweep.verdict import TermVerdict
from keras_physreg.sweep.wording import (
    count,
    rows_and_splits,
    score_name,
    these_make,
    where_the_mean_differs,
)
from keras_physreg.tuner.measured import MeasuredSearch, Scored


def report(search: MeasuredSearch) -> str:
    """Returns the report, a paragraph per subject."""
    parts = [_head(search), _winner(search), _baseline(search), _runner_up(search)]
    return "\n\n".join(part for part in [*parts, _few_splits(search), _recipe(search)] if part)


def _head(search: MeasuredSearch) -> str:
    settings = search.settings
    return (
        f"Search by cross-validation: {count(search.completed, 'completed trial')}; "
        f"{rows_and_splits(settings)}; {settings.epochs} epochs"
    )


def _winner(search: MeasuredSearch) -> str:
    winner = search.winner
    values = ", ".join(f"{name}={_short(v)}" for name, v in winner.hyperparameters.items())
    return (
        f"Best: trial {winner.trial_id}, {search.settings.monitor} {winner.score:.4g} at epoch "
        f"{winner.epoch}, with {values or 'no hyperparameters'}."
    )


def _baseline(search: MeasuredSearch) -> str:
    terms = " and ".join(search.winner.terms)
    verdict = search.against_baseline
    if search.baseline is None:
        return f"Against {terms} off: unknown, as that training was interrupted."
    if verdict is None or np.isnan(verdict.better[0]):
        return f"Against {terms} off: cannot be told, as trainings with {terms} off diverged."
    return f"Against {terms} off: {verdict.verdict}. {_change(search, search.baseline, verdict)}"


def _runner_up(search: MeasuredSearch) -> str:
    verdict, second = search.against_runner_up, search.runner_up
    if second is None or verdict is None:
        return ""
    if np.isnan(verdict.better[0]):
        return f"Against the second best, trial {second.trial_id}: cannot be told."
    advice = " Either may be the better one: prefer the simpler or cheaper model."
    return (
        f"Against the second best, trial {second.trial_id}: the probability that "
        f"{score_name(search.settings)} is better by more than "
        f"{_percent(search.settings.min_effect)} is {_percent(verdict.better[0])}."
        f"{'' if verdict.helps else advice}"
    )


def _change(search: MeasuredSearch, baseline: Scored, verdict: TermVerdict) -> str:
    settings = search.settings
    gain, low, high = verdict.gains[0], verdict.low[0], verdict.high[0]
    better, worse = ("falls", "rises") if search.direction == "min" else ("rises", "falls")
    text = (
        f"{_sentence_case(score_name(settings))} {better if gain >= 0 else worse} by "
        f"{abs(gain):.3g} %, from {baseline.score:.4g} at epoch {baseline.epoch}. The probability "
        f"that it {better} by more than {_percent(settings.min_effect)} is "
        f"{_percent(verdict.better[0])}. The true change lies between {_better_or_worse(low)} and "
        f"{_better_or_worse(high)} ({_percent(settings.confidence)} interval)."
        f"{where_the_mean_differs(verdict, 0, settings)}"
    )
    if verdict.helps and search.completed > 1:
        text += f" Expect less than {gain:.3g} %: the trial was chosen on the same rows."
    return text


def _few_splits(search: MeasuredSearch) -> str:
    splits = search.settings.splits
    if splits is None or splits.count >= ADVISED_SPLITS:
        return ""
    return (
        f"{splits.count} splits are fewer than the {ADVISED_SPLITS} advised: the best trial "
        "depends more on how the rows were split. Give more `repeats`, or more splits."
    )


def _recipe(search: MeasuredSearch) -> str:
    best, settings = search.recommended, search.settings
    epochs = search.recommended_epochs
    lines = [
        f"{_terms_off(search)}To train on all {count(settings.labelled or 0, 'labelled row')}:",
        "    hp = tuner.get_best_hyperparameters()[0]",
        "    model = tuner.hypermodel.build(hp)",
        f"    tuner.hypermodel.fit(hp, model, x, y, epochs={epochs}, "
        f"batch_size={settings.batch_size})",
    ]
    if best is not search.winner:
        lines[-1] = f"    model.fit(x, y, epochs={epochs}, batch_size={settings.batch_size})"
        lines.insert(3, f"    kp.set_term_weights(model, {dict.fromkeys(best.terms, 0.0)})")
    text = "\n".join(lines)
    if epochs != best.epoch:
        text += (
            f"\n{these_make(epochs)} as many steps as epoch {best.epoch} of the search: with all "
            "rows there are more steps per epoch."
        )
        if any(isinstance(schedule, Schedule) for schedule in best.terms.values()):
            text += " The ramp counts epochs, so it takes more steps, too."
    if best.epoch == settings.epochs:
        still = (
            "the loss was still falling"
            if search.direction == "min"
            else "the score was still rising"
        )
        text += (
            f"\nThe best epoch is the last one, {best.epoch}: {still}. Search again with more "
            "`epochs` before you rely on it."
        )
    return text


def _terms_off(search: MeasuredSearch) -> str:
    return "" if search.recommended is search.winner else "No term can be said to help. "


def _better_or_worse(gain: float) -> str:
    return f"{abs(gain):.3g} % {'better' if gain >= 0 else 'worse'}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sentence_case(text: str) -> str:
    """Returns words with a first capital letter, and the key of a log as it is."""
    return text if "_" in text else text[:1].upper() + text[1:]
