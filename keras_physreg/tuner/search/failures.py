"""Failed trials: their results, and the errors that end a search."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_physreg._utils.errors import whole_number
from keras_physreg.tuner.search.trial_result import TrialResult

LIMIT = "max_consecutive_failed_trials"
MAX_SHOWN_REASONS = 5


def failure_limit(oracle: Any, given: int | None) -> int | None:
    """Returns the number of failures in a row that ends the search; `None` for no limit.

    Args:
        oracle: The oracle. Its own number counts if it is not KerasTuner's default.
        given: The argument of the tuner, or `None`.
    """
    if given is not None:
        return whole_number(LIMIT, given)
    default = inspect.signature(keras_tuner.Oracle.__init__).parameters[LIMIT].default
    own = getattr(oracle, LIMIT)
    return None if own == default else own


@contextlib.contextmanager
def without_limit(oracle: Any) -> Iterator[None]:
    """Lets an oracle accept any number of failures in a row during the block.

    With a limit the oracle raises before it has written the trial, and again at every later trial.
    """
    limit = getattr(oracle, LIMIT)
    setattr(oracle, LIMIT, None)
    try:
        yield
    finally:
        setattr(oracle, LIMIT, limit)


def raised(error: Exception) -> TrialResult:
    """Returns the result of a trial whose model could not be built or trained."""
    message = "".join(traceback.format_exception(error))
    final = isinstance(error, keras_tuner.errors.FailedTrialError)
    return TrialResult(TrialStatus.FAILED if final else TrialStatus.INVALID, message)


def check_run(oracle: Any, limit: int | None, since: int) -> None:
    """Raises if too many trials failed in a row.

    Args:
        oracle: The oracle.
        limit: The number of failures in a row that is too many; `None` for no limit.
        since: Number of trials that had ended before this round.
    """
    run = 0
    for position, trial_id in enumerate(oracle.end_order):
        failed = oracle.trials[trial_id].status == TrialStatus.FAILED
        run = run + 1 if failed else 0
        if limit is not None and run >= limit and position >= since:
            raise RuntimeError(
                f"{limit} trials failed in a row, so `max_consecutive_failed_trials={limit}` ends "
                f"the search. Fix the cause, or raise this limit. {reasons(oracle)}"
            )


def check_completed(oracle: Any) -> None:
    """Raises if no trial completed."""
    statuses = [trial.status for trial in oracle.trials.values()]
    if TrialStatus.COMPLETED not in statuses:
        raise RuntimeError(
            f"None of the {len(statuses)} trials completed. {reasons(oracle)} Fix the cause, "
            "then start again with `overwrite=True`."
        )


def reasons(oracle: Any) -> str:
    """Returns the reasons why trials failed, the most frequent first."""
    messages = [
        (trial.message or "no reason given").strip().splitlines()[-1]
        for trial in oracle.trials.values()
        if trial.status in (TrialStatus.FAILED, TrialStatus.INVALID)
    ]
    counted = Counter(messages).most_common()
    lines = [f"{number} x {message}" for message, number in counted[:MAX_SHOWN_REASONS]]
    others = len(counted) - MAX_SHOWN_REASONS
    more = [f"and {others} other reasons."] if others > 0 else []
    return " ".join(["Reasons:", *lines, *more])
