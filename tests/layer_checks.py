"""What every layer and every object with a configuration promises, after Keras' own layer test."""

import json

import keras
import numpy as np
from keras import ops

SIXTEEN_BITS = ("mixed_float16", "mixed_bfloat16")


def check_config(thing):
    """An object comes back from its configuration and from JSON; returns what came back."""
    written = json.dumps(keras.saving.serialize_keras_object(thing))
    read = keras.saving.deserialize_keras_object(json.loads(written))
    again = type(thing).from_config(thing.get_config())
    assert type(read) is type(again) is type(thing)
    # As text: what a configuration holds has no equality of its own everywhere.
    assert str(thing.get_config()) == str(read.get_config()) == str(again.get_config())
    return read


def check_layer(make, inputs, prediction, losses, model_class=keras.Model, **given):
    """Configuration, symbols, eager call, losses, compiled training and 16 bits of a layer.

    Args:
        make: Function that returns a new layer, called as `layer(inputs, prediction)`.
        inputs: Array, rows first.
        prediction: Array, rows first.
        losses: How many losses a call adds.
        model_class: Class of a model whose end the layer is, and which is trained.
        **given: Further arguments of the call, outside of the model.
    """
    check_config(make())
    symbols = [keras.Input(part.shape[1:]) for part in (inputs, prediction)]
    symbolic, layer = make()(*symbols), make()
    eager = layer(*map(ops.convert_to_tensor, (inputs, prediction)), **given)
    assert symbolic.shape[1:] == eager.shape[1:]
    assert np.isfinite(ops.convert_to_numpy(eager)).all()
    assert len(layer.losses) == losses
    for policy in ("float32", *SIXTEEN_BITS):
        keras.config.set_dtype_policy(policy)
        _check_training(make(), inputs, prediction, model_class, keras.DTypePolicy(policy))


def _check_training(layer, inputs, labels, model_class, policy):
    z = keras.Input(inputs.shape[1:])
    model = model_class(z, layer(z, keras.layers.Dense(labels.shape[-1])(z)))
    model.compile("adam", "mse")
    before = _values(model)
    # The factor on losses in 16 bits is too large for the first steps on some backends.
    history = model.fit(inputs, labels, batch_size=2, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    assert not any(np.array_equal(a, b) for a, b in zip(before, _values(model), strict=True))
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)
    assert model.predict(inputs, verbose=0).dtype == policy.compute_dtype


def _values(model):
    return [np.array(ops.convert_to_numpy(v)) for v in model.trainable_variables]
