"""SearchState: the oracle of a search, the order of its events, and the search's description."""

from __future__ import annotations

from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_physreg.tuner.search import random_states
from keras_physreg.tuner.search.failures import without_limit
from keras_physreg.tuner.search.project import START_AGAIN, STATE, Project, check_same


class SearchState:
    """Asks and tells the oracle of a search, and saves its state in the project folder.

    Args:
        oracle: The oracle.
        project: The project folder.
        described: The description of the search, as JSON holds it. A search with another
            description cannot continue in the same folder.
    """

    def __init__(self, oracle: Any, project: Project, described: dict[str, Any]) -> None:
        self.oracle, self.project = oracle, project
        self._described = described
        # `["asked", trial id]`, and at a trial's end `[status, trial id]`.
        self._events: list[list[str]] = []

    def ask(self, name: str) -> Any:
        """Returns the oracle's next trial for a tuner id; its status may say to wait or to stop."""
        trial = self.oracle.create_trial(name)
        if trial.status == TrialStatus.RUNNING:
            self._events.append(["asked", trial.trial_id])
        return trial

    def end(self, trial: Any) -> None:
        """Tells the oracle that a trial ended."""
        self._events.append([trial.status, trial.trial_id])
        with without_limit(self.oracle):
            self.oracle.end_trial(trial)

    @property
    def begun(self) -> list[Any]:
        """Trials that were asked for and have not ended, such as after Ctrl-C."""
        return list(self.oracle.ongoing_trials.values())

    @property
    def to_repeat(self) -> int:
        """The number of trials that the oracle hands out again before new ones."""
        return len(self.oracle.get_state()["retry_queue"])

    def was_told(self, trial: Any) -> bool:
        """Returns whether an earlier attempt at this trial has ended."""
        return any(e != "asked" and trial_id == trial.trial_id for e, trial_id in self._events)

    def describe_training(self, training: dict[str, Any]) -> None:
        """Records how trials are trained; raises if earlier ones were trained in another way."""
        self.project.check_current()
        if self.oracle.end_order or self.project.has_results():
            check_same(self.project.folder, self._described, {"training": training})
        self._described = {**self._described, "training": training}

    def save(self) -> None:
        """Writes the whole state to the folder."""
        self.project.save(
            {
                "described": self._described,
                "events": self._events,
                "oracle": self.oracle.get_state(),
                "random": random_states.states_of(self.oracle),
                "trials": [trial.get_state() for trial in self.oracle.trials.values()],
            }
        )

    def restore(self) -> None:
        """Restores the saved state of the oracle, which must be new.

        Raises:
            ValueError: If the folder holds another search, or its state is damaged.
        """
        state = self.project.load()
        check_same(self.project.folder, state["described"], self._described)
        self.project.remove_orphans({trial["trial_id"] for trial in state["trials"]})
        try:
            self._put_into_oracle(state)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ValueError(
                f"{self.project.folder / STATE} is a damaged state of a `ReplicaTuner` "
                f"({type(error).__name__}: {error}). {START_AGAIN}"
            ) from error
        self._described, self._events = state["described"], state["events"]
        for trial in self.oracle.trials.values():
            trial.save(str(self.project.trial_folder(trial.trial_id) / "trial.json"))

    def _put_into_oracle(self, state: dict[str, Any]) -> None:
        restored = state["oracle"]
        if isinstance(self.oracle, keras_tuner.oracles.GridSearchOracle):
            self._replay(state)
            restored = self.oracle.get_state()
        else:
            trials = [Trial.from_state(trial) for trial in state["trials"]]
            self.oracle.trials = {trial.trial_id: trial for trial in trials}
        self.oracle.set_state(self._with_all_to_repeat(restored))
        random_states.set_states(self.oracle, state["random"])

    def _with_all_to_repeat(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns the state with all unfinished trials in the queue, the first one next."""
        ended = set(state["end_order"])
        queue = [trial_id for trial_id in self.oracle.trials if trial_id not in ended]
        return {**state, "ongoing_trials": {}, "retry_queue": sorted(queue, reverse=True)}

    def _replay(self, state: dict[str, Any]) -> None:
        """Repeats the events of a grid search, whose oracle cannot load a state."""
        trials = {trial["trial_id"]: trial for trial in state["trials"]}
        max_trials = self.oracle.max_trials
        try:
            for event, trial_id in state["events"]:
                if event == "asked":
                    # Under an id of its own, as a tuner with a running trial gets no new one. The
                    # trial ids get as many digits as this number has.
                    self.oracle.max_trials = int("9" * len(trial_id))
                    self.oracle.create_trial(f"replayed-{trial_id}")
                    continue
                trial = self.oracle.trials[trial_id]
                trial.set_state(trials[trial_id])
                trial.status = event
                with without_limit(self.oracle):
                    self.oracle.end_trial(trial)
        finally:
            self.oracle.max_trials = max_trials
