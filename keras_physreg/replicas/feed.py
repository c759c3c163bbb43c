"""Feed: the inputs of a compiled program, as tensors of the shapes that it was compiled for."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.program_spec import ProgramSpec


class Data(NamedTuple):
    """The data of a program, from which it takes rows.

    Args:
        train: `(x, y, sample_weight)`, each a tensor, a structure of tensors or `None`.
        validation: The same for held-out data that all replicas share, or `None`.
        streamed: Rows of arrays that join the training steps, by name.
        held_out: Each replica's held-out rows among the training data, of shape
            `(replicas, rows)`, padded to the same number of rows; or `None`.
        held_out_sizes: The number of held-out rows of each replica, of shape `(replicas,)`; or
            `None`.
    """

    train: Any
    validation: Any = None
    streamed: Any = None
    held_out: Any = None
    held_out_sizes: Any = None


class Feed:
    """Makes the inputs of programs of one specification.

    Args:
        job: The training.
        spec: The specification of the programs.
    """

    def __init__(self, job: Job, spec: ProgramSpec) -> None:
        self.job, self.spec = job, spec

    def data(self, replicas: np.ndarray) -> Data:
        """Returns the data of some replicas."""
        job = self.job
        streamed = job.streamed.tensors
        validation = None if job.validation is None else job.validation.data
        if not self.spec.own_held_out:
            return Data(job.train.data, validation, streamed)
        assert job.rows is not None
        assert job.rows.held_out is not None
        rows = [job.rows.held_out[k] for k in replicas]
        longest = max(cut.size for cut in self.spec.validation)
        return Data(
            job.train.data,
            streamed=streamed,
            held_out=tf.constant(np.stack([np.resize(r, longest) for r in rows]), tf.int32),
            held_out_sizes=tf.constant([len(r) for r in rows], tf.int32),
        )

    def epochs(self, replicas: np.ndarray, first: int, count: int) -> list[Any]:
        """Returns orders, other rows and weights of some epochs, padded to the epochs per call."""
        missing = self.spec.epochs - count

        def padded(array: np.ndarray) -> Any:
            return tf.constant(np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)))

        arrays = self.job.inputs(replicas, first, count)
        numbers = [tf.constant(number, tf.int32) for number in (first, count)]
        return [*keras.tree.map_structure(padded, arrays), *numbers]
