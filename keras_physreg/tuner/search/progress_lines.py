"""The lines that a search prints while it runs."""

from __future__ import annotations

from typing import Any

from keras_tuner.engine.trial import TrialStatus


def round_done(oracle: Any, trials: list[Any], seconds: float) -> str:
    """Returns one line about the trials that have just ended."""
    ids = sorted(trial.trial_id for trial in trials)
    which = f"Trial {ids[0]}" if len(ids) == 1 else f"Trials {ids[0]} to {ids[-1]}"
    total = oracle.max_trials or "?"
    line = f"{which} in {seconds:.1f} s; {len(oracle.end_order)} of {total} are done."
    if failed := [t.trial_id for t in trials if t.status == TrialStatus.FAILED]:
        line += f" Failed: {', '.join(failed)}."
    return f"{line} {best(oracle)}"


def best(oracle: Any) -> str:
    """Returns the best trial so far in words."""
    trial = next(iter(oracle.get_best_trials(1)), None)
    if trial is None or trial.status != TrialStatus.COMPLETED:
        return "None has completed yet."
    return f"Best {oracle.objective.name}: {trial.score:.6g} (trial {trial.trial_id})."


def nothing_left(oracle: Any, folder: Any) -> str:
    """Returns the message for a search that was finished before."""
    return (
        f"Nothing is left to run: the search in {folder} has had all its {len(oracle.trials)} "
        f"trials. {best(oracle)} Raise `max_trials` of the oracle for more, or start again with "
        "`overwrite=True`."
    )


def interrupted(oracle: Any, folder: Any) -> str:
    """Returns the message after Ctrl-C."""
    ended = len(oracle.end_order)
    return (
        f"\nInterrupted. {ended} trial{'s' * (ended != 1)} done and kept in {folder}; the "
        f"{len(oracle.trials) - ended} under way run again when the search is started again."
    )
