"""The lines that a search prints while it runs."""

from __future__ import annotations

from typing import Any

from keras_tuner.engine.trial import TrialStatus


def round_done(oracle: Any, trials: list[Any], seconds: float) -> str:
    """Returns one line about the trials of the round that has ended."""
    ids = sorted(trial.trial_id for trial in trials)
    which = f"Trial {ids[0]}" if len(ids) == 1 else f"Trials {ids[0]} to {ids[-1]}"
    total = oracle.max_trials or "?"
    line = f"{which} in {seconds:.1f} s; {len(oracle.end_order)} of {total} are done."
    if failed := [t.trial_id for t in trials if t.status == TrialStatus.FAILED]:
        line += f" Failed: {', '.join(failed)}."
    return f"{line} {best(oracle)}"


def best(oracle: Any) -> str:
    """Returns a sentence about the best trial so far."""
    trial = next(iter(oracle.get_best_trials(1)), None)
    if trial is None or trial.status != TrialStatus.COMPLETED:
        return "None has completed yet."
    return f"Best {oracle.objective.name}: {trial.score:.6g} (trial {trial.trial_id})."


def nothing_left(oracle: Any, folder: Any) -> str:
    """Returns the message for a search that was finished before."""
    return (
        f"There is nothing left to run: the search in {folder} has run all its "
        f"{len(oracle.trials)} trials. {best(oracle)} For more trials raise `max_trials` of the "
        "oracle, or start again with `overwrite=True`."
    )


def interrupted(oracle: Any, folder: Any) -> str:
    """Returns the message after Ctrl-C."""
    ended = len(oracle.end_order)
    return (
        f"\nInterrupted. {ended} trial{'s' * (ended != 1)} done and kept in {folder}. The "
        f"{len(oracle.trials) - ended} unfinished ones run again when you start the search again."
    )
