"""The weights from which replicas start: the model's present ones, or fresh ones by seed."""

import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg.layers import PhysicsRegularization
from keras_physreg.sweep.replicas.steps import Variables


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
    pairs: list[tuple[Any, Any]] = []

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, PhysicsRegularization):
            return layer
        twin = type(layer).from_config(_without_seeds(layer.get_config()))
        pairs.append((layer, twin))
        return twin

    # Keras draws the seeds of initializers from Python's generator.
    state = random.getstate()
    random.seed(int(seed))
    try:
        # A view of the model that is not compiled: the clone of a compiled one compiles itself.
        view = keras.Model(model.inputs, model.outputs)
        keras.models.clone_model(view, clone_function=copy, recursive=True)
    except Exception as error:
        raise ValueError(
            f"Model '{model.name}' (of type {type(model).__name__}) cannot be copied to draw new "
            f"weights by seed: {error}. Give `seeds=None` (`seed=None` to a `ReplicaTuner`) to "
            "start from its present weights, or "
            "build it as a functional model whose layers have `get_config`."
        ) from error
    finally:
        random.setstate(state)
    return {
        id(variable): convert_to_numpy(new)
        for layer, twin in pairs
        if layer.trainable_variables
        for variable, new in zip(layer.weights, twin.weights, strict=True)
    }


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
