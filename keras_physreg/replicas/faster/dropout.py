"""Dropout whose masks are hashes of a counter, in plain operations that replicas can share.

TensorFlow draws the masks of stacked replicas one after the other, which takes as long as all else
in a small network. Here an element of a mask is a hash of its position, the layer's seed and the
seed's count of draws, so a mask follows from the seed, as Keras' own does.
"""

import math
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf

# Of the 32-bit integer hash "lowbias32" by C. Wellons, https://nullprogram.com/blog/2018/07/31/
FACTORS, SHIFTS = (0x7FEB352D, 0x846CA68B), (16, 15, 16)
START = 0x9E3779B9  # of the hashes of a seed, so that seed 0 is like the others
MAX_WORD = 2**32 - 1


def dropout(layer: keras.layers.Dropout, inputs: Any, training: bool | None = False) -> Any:
    """Computes `keras.layers.Dropout.call`, with other masks of the same distribution."""
    if not training or layer.rate == 0:
        return inputs
    return dropped(inputs, layer.rate, layer.seed_generator.next(), layer.noise_shape)


def spatial_dropout(layer: Any, inputs: Any, training: bool | None = False) -> Any:
    """Computes the same for layers that drop whole channels."""
    if not training or layer.rate == 0:
        return inputs
    first = getattr(layer, "data_format", None) == "channels_first"
    channels = 1 if first else len(inputs.shape) - 1
    noise_shape = [None if axis in (0, channels) else 1 for axis in range(len(inputs.shape))]
    return dropped(inputs, layer.rate, layer.seed_generator.next(), noise_shape)


def dropped(inputs: Any, rate: float, seed: Any, noise_shape: Any = None) -> Any:
    """Sets a share of the inputs to 0, and scales the others so that the mean is kept.

    Args:
        inputs: Tensor of any shape.
        rate: The share, from 0 to 1.
        seed: State of a `keras.random.SeedGenerator`: its seed and its count, of shape `(2,)`.
        noise_shape: Shape of the mask, with `None` for a size of the inputs; `None` for all.
    """
    if rate >= 1:
        return tf.zeros_like(inputs)
    sizes = [
        tf.shape(inputs)[axis] if size is None else size for axis, size in enumerate(inputs.shape)
    ]
    given = noise_shape or sizes
    shape = [own if size is None else size for size, own in zip(given, sizes, strict=True)]
    words = tf.reshape(random_words(seed, math.prod(shape)), shape)
    keep = words >= tf.constant(round(rate * MAX_WORD), "uint32")
    return tf.where(keep, inputs * (1.0 / (1.0 - rate)), tf.zeros_like(inputs))


def random_words(seed: Any, count: Any) -> Any:
    """Returns random 32-bit words, each a hash of its position, the seed and the count of draws.

    Args:
        seed: State of a `keras.random.SeedGenerator`, of shape `(2,)`.
        count: The number of words.
    """
    seed = tf.cast(seed, "int64")
    low, draws = (tf.cast(seed[i] & MAX_WORD, "uint32") for i in (0, 1))
    high = tf.cast(tf.bitwise.right_shift(seed[0], 32) & MAX_WORD, "uint32")
    of_seed = _hashed(low ^ _hashed(high + tf.constant(START, "uint32")))
    of_draw = _hashed(draws ^ _hashed(of_seed + tf.constant(START, "uint32")))
    positions = tf.cast(tf.range(count), "uint32")
    return _hashed(_hashed(positions ^ of_seed) ^ of_draw)


def _hashed(word: Any) -> Any:
    """Returns a one-to-one hash of 32-bit words."""
    for factor, shift in zip((*FACTORS, None), SHIFTS, strict=True):
        word = word ^ tf.bitwise.right_shift(word, tf.constant(shift, "uint32"))
        word = word if factor is None else word * tf.constant(factor, "uint32")
    return word
