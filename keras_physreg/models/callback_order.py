"""Sorts the callbacks of `PhysicsModel.fit`, and warns of those that compare weighted losses.

Callbacks of this package are recognised by attributes: this room cannot import them.
"""

import warnings
from typing import Any

import keras

WEIGHTED_LOSSES = ("loss", "val_loss")


def arrange_callbacks(callbacks: Any, epochs: int, initial_epoch: int = 0) -> Any:
    """Sorts callbacks that add to the logs before all others, and warns of moving objectives.

    Args:
        callbacks: As in `keras.Model.fit`: callbacks in any nesting, a `CallbackList` or `None`.
        epochs: Epoch after the last one, as in `keras.Model.fit`.
        initial_epoch: First epoch, as in `keras.Model.fit`.

    Returns:
        A flat list, otherwise in the given order. A `CallbackList` or `None` is returned unchanged.
    """
    if callbacks is None:
        return None
    if isinstance(callbacks, keras.callbacks.CallbackList):
        warn_of_moving_objectives(callbacks.callbacks, initial_epoch, epochs)
        return callbacks
    callbacks = keras.tree.flatten(callbacks)
    warn_of_moving_objectives(callbacks, initial_epoch, epochs)
    return sorted(callbacks, key=lambda callback: not getattr(callback, "adds_logs", False))


def warn_of_moving_objectives(callbacks: list[Any], initial_epoch: int, epochs: int) -> None:
    """Warns of callbacks that compare weighted losses while a schedule changes the weights."""
    schedulers = [callback for callback in callbacks if hasattr(callback, "moves_between")]
    for callback in filter(_compares_weighted_losses, callbacks):
        first = max(initial_epoch, getattr(callback, "start_from_epoch", 0))
        if moving := [s for s in schedulers if s.moves_between(first, epochs)]:
            warnings.warn(_message(callback, moving), stacklevel=4)


def _compares_weighted_losses(callback: Any) -> bool:
    saves_every_epoch = getattr(callback, "save_best_only", True) is False
    return getattr(callback, "monitor", None) in WEIGHTED_LOSSES and not saves_every_epoch


def _message(callback: Any, schedulers: list[Any]) -> str:
    name = type(callback).__name__
    terms = [term for scheduler in schedulers for term in scheduler.schedules]
    return (
        f"{name} monitors `{callback.monitor}` while {type(schedulers[0]).__name__} changes the "
        f"weights of {terms}: losses at different weights cannot be compared, and small weights "
        f'tend to look best. Give {name} `monitor="val_data_loss", mode="min"`'
        + (
            ", or a `start_from_epoch` from which on the weights are constant."
            if hasattr(callback, "start_from_epoch")
            else "."
        )
    )
