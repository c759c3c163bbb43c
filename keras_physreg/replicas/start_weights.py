"""The weights from which replicas start: the model's present ones, or fresh ones by seed."""

import random
import warnings
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers
from keras_physreg.replicas.replica_step import Variables


def starting_weights(
    model: keras.Model, variables: Variables, replicas: int, seeds: Sequence[int] | None
) -> list[np.ndarray]:
    """Returns the weights and state of all replicas, replicas first, in the variables' order.

    Args:
        model: A built model.
        variables: Its variables.
        replicas: Number of replicas.
        seeds: One seed a replica, or `None`: all start from the model's present weights.
    """
    present = [convert_to_numpy(variable) for variable in variables.weights]
    if seeds is None:
        return [np.repeat(value[np.newaxis], replicas, axis=0) for value in present]
    fresh = {seed: fresh_weights(model, variables, seed) for seed in set(seeds)}
    return [np.stack([fresh[seed][i] for seed in seeds]) for i in range(len(present))]


def fresh_weights(model: keras.Model, variables: Variables, seed: int) -> list[np.ndarray]:
    """Returns newly drawn weights of a model, in the variables' order.

    Drawn anew is what trains: frozen layers keep their weights, and so do layers without any
    trainable ones (an adapted `Normalization`) and the physics. The seeds of dropout change too.
    Of a subclassed model only the trainable variables are drawn: it keeps moving averages.

    Args:
        model: A built functional or sequential model, or one that `get_config` rebuilds.
        variables: Its variables.
        seed: The seed.

    Raises:
        ValueError: If the model cannot be copied.
    """
    drawn = _draw(model, seed)
    rng = np.random.default_rng(seed)
    return [drawn.get(id(v), _random_state(v, rng)) for v in variables.weights]


def _draw(model: keras.Model, seed: int) -> dict[int, np.ndarray]:
    """Returns new values of the variables of all layers that train, by the variables' ids."""
    # Keras draws the seeds of initializers from Python's generator.
    state = random.getstate()
    random.seed(int(seed))
    try:
        with warnings.catch_warnings():
            # Of lambdas in configs: nothing is saved here.
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
            draw = _draw_functional if getattr(model, "inputs", None) else _draw_subclassed
            return draw(model)
    except Exception as error:
        raise ValueError(
            f"Model '{model.name}' (of type {type(model).__name__}) cannot be copied to draw new "
            f"weights by seed: {error}. Build it as a functional model whose layers have "
            "`get_config`, or give a subclassed one `get_config` and `from_config`. (A "
            "`ReplicaTrainer` with `seeds=None` or a `ReplicaTuner` with `seed=None` copies "
            "nothing: it starts from the present weights.)"
        ) from error
    finally:
        random.setstate(state)


def _draw_functional(model: keras.Model) -> dict[int, np.ndarray]:
    pairs: list[tuple[Any, Any]] = []

    def copy(layer: Any) -> Any:
        # The graph also has operations (`x + y`, slices); what holds no weights needs no twin.
        if isinstance(layer, PhysicsRegularization) or not getattr(layer, "weights", None):
            return layer
        twin = type(layer).from_config(_config(layer))
        pairs.append((layer, twin))
        return twin

    # A view of the model that is not compiled: the clone of a compiled one compiles itself.
    view = keras.Model(model.inputs, model.outputs)
    keras.models.clone_model(view, clone_function=copy, recursive=True)
    return {
        id(variable): convert_to_numpy(new)
        for layer, twin in pairs
        if layer.trainable_variables
        for variable, new in zip(layer.weights, twin.weights, strict=True)
    }


def _draw_subclassed(model: keras.Model) -> dict[int, np.ndarray]:
    """Draws what trains; which layers hold the other variables, a subclassed model does not say."""
    twin = type(model).from_config(_without_seeds(model.get_config()))
    twin.build_from_config(model.get_build_config())
    physics = {id(v) for layer in physics_layers(model) for v in layer.weights}
    return {
        id(variable): convert_to_numpy(new)
        for variable, new in zip(model.weights, twin.weights, strict=True)
        if variable.trainable and id(variable) not in physics
    }


def _config(layer: Any) -> dict[str, Any]:
    """Returns a layer's config, functions as they are: Keras rebuilds no lambda from a config."""
    config = _without_seeds(layer.get_config())
    own = {key: getattr(layer, key, None) for key in config}
    return config | {k: v for k, v in own.items() if isinstance(v, FunctionType)}


def _without_seeds(config: Any) -> Any:
    """Clears the seeds of initializers: with them every replica would start alike."""
    if isinstance(config, dict):
        return {k: None if k == "seed" else _without_seeds(v) for k, v in config.items()}
    return [_without_seeds(v) for v in config] if isinstance(config, list) else config


def _random_state(variable: keras.Variable, rng: np.random.Generator) -> np.ndarray:
    value = convert_to_numpy(variable)
    if value.dtype == np.uint32 and value.shape == (2,):  # A `SeedGenerator`: its seed and count.
        return np.array([rng.integers(2**31), 0], "uint32")
    return value
