"""BestWeights: keeps each replica's weights at its best epoch, inside the program."""

from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.backend import tensorflow as tf


class BestWeights:
    """Each replica's best score so far, with its epoch and weights.

    Args:
        variables: The stacked variables that make up the replicas.
        size: Number of replicas.
    """

    def __init__(self, variables: list[keras.Variable], size: int) -> None:
        self._present = variables
        self._kept = [keras.Variable(v, dtype=v.dtype, trainable=False) for v in variables]
        self._score = keras.Variable(np.full(size, np.inf), dtype="float32", trainable=False)
        # TensorFlow keeps variables of int32 on the CPU, out of reach of XLA's programs on a GPU.
        self._epoch = keras.Variable(np.full(size, -1), dtype="int64", trainable=False)

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables that hold the best weights, and their scores and epochs."""
        return [*self._kept, self._score, self._epoch]

    def reset(self) -> None:
        """Resets the scores, and stores the present weights."""
        for kept, present in zip(self._kept, self._present, strict=True):
            kept.assign(present)
        self._score.assign(np.full(self._score.shape, np.inf))
        self._epoch.assign(np.full(self._epoch.shape, -1))

    def update(self, score: Any, epoch: Any) -> None:
        """Keeps the weights of the replicas whose score is better (smaller) than before."""
        better = score < self._score.value  # False for NaN.
        self._score.assign(tf.where(better, score, self._score.value))
        self._epoch.assign(tf.where(better, tf.cast(epoch, tf.int64), self._epoch.value))
        for kept, present in zip(self._kept, self._present, strict=True):
            where = tf.reshape(better, [-1] + [1] * (len(kept.shape) - 1))
            kept.assign(tf.where(where, present.value, kept.value))

    def weights(self) -> list[np.ndarray]:
        """Returns the weights at the best epochs, replicas first."""
        return [convert_to_numpy(v) for v in self._kept]

    def epochs(self) -> np.ndarray:
        """Returns the best epoch of each replica, counted from 0; -1 if it has none."""
        return convert_to_numpy(self._epoch)
