"""Finds the losses that a layer added earlier in the same call of its model.

`TimeDistributed` calls its layer once per step of the sequence. The layer then adds a loss each
time, and Keras sums these losses, so the logs must sum them, too.
"""

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_physreg.layers.evaluation import TermValue

_local = threading.local()  # MirroredStrategy calls each replica in a thread of its own.


@dataclass(frozen=True)
class Added:
    """The losses that a layer added last.

    Args:
        loss: One of these losses.
        rows: Number of rows by which these losses are weighted in the logs.
    """

    loss: Any
    rows: Any


def earlier_in_call(layer: keras.layers.Layer) -> Added | None:
    """Returns what a layer added earlier in the present call of its model, or `None`."""
    added = _added_in_this_thread().get(layer)
    # Keras clears the losses when a call of the outermost layer begins.
    still_there = added is not None and any(loss is added.loss for loss in layer.losses)
    return added if still_there else None


def add_losses(layer: keras.layers.Layer, values: Sequence[TermValue], rows: Any) -> None:
    """Adds the weighted losses of terms to their layer, and records that it did.

    Args:
        layer: The physics layer.
        values: The terms.
        rows: Number of rows by which their losses are weighted in the logs.
    """
    # Keras sums the losses of a model, which fails if their dtypes differ.
    losses = [ops.cast(value.weighted, keras.config.floatx()) for value in values]
    for loss in losses:
        layer.add_loss(loss)
    if losses:
        _added_in_this_thread()[layer] = Added(losses[0], rows)


def _added_in_this_thread() -> weakref.WeakKeyDictionary:
    if not hasattr(_local, "added"):
        _local.added = weakref.WeakKeyDictionary()
    return _local.added
