"""FreshWeights: draws new initial weights of a model by seed."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.owners import with_sublayers
from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers

MAX_DRAWS = 4  # of weights from a copy of the model, until two are the same
MAX_SEED = 1_000_000_000  # As in Keras, for an initializer without a seed.
Initializers = dict[int, tuple[keras.Variable, Any]]


class FreshWeights:
    """Draws new initial weights for all layers of a model with trainable variables.

    A copy of the model shows which initializer made which variable. Later draws call these
    initializers with other seeds, which is several times faster than another copy of the model. If
    some variable was not made by such an initializer, the model is copied for every seed.

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
        if self._initializers is not None:
            with _seeded(self.model, seed):
                rng = random.Random(int(seed))
                return {
                    key: _drawn(initializer, variable, rng)
                    for key, (variable, initializer) in self._initializers.items()
                }
        drawn = self._from_copy(seed)
        for _ in range(MAX_DRAWS):
            # Other threads, such as those of Jupyter and Dask, share Python's generator.
            before, drawn = drawn, self._from_copy(seed)
            if all(np.array_equal(before[key], value) for key, value in drawn.items()):
                break
        return drawn

    def _from_copy(self, seed: int) -> dict[int, np.ndarray]:
        with _seeded(self.model, seed):
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
            # Keras warns of lambdas in configs, but nothing is saved here.
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
            yield
    except Exception as error:
        raise ValueError(
            f"Model '{model.name}' (of type {type(model).__name__}) cannot be copied to draw new "
            f"weights by seed: {error}. Build it as a functional model whose layers have "
            "`get_config`, or give a subclassed one `get_config` and `from_config`. (Without a "
            "copy, a `ReplicaTrainer` with `seeds=None` or a `ReplicaTuner` with `seed=None` "
            "starts from the present weights.)"
        ) from error
    finally:
        random.setstate(state)


def _initializers(model: keras.Model) -> Initializers | None:
    """Returns the initializer of each variable to draw; `None` if one cannot be repeated."""
    pairs, made = _copied(model)
    found: Initializers = {}
    for variable, new in pairs:
        initializer = made.get(id(new))
        if not isinstance(initializer, keras.initializers.Initializer):
            return None
        try:
            again = convert_to_numpy(initializer(new.shape, dtype=new.dtype))
            _unseeded(initializer)
        except Exception:  # The user's own initializer cannot be called or rebuilt in this way.
            return None
        if not np.array_equal(again, convert_to_numpy(new)):
            return None
        found[id(variable)] = (variable, initializer)
    return found


def _drawn(initializer: Any, like: keras.Variable, rng: random.Random) -> np.ndarray:
    """Returns what an initializer draws with seeds of a generator that no other thread uses."""
    config = _with_seeds(initializer.get_config(), lambda: rng.randint(1, MAX_SEED))
    return convert_to_numpy(type(initializer).from_config(config)(like.shape, dtype=like.dtype))


def _unseeded(initializer: Any) -> Any:
    """Returns a copy of an initializer without its seed, which draws other numbers."""
    return type(initializer).from_config(_without_seeds(initializer.get_config()))


def _copied(model: keras.Model) -> tuple[list[tuple[Any, Any]], dict[int, Any]]:
    """Copies a functional model.

    Returns:
        Pairs of a variable and its copy, for all layers with trainable variables; and the
        initializers by the ids of the copies, as far as layers use `add_weight`.
    """
    layers: list[tuple[Any, Any]] = []
    made: dict[int, Any] = {}

    def copy(layer: Any) -> Any:
        # The graph also has operations (`x + y`, slices), and layers without weights.
        if isinstance(layer, PhysicsRegularization) or not getattr(layer, "weights", None):
            return layer
        other = twin(layer)
        for part in with_sublayers(other):
            _record_initializers(part, made)
        layers.append((layer, other))
        return other

    # The clone of a compiled model is compiled, too: clone one that is not.
    uncompiled = keras.Model(model.inputs, model.outputs)
    keras.models.clone_model(uncompiled, clone_function=copy, recursive=True)
    pairs = [
        pair
        for layer, other in layers
        if layer.trainable_variables
        for pair in zip(layer.weights, other.weights, strict=True)
    ]
    return pairs, made


def _record_initializers(layer: keras.layers.Layer, made: dict[int, Any]) -> None:
    """Makes a layer that is not built yet record the initializer of each of its variables."""
    add_weight = layer.add_weight

    def recording(shape: Any = None, initializer: Any = None, *args: Any, **kwargs: Any) -> Any:
        initializer = keras.initializers.get(initializer)
        variable = add_weight(shape, initializer, *args, **kwargs)
        made[id(variable)] = initializer
        return variable

    layer.add_weight = recording


def _draw_subclassed(model: keras.Model) -> dict[int, np.ndarray]:
    """Draws the trainable variables only, as the layers of a subclassed model are not known."""
    twin = type(model).from_config(_without_seeds(model.get_config()))
    twin.build_from_config(model.get_build_config())
    physics = {id(v) for layer in physics_layers(model) for v in layer.weights}
    return {
        id(variable): convert_to_numpy(new)
        for variable, new in zip(model.weights, twin.weights, strict=True)
        if variable.trainable and id(variable) not in physics
    }


def twin(layer: keras.layers.Layer) -> Any:
    """Returns a new layer with the settings of another, without built weights."""
    if isinstance(layer, keras.layers.Lambda):  # Its `from_config` takes no function.
        return keras.layers.Lambda(**_config(layer))
    return type(layer).from_config(_config(layer))


def _config(layer: Any) -> dict[str, Any]:
    """Returns a layer's config with functions as objects, as Keras cannot rebuild lambdas."""
    config = _without_seeds(layer.get_config())
    own = {key: getattr(layer, key, None) for key in config}
    return config | {k: v for k, v in own.items() if isinstance(v, FunctionType)}


def _without_seeds(config: Any) -> Any:
    """Removes the seeds of initializers, with which all replicas would start equal."""
    return _with_seeds(config, lambda: None)


def _with_seeds(config: Any, seed: Callable[[], int | None]) -> Any:
    """Returns a config in which each seed is a new one."""
    if isinstance(config, dict):
        return {k: seed() if k == "seed" else _with_seeds(v, seed) for k, v in config.items()}
    return [_with_seeds(v, seed) for v in config] if isinstance(config, list) else config
