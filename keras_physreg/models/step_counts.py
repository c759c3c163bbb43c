"""Steps per epoch and per execution of a training that has no labelled rows."""

import math
from collections.abc import Iterable
from typing import Any

import keras

DEFAULT_STEPS_PER_EPOCH = 100
MAX_STEPS_PER_EXECUTION = 100  # Ctrl-C acts between two executions.
BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
)


def steps_per_epoch(model: keras.Model) -> int:
    """Returns the default number of steps in an epoch, a multiple of those per execution."""
    executed = model.steps_per_execution
    return math.ceil(DEFAULT_STEPS_PER_EPOCH / executed) * executed


def steps_per_execution(model: keras.Model, steps: int, callbacks: Any) -> int:
    """Returns how many steps run as one program: a call of Keras costs as much as a small step.

    That is what the user has chosen in `compile`, if it is not 1, or if a callback acts after
    each batch. Otherwise it is the largest divisor of the steps in an epoch within a limit.

    Args:
        model: A compiled model.
        steps: Number of steps in an epoch.
        callbacks: A list of callbacks, a `CallbackList` or `None`.
    """
    chosen = model.steps_per_execution
    listed: Iterable[Any] = getattr(callbacks, "callbacks", callbacks) or ()
    if chosen != 1 or model.run_eagerly or any(map(_acts_per_batch, listed)):
        return chosen
    largest = min(steps, MAX_STEPS_PER_EXECUTION)
    return next(n for n in range(largest, 0, -1) if steps % n == 0)


def _acts_per_batch(callback: Any) -> bool:
    # Attributes of Keras' callbacks that save, and of ours that move weights.
    rates = (getattr(callback, name, None) for name in ("save_freq", "update_freq", "unit"))
    if isinstance(callback, keras.callbacks.ProgbarLogger) or "epoch" in rates:
        return False
    base, kind = keras.callbacks.Callback, type(callback)
    return any(
        name in vars(callback) or getattr(kind, name, None) is not getattr(base, name)
        for name in BATCH_HOOKS
    )
