"""The project folder of a search, with its whole state in one file.

KerasTuner spreads the state over `oracle.json`, `tuner0.json` and one `trial.json` per trial. A
killed process leaves these cut off or inconsistent. Here the whole state is written at once, after
trials were handed out and before they are trained. Later changes are not lost: trials that were
handed out since are handed out again, and results are in the trials' `result.json`.
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
KERASTUNER_STATE = "oracle.json"
BASELINE = "baseline"  # Prefix of the folders of trainings with all searched terms off.
OTHER_FOLDER = "Give another `project_name` or `directory`"
START_AGAIN = f"{OTHER_FOLDER}, or `overwrite=True` to start again."
DELETE_YOURSELF = (
    f"{OTHER_FOLDER}, or delete the folder yourself: `overwrite=True` deletes a folder only if its "
    "state file shows that it holds a search."
)


class Project:
    """The project folder of a search.

    Args:
        folder: Path of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last_hash = ""  # of the state file when this object last read or wrote it

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Locks the folder during a block; raises RuntimeError if another process uses it."""
        return locked(self.folder)

    def open(self, overwrite: bool) -> None:
        """Prepares the folder for KerasTuner, so that it does not read its own files there.

        Args:
            overwrite: Whether to delete the search in the folder.

        Raises:
            ValueError: If the folder holds the search of another tuner, or, with `overwrite`,
                anything other than a search.
        """
        if overwrite:
            self._delete()
            return
        others = [*self.folder.glob(KERASTUNER_STATE), *self.folder.glob("trial_*/trial.json")]
        if others and not self.exists():
            raise ValueError(
                f"The folder {self.folder} holds the search of another tuner, which "
                f"`ReplicaTuner` cannot continue. {START_AGAIN}"
            )
        (self.folder / "tuner0.json").unlink(missing_ok=True)

    def exists(self) -> bool:
        """Returns whether there is a saved state to continue from."""
        return (self.folder / STATE).exists()

    def has_results(self) -> bool:
        """Returns whether a trial or a baseline was trained, even if the oracle was not told."""
        kinds = ("trial", BASELINE)
        return any(path for kind in kinds for path in self.folder.glob(f"{kind}_*/{RESULT}"))

    def save(self, state: dict[str, Any]) -> None:
        """Writes the whole state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / STATE, state)
        self._last_hash = self._state_hash()

    def load(self) -> dict[str, Any]:
        """Returns the whole state, checked.

        Raises:
            ValueError: If the file is damaged, or does not hold the state of a search.
        """
        try:
            state = read_state(self.folder / STATE)
        except NotAStateError as error:
            raise ValueError(f"{error} {DELETE_YOURSELF}") from error
        self._last_hash = self._state_hash()
        return state

    def check_current(self) -> None:
        """Raises if another tuner has continued the search since this one read it."""
        if self.exists() and self._state_hash() != self._last_hash:
            raise ValueError(
                f"Another tuner has continued the search in {self.folder} since this one was "
                "created. Create this one again, with the same arguments, to continue from there."
            )

    def remove_orphans(self, known: set[str]) -> None:
        """Removes trials handed out after the last saved state; they are handed out again."""
        for folder in self.folder.glob("trial_*"):
            trial_id = folder.name.removeprefix("trial_")
            if trial_id in known or not is_trial_id(trial_id):
                continue
            trial = read_json(folder / "trial.json") or {"status": TrialStatus.RUNNING}
            others = {path.name for path in folder.iterdir()} - {"trial.json"}
            if others or trial["status"] != TrialStatus.RUNNING:
                raise ValueError(
                    f"The search in {self.folder} was continued by another tuner: trial {trial_id} "
                    f"is not in the saved state. {START_AGAIN}"
                )
            shutil.rmtree(folder)

    def trial_folder(self, trial_id: str) -> Path:
        """Returns the folder of a trial; creates it if it does not exist."""
        folder = self.folder / f"trial_{trial_id}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def baseline_folder(self, name: str) -> Path:
        """Returns the folder of a baseline; creates it if it does not exist."""
        folder = self.folder / f"{BASELINE}_{name}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _state_hash(self) -> str:
        return hashlib.sha256((self.folder / STATE).read_bytes()).hexdigest()

    def _delete(self) -> None:
        """Deletes the content of the folder, the state last: a killed deletion can be repeated."""
        ours = {LOCK, UNFINISHED + STATE}
        paths = [path for path in self.folder.glob("*") if path.name not in ours]
        if paths and not self._is_search():
            raise ValueError(
                f"The folder {self.folder} has no readable state of a search, but holds "
                f"{sorted(path.name for path in paths)[:5]}: `overwrite=True` does not delete it. "
                f"{DELETE_YOURSELF}"
            )
        for path in sorted(paths, key=lambda path: path.name in (STATE, KERASTUNER_STATE)):
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
        state = read_json(self.folder / KERASTUNER_STATE)
        return isinstance(state, dict) and {"hyperparameters", "start_order"} <= set(state)


def check_same(folder: Path, known: dict[str, Any], given: dict[str, Any]) -> None:
    """Raises if the description of a search differs from that of the search in the folder.

    Args:
        folder: The project folder.
        known: The description in the folder.
        given: The description of this search, or the part of it to compare.
    """
    for what, value in given.items():
        if known.get(what) != value:
            raise ValueError(
                f"The search in {folder} has another {what.replace('_', ' ')}: "
                f"{_difference(known.get(what), value)}. {START_AGAIN}"
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
