"""The class of functional models, which Keras does not export."""

from typing import Any

import keras

# It is what `keras.Model(inputs, outputs)` creates; creating without initialising costs nothing.
Functional: Any = type(keras.Model.__new__(keras.Model, inputs=None, outputs=None))
