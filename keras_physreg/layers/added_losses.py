"""Tells whether a layer adds losses for the first time in a call of the model around it.

A layer that is called several times in a call of its model, as `TimeDistributed` calls it once per
step of the sequence, adds a loss each time, and Keras sums them. So must the logs.
"""

import threading
import weakref
from dataclasses import dataclass
from typing import Any

import keras

_local = threading.local()  # MirroredStrategy runs each replica's call in a thread of its own.


@dataclass(frozen=True)
class Added:
    """What a layer added last.

    Args:
        loss: One of its losses.
        rows: The number of rows by which its losses are logged.
    """

    loss: Any
    rows: Any


def earlier_in_call(layer: keras.layers.Layer) -> Added | None:
    """Returns what a layer added earlier in the call that runs, or `None`."""
    added = _of_thread().get(layer)
    # Keras clears the losses when a call of the outermost layer begins.
    still_there = added is not None and any(loss is added.loss for loss in layer.losses)
    return added if still_there else None


def note_in_call(layer: keras.layers.Layer, loss: Any, rows: Any) -> None:
    """Notes what a layer adds."""
    _of_thread()[layer] = Added(loss, rows)


def _of_thread() -> weakref.WeakKeyDictionary:
    if not hasattr(_local, "added"):
        _local.added = weakref.WeakKeyDictionary()
    return _local.added
