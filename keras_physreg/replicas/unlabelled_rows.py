"""Unlabelled rows of replicas: arrays with an order per seed, or a sampler."""

from typing import Any

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.errors import received
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.replicas.array_rows import ArrayRows
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.drawn_rows import DrawnRows
from keras_physreg.replicas.streamed_rows import UNLABELLED
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.checks import (
    check_batch_size,
    check_label_free_terms,
    check_no_options,
    check_share,
)
from keras_physreg.unlabelled.input_rows import check_alike
from keras_physreg.unlabelled.sources import SamplerSource


def unlabelled_rows(
    model: Any, unlabelled: Any, batch_size: int | None, share: float | None, train: Batches
) -> dict[str, ArrayRows | DrawnRows]:
    """Returns the checked unlabelled rows, by default as many per step as labelled ones."""
    if unlabelled is None:
        check_no_options(unlabelled_batch_size=batch_size, unlabelled_share=share)
        return {}
    if not isinstance(model, PhysicsModel):
        raise TypeError(
            "`unlabelled` needs a `keras_physreg.PhysicsModel`. Received: a model of type "
            f"{type(model)}"
        )
    check_label_free_terms(model)
    check_batch_size(batch_size)
    check_share(share)
    size = batch_size or train.batch_size
    if isinstance(unlabelled, tf.data.Dataset):
        raise TypeError(
            "`unlabelled` must be arrays or a sampler, as replicas are trained on data in memory. "
            f"Join the rows of a dataset with `numpy.concatenate`. "
            f"{received('unlabelled', unlabelled)}"
        )
    if callable(unlabelled):
        source = SamplerSource(unlabelled, size)
        check_alike(train.data[0], source.spec)
        return {UNLABELLED: DrawnRows(source)}
    tensors = arrays.as_tensors(unlabelled, "unlabelled")
    check_alike(train.data[0], tensors)
    return {UNLABELLED: ArrayRows(tensors, min(size, arrays.size(tensors)))}
