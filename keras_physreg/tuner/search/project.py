"""The project folder of a search: one file holds its whole state, and KerasTuner's follow it.

KerasTuner spreads the state over `oracle.json`, `tuner0.json` and a `trial.json` for each trial,
which a killed process leaves cut off or in disagreement. Here the state is written at once, after
trials were handed out and before they are trained. Whatever KerasTuner wrote since then is either
made again (trials that were handed out) or is in the trials' `result.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import Any

from keras_tuner.engine.trial import TrialStatus

from keras_physreg.tuner.search.atomic_files import UNFINISHED, read_json, write_json
from keras_physreg.tuner.search.folder_lock import LOCK, locked
from keras_physreg.tuner.search.state_file import NotAStateError, is_trial_id, read_state
from keras_physreg.tuner.search.trial_result import RESULT

STATE = "replica_tuner.json"
OF_KERASTUNER = "oracle.json"
BASELINE = "baseline"  # The trainings with all searched terms off, one per model.
ELSEWHERE = "Give another `project_name` or `directory`"
CURE = f"{ELSEWHERE}, or `overwrite=True` to start again."
OWN_DELETION = (
    f"{ELSEWHERE}, or delete the folder yourself: `overwrite=True` deletes a folder only where its "
    "state file says that it holds a search."
)


class Project:
    """A search's folder.

    Args:
        folder: Its path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known = ""  # What the state file held when it was last read or written here.

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keeps other processes out during a block; raises RuntimeError where one is in."""
        return locked(self.folder)

    def open(self, overwrite: bool) -> None:
        """Makes the folder ready for KerasTuner, which is not to read its own files there.

        Args:
            overwrite: Whether to delete the search in the folder.

        Raises:
            ValueError: If another tuner left its search there, or, with `overwrite`, if the folder
                holds something else than a search.
        """
        if overwrite:
            self._delete()
            return
        others = [*self.folder.glob(OF_KERASTUNER), *self.folder.glob("trial_*/trial.json")]
        if others and not self.exists():
            raise ValueError(
                f"The folder {self.folder} holds the search of another tuner, which "
                f"`ReplicaTuner` cannot go on with. {CURE}"
            )
        (self.folder / "tuner0.json").unlink(missing_ok=True)

    def exists(self) -> bool:
        """Returns whether there is a state to go on from."""
        return (self.folder / STATE).exists()

    def has_results(self) -> bool:
        """Returns whether a trial or a baseline is trained, even if the oracle was not told."""
        kinds = ("trial", BASELINE)
        return any(path for kind in kinds for path in self.folder.glob(f"{kind}_*/{RESULT}"))

    def save(self, state: dict[str, Any]) -> None:
        """Writes the whole state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / STATE, state)
        self._known = self._content()

    def load(self) -> dict[str, Any]:
        """Returns the whole state, checked.

        Raises:
            ValueError: If the file is damaged, or the state of something else.
        """
        try:
            state = read_state(self.folder / STATE)
        except NotAStateError as error:
            raise ValueError(f"{error} {OWN_DELETION}") from error
        self._known = self._content()
        return state

    def check_current(self) -> None:
        """Raises where another tuner has gone on with the search since this one read it."""
        if self.exists() and self._content() != self._known:
            raise ValueError(
                f"Another tuner has continued the search in {self.folder} since this one was "
                "made. Make this one again, with the same arguments, to continue from there."
            )

    def remove_orphans(self, known: set[str]) -> None:
        """Removes trials handed out after the last state; they are handed out again."""
        for folder in self.folder.glob("trial_*"):
            trial_id = folder.name.removeprefix("trial_")
            if trial_id in known or not is_trial_id(trial_id):
                continue
            trial = read_json(folder / "trial.json") or {"status": TrialStatus.RUNNING}
            others = {path.name for path in folder.iterdir()} - {"trial.json"}
            if others or trial["status"] != TrialStatus.RUNNING:
                raise ValueError(
                    f"The search in {self.folder} was continued by another tuner: trial {trial_id} "
                    f"is not of this one. {CURE}"
                )
            shutil.rmtree(folder)

    def trial_folder(self, trial_id: str) -> Path:
        """Returns the folder of a trial; makes it where there is none."""
        folder = self.folder / f"trial_{trial_id}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def baseline_folder(self, name: str) -> Path:
        """Returns the folder of a baseline; makes it where there is none."""
        folder = self.folder / f"{BASELINE}_{name}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _content(self) -> str:
        return hashlib.sha256((self.folder / STATE).read_bytes()).hexdigest()

    def _delete(self) -> None:
        """Deletes all that is in the folder, its state last: then it can be deleted again."""
        ours = {LOCK, UNFINISHED + STATE}
        paths = [path for path in self.folder.glob("*") if path.name not in ours]
        if paths and not self._is_search():
            raise ValueError(
                f"The folder {self.folder} has no readable state of a search, but holds "
                f"{sorted(path.name for path in paths)[:5]}: `overwrite=True` does not delete it. "
                f"{OWN_DELETION}"
            )
        for path in sorted(paths, key=lambda path: path.name in (STATE, OF_KERASTUNER)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _is_search(self) -> bool:
        if self.exists():
            try:
                read_state(self.folder / STATE)
            except NotAStateError:
                return False
            return True
        state = read_json(self.folder / OF_KERASTUNER)
        return isinstance(state, dict) and {"hyperparameters", "start_order"} <= set(state)


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
