"""Reads and checks the JSON files of a search, with errors that say what is wrong in a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from keras_tuner.engine.trial import TrialStatus

NEEDED = {"described": dict, "events": list, "oracle": dict, "trials": list}
OPTIONAL = {"random": dict}
STATUSES = (
    TrialStatus.RUNNING,
    TrialStatus.COMPLETED,
    TrialStatus.FAILED,
    TrialStatus.INVALID,
)
TRIAL_ID = "[0-9]+|[0-9a-f]{32}"  # KerasTuner counts trials, or names them by a hash.


class NotAStateError(ValueError):
    """A file does not have the expected content; the message says why."""


def read_object(
    path: Path, what: str, needed: dict[str, Any], optional: dict[str, Any] | None = None
) -> Any:
    """Returns the JSON object in a file, or raises.

    Args:
        path: The file.
        what: The expected content, for the message: `"result of a trial"`.
        needed: The type of each required key.
        optional: The type of each optional key; `None` allows any key.
    """
    try:
        value = json.loads(path.read_bytes().decode("utf-8"))
    except ValueError as error:  # It is not text, or not JSON.
        raise NotAStateError(
            f"{path} is no {what}: it is cut off, or no JSON file ({error})."
        ) from None
    if not isinstance(value, dict):
        raise NotAStateError(f"{path} is no {what}: it holds a {type(value).__name__}.")
    if lacking := sorted(set(needed) - set(value)):
        raise NotAStateError(f"{path} is no {what}: it lacks {lacking}.")
    unknown = [] if optional is None else sorted(set(value) - set(needed) - set(optional))
    if unknown:
        raise NotAStateError(
            f"{path} is no {what} of this version of the package, which does not know {unknown}."
        )
    for key, kind in {**needed, **(optional or {})}.items():
        if key in value and not isinstance(value[key], kind):
            raise NotAStateError(
                f"{path} is no {what}: `{key}` holds {value[key]!r} (of type {type(value[key])})."
            )
    return value


def read_state(path: Path) -> dict[str, Any]:
    """Returns the state of a search, with its trials and their ids checked.

    Raises:
        NotAStateError: If the file does not hold the state of a search.
    """
    what = "state of a `ReplicaTuner`"
    state = read_object(path, what, NEEDED, OPTIONAL)
    try:
        wrong = _wrong(state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        wrong = f"an entry is not what it should be ({type(error).__name__}: {error})"
    if wrong:
        raise NotAStateError(f"{path} is no {what}: {wrong}.")
    return {"random": {}, **state}


def is_trial_id(value: Any) -> bool:
    """Returns whether a value can name a trial, and its folder."""
    return isinstance(value, str) and re.fullmatch(TRIAL_ID, value) is not None


def _wrong(state: dict[str, Any]) -> str | None:
    """Returns what is wrong with the trials of a state; `None` if nothing is."""
    ids = [trial["trial_id"] for trial in state["trials"]]
    if not all(is_trial_id(trial_id) for trial_id in ids):
        return f"a trial id must be of digits, such as '07', but there are {ids}"
    if unknown := {trial["status"] for trial in state["trials"]} - set(STATUSES):
        return f"the status of a trial must be one of {STATUSES}, but there are {sorted(unknown)}"
    named = [trial_id for _, trial_id in state["events"]]
    for key in ("start_order", "end_order", "retry_queue"):
        named += state["oracle"][key]
    if strangers := sorted({str(name) for name in named} - set(ids)):
        return f"it names the trials {strangers}, but does not hold them"
    return None
