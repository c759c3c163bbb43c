"""Draws new weights of a model by seed."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.owners import with_sublayers
from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers

Initializers = dict[int, tuple[keras.Variable, Any]]


class FreshWeights:
    """Draws the weights of all layers of a model that train.

    A copy of the model tells which initializer made which variable. To draw again is to call the
    initializers with other seeds, several times faster than to copy the model once more; where
    a variable was made otherwise, the model is copied for every seed.

    Args:
        model: A built functional or sequential model, or one that `get_config` rebuilds.

    Raises:
        ValueError: If the model cannot be copied.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._initializers: Initializers | None = None
        if getattr(model, "inputs", None):
            with _seeded(model, 0):
                self._initializers = _initializers(model)

    def draw(self, seed: int) -> dict[int, np.ndarray]:
        """Returns new values by the ids of the model's variables."""
        with _seeded(self.model, seed):
            if self._initializers is not None:
                return {
                    key: convert_to_numpy(_anew(initializer)(variable.shape, dtype=variable.dtype))
                    for key, (variable, initializer) in self._initializers.items()
                }
            if getattr(self.model, "inputs", None):
                pairs, _ = _copied(self.model)
                return {id(variable): convert_to_numpy(new) for variable, new in pairs}
            return _draw_subclassed(self.model)


@contextlib.contextmanager
def _seeded(model: keras.Model, seed: int) -> Iterator[None]:
    """Seeds Python's generator, from which Keras draws the seeds of initializers."""
    state = random.getstate()
    random.seed(int(seed))
    try:
        with warnings.catch_warnings():
            # Of lambdas in configs: nothing is saved here.
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
            yield
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


def _initializers(model: keras.Model) -> Initializers | None:
    """Returns what made each variable that is drawn; `None` where a call of it does not tell."""
    pairs, made = _copied(model)
    found: Initializers = {}
    for variable, new in pairs:
        initializer = made.get(id(new))
        if not isinstance(initializer, keras.initializers.Initializer):
            return None
        try:
            again = convert_to_numpy(initializer(new.shape, dtype=new.dtype))
            _anew(initializer)
        except Exception:  # An initializer of the user's that cannot be called or made so.
            return None
        if not np.array_equal(again, convert_to_numpy(new)):
            return None
        found[id(variable)] = (variable, initializer)
    return found


def _anew(initializer: Any) -> Any:
    """Returns an initializer that draws other numbers, where it draws any."""
    return type(initializer).from_config(_without_seeds(initializer.get_config()))


def _copied(model: keras.Model) -> tuple[list[tuple[Any, Any]], dict[int, Any]]:
    """Copies a functional model.

    Returns:
        Pairs of its variables, of all layers that train, and their copies; and the initializers
        of the copies by their ids, as far as layers say.
    """
    layers: list[tuple[Any, Any]] = []
    made: dict[int, Any] = {}

    def copy(layer: Any) -> Any:
        # The graph also has operations (`x + y`, slices); what holds no weights needs no twin.
        if isinstance(layer, PhysicsRegularization) or not getattr(layer, "weights", None):
            return layer
        other = twin(layer)
        for part in with_sublayers(other):
            _note_initializers(part, made)
        layers.append((layer, other))
        return other

    # A view of the model that is not compiled: the clone of a compiled one compiles itself.
    view = keras.Model(model.inputs, model.outputs)
    keras.models.clone_model(view, clone_function=copy, recursive=True)
    pairs = [
        pair
        for layer, other in layers
        if layer.trainable_variables
        for pair in zip(layer.weights, other.weights, strict=True)
    ]
    return pairs, made


def _note_initializers(layer: keras.layers.Layer, made: dict[int, Any]) -> None:
    """Lets a layer that is not built yet note with which initializer it makes each variable."""
    add_weight = layer.add_weight

    def noting(shape: Any = None, initializer: Any = None, *args: Any, **kwargs: Any) -> Any:
        initializer = keras.initializers.get(initializer)
        variable = add_weight(shape, initializer, *args, **kwargs)
        made[id(variable)] = initializer
        return variable

    layer.add_weight = noting


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


def twin(layer: keras.layers.Layer) -> Any:
    """Returns a new layer with the settings of another; its weights are to be built."""
    if isinstance(layer, keras.layers.Lambda):  # It takes no function from a config.
        return keras.layers.Lambda(**_config(layer))
    return type(layer).from_config(_config(layer))


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
