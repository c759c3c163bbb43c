"""The class of functional models, which Keras does not export."""

from typing import Any

import keras

# The class that `keras.Model(inputs, outputs)` creates. `__new__` alone costs nothing.
Functional: Any = type(keras.Model.__new__(keras.Model, inputs=None, outputs=None))
