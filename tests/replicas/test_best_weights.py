"""Which weights are kept as those of the best epoch."""

import keras
import numpy as np
import tensorflow as tf

from keras_physreg.replicas.best_weights import BestWeights


def test_the_first_of_equal_scores_and_no_nan():
    variable = keras.Variable(np.zeros((3, 2)), dtype="float32", trainable=False)
    best = BestWeights([variable], 3)
    for _ in range(2):  # The second time as if the first had not been.
        best.reset()
        scores = [[1.0, 2.0, np.nan], [1.0, np.nan, np.nan], [2.0, 1.0, np.nan]]
        for epoch, score in enumerate(scores):
            variable.assign(np.full((3, 2), epoch + 1.0))
            best.update(tf.constant(score, "float32"), epoch)
        assert best.epochs().tolist() == [0, 2, -1]
        assert best.weights()[0][:2].tolist() == [[1.0, 1.0], [3.0, 3.0]]


def test_no_variable_is_out_of_reach_of_xla_on_a_gpu():
    """TensorFlow keeps variables of int32 on the CPU."""
    best = BestWeights([keras.Variable(np.zeros((3, 2)), dtype="float32")], 3)
    assert {v.dtype for v in best.variables} == {"float32", "int64"}
