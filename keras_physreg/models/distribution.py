"""The number of replicas of a `tf.distribute` strategy."""

import keras


def replica_count() -> int:
    """Returns the number of replicas, by which Keras divides the compiled loss."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def replicas_of(model: keras.Model) -> int:
    """Returns the number of replicas of the strategy that a model was created under."""
    strategy = getattr(model, "distribute_strategy", None)
    return 1 if strategy is None else strategy.num_replicas_in_sync
