"""The project folder of a search: one file holds its whole state, and KerasTuner's follow it.

KerasTuner spreads the state over `oracle.json`, `tuner0.json` and a `trial.json` for each trial,
which a killed process leaves cut off or in disagreement. Here the state is written at once, after
trials were handed out and before they are trained. Whatever KerasTuner wrote since then is either
made anew (trials that were handed out) or stands in the trials' `result.json`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_physreg.tuner.search.atomic_files import read_json, write_json
from keras_physreg.tuner.search.trial_result import RESULT

STATE = "replica_tuner.json"
CURE = "Give another `project_name` or `directory`, or `overwrite=True` to begin anew."


class Project:
    """A search's folder.

    Args:
        folder: Its path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, overwrite: bool) -> None:
        """Makes the folder ready for KerasTuner, which is not to read its own files there.

        Args:
            overwrite: Whether the search is begun anew.

        Raises:
            ValueError: If another tuner left its search there.
        """
        if overwrite:
            (self.folder / STATE).unlink(missing_ok=True)
            return
        others = [*self.folder.glob("oracle.json"), *self.folder.glob("trial_*/trial.json")]
        if others and not self.exists():
            raise ValueError(
                f"The folder {self.folder} holds the search of another tuner, which "
                f"`ReplicaTuner` cannot go on with. {CURE}"
            )
        (self.folder / "tuner0.json").unlink(missing_ok=True)

    def exists(self) -> bool:
        """Tells whether there is a state to go on from."""
        return (self.folder / STATE).exists()

    def has_results(self) -> bool:
        """Tells whether a trial is trained, even if nobody was told."""
        return any(self.folder.glob(f"trial_*/{RESULT}"))

    def save(self, oracle: Any, described: dict[str, Any], events: list[list[str]]) -> None:
        """Writes the whole state."""
        state = {
            "described": described,
            "events": events,
            "oracle": oracle.get_state(),
            "trials": [trial.get_state() for trial in oracle.trials.values()],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / STATE, state)

    def restore(self, oracle: Any, described: dict[str, Any]) -> dict[str, Any]:
        """Puts the state into an oracle that was not asked yet.

        Args:
            oracle: The oracle.
            described: What the search is, as it was given to `save`.

        Returns:
            The whole state.

        Raises:
            ValueError: If the folder was left by another search.
        """
        state = read_json(self.folder / STATE)
        if state is None:
            raise ValueError(f"{self.folder / STATE} is no state of a `ReplicaTuner`. {CURE}")
        check_same(self.folder, state["described"], described)
        self._remove_orphans({trial["trial_id"] for trial in state["trials"]})
        if isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
            _replay(oracle, state)
            restored = oracle.get_state()
        else:
            trials = [Trial.from_state(trial) for trial in state["trials"]]
            oracle.trials = {trial.trial_id: trial for trial in trials}
            restored = state["oracle"]
        oracle.set_state(_all_to_do_again(oracle, restored))
        for trial in oracle.trials.values():
            (self.folder / f"trial_{trial.trial_id}").mkdir(exist_ok=True)
            trial.save(str(self.folder / f"trial_{trial.trial_id}" / "trial.json"))
        return state

    def _remove_orphans(self, known: set[str]) -> None:
        """Removes trials handed out after the last state; they are handed out again."""
        for folder in self.folder.glob("trial_*"):
            trial_id = folder.name.removeprefix("trial_")
            if trial_id in known or not trial_id.isdigit():
                continue
            trial = read_json(folder / "trial.json") or {"status": TrialStatus.RUNNING}
            others = {path.name for path in folder.iterdir()} - {"trial.json"}
            if others or trial["status"] != TrialStatus.RUNNING:
                raise ValueError(
                    f"The search in {self.folder} was continued by another tuner: trial {trial_id} "
                    f"is not of this one. {CURE}"
                )
            shutil.rmtree(folder)


def _all_to_do_again(oracle: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Returns the state with all trials that did not end in the queue, the first one first."""
    queue = [t.trial_id for t in oracle.trials.values() if t.trial_id not in state["end_order"]]
    return {**state, "ongoing_trials": {}, "retry_queue": sorted(queue, reverse=True)}


def _replay(oracle: Any, state: dict[str, Any]) -> None:
    """Asks and tells a grid search again what it was asked and told: it has no state to load.

    The events are `["asked", trial id]`, and at a trial's end `[status, trial id]`.
    """
    trials = {trial["trial_id"]: trial for trial in state["trials"]}
    most = oracle.max_trials
    for event, trial_id in state["events"]:
        if event == "asked":  # As a tuner of its own; if it is under way already, nothing is new.
            oracle.max_trials = int("9" * len(trial_id))  # It makes ids as wide as itself.
            oracle.create_trial(f"replayed-{trial_id}")
            continue
        trial = oracle.trials[trial_id]
        trial.set_state(trials[trial_id])
        trial.status = event
        oracle.end_trial(trial)
    oracle.max_trials = most


def check_same(folder: Path, known: dict[str, Any], given: dict[str, Any]) -> None:
    """Raises where a search is described otherwise than the one that its folder holds."""
    for what, value in given.items():
        if known.get(what) != value:
            raise ValueError(
                f"The search in {folder} has another {what.replace('_', ' ')}: "
                f"{_difference(known.get(what), value)}. {CURE}"
            )


def _difference(known: Any, given: Any) -> str:
    if not isinstance(known, dict):
        return f"{known!r} there, {given!r} now"
    names = sorted({*known, *given})
    parts = [
        f"{name} is {known.get(name, 'missing')!r} there, {given.get(name, 'missing')!r} now"
        for name in names
        if known.get(name) != given.get(name)
    ]
    return "; ".join(parts)
