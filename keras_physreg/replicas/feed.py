"""Feed: the inputs of a compiled program, as tensors of the shapes that it is fixed to."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.replicas.form import Form
from keras_physreg.replicas.job import Job


class Data(NamedTuple):
    """What a program reads rows from.

    Args:
        train: `(x, y, sample_weight)`, each a tensor, a structure of tensors or `None`.
        validation: The same of held-out data that all replicas share, or `None`.
        unlabelled: Inputs without labels, or `None`.
        held_out: Each replica's held-out rows among the training data, of shape
            `(replicas, rows)`, filled up to as many; or `None`.
        held_out_sizes: How many they are, of shape `(replicas,)`; or `None`.
    """

    train: Any
    validation: Any = None
    unlabelled: Any = None
    held_out: Any = None
    held_out_sizes: Any = None


class Feed:
    """Makes the inputs of programs of one form.

    Args:
        job: What is trained.
        form: What the programs are fixed to.
    """

    def __init__(self, job: Job, form: Form) -> None:
        self.job, self.form = job, form

    def data(self, replicas: np.ndarray) -> Data:
        """Returns what some replicas read their rows from."""
        job = self.job
        unlabelled = None if job.unlabelled is None else job.unlabelled.tensors
        validation = None if job.validation is None else job.validation.data
        if not self.form.own_held_out:
            return Data(job.train.data, validation, unlabelled)
        assert job.rows is not None
        assert job.rows.held_out is not None
        rows = [job.rows.held_out[k] for k in replicas]
        most = max(cut.size for cut in self.form.validation)
        return Data(
            job.train.data,
            unlabelled=unlabelled,
            held_out=tf.constant(np.stack([np.resize(r, most) for r in rows]), tf.int32),
            held_out_sizes=tf.constant([len(r) for r in rows], tf.int32),
        )

    def epochs(self, replicas: np.ndarray, first: int, count: int) -> list[Any]:
        """Returns the orders and the weights of some epochs, filled up to what a program takes."""
        missing = self.form.epochs - count

        def filled(array: np.ndarray) -> Any:
            return tf.constant(np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)))

        arrays = self.job.inputs(replicas, first, count)
        numbers = [tf.constant(number, tf.int32) for number in (first, count)]
        return [*map(filled, arrays), *numbers]
