"""Checks of the arguments of `refine`, and of what it is to minimise."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.errors import did_you_mean, received
from keras_physreg._utils.owners import stateful_layers, with_sublayers
from keras_physreg.layers.physics_regularization import physics_layers
from keras_physreg.models.building import build_network, build_physics_on
from keras_physreg.models.fit_points import check_no_labels, input_specs
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.models.run_step import has_own_train_step
from keras_physreg.models.total_loss import Rows
from keras_physreg.refinement.full_batch import FullBatch
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.input_rows import check_alike
from keras_physreg.unlabelled.point_sources import check_rows_for_all, point_arrays

METHODS = ("ssbfgs", "lbfgs")
MAX_DENSE_WEIGHTS = 5000


def check_model(model: Any) -> None:
    """Raises unless a model can be refined."""
    if not isinstance(model, PhysicsModel):
        raise TypeError(
            "`refine` needs a `keras_physreg.PhysicsModel`, whose total loss it can compute; "
            f"`keras_physreg.regularize` makes one. {received('model', model)}"
        )
    if not model.compiled:
        raise ValueError(
            f"`refine` minimises the loss that model '{model.name}' was compiled with, but it is "
            "not compiled. Call `model.compile(optimizer, loss)`, and train it with `fit` first."
        )
    if has_own_train_step(model):
        raise ValueError(
            f"Model '{model.name}' has a `train_step` of its own, and `refine` cannot know what "
            "it minimises. Move the loss to `compute_loss`, which `fit` and `refine` both call."
        )
    for layer in stateful_layers(model):
        raise ValueError(
            f"Layer '{layer.name}' of model '{model.name}' is stateful: it carries its state from "
            "one batch to the next, but `refine` needs a loss that the weights alone determine. "
            "Build the model with `stateful=False`, and load the weights: "
            "`new.set_weights(model.get_weights())`."
        )


def check_method(method: Any, weights: int) -> str:
    """Returns the method to use for a number of weights."""
    if method is None:
        return "ssbfgs" if weights <= MAX_DENSE_WEIGHTS else "lbfgs"
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {METHODS}, or None. {received('method', method)}"
            + did_you_mean(method, METHODS)
        )
    return method


def check_verbose(verbose: Any) -> int:
    """Returns `verbose` as 0 or 1."""
    if verbose == "auto":
        return 1
    if isinstance(verbose, int) and verbose in (0, 1, 2):
        return min(int(verbose), 1)
    raise ValueError(f"`verbose` must be 'auto', 0, 1 or 2. {received('verbose', verbose)}")


def check_arrays(model: keras.Model, x: Any, y: Any, unlabelled: Any, points: Any) -> None:
    """Raises unless the rows are arrays, and the labels are there if the loss needs them."""
    for name, data in {"x": x, "unlabelled": unlabelled}.items():
        if isinstance(data, tf.data.Dataset | keras.utils.PyDataset) or callable(data):
            raise TypeError(
                f"`{name}` must be arrays: `refine` evaluates all rows at once, and the same ones "
                f"each time. {received(name, data)}"
            )
    if x is None and (points is None or unlabelled is not None):
        raise ValueError(
            "`refine` needs the inputs `x` that the model trains on, or `points` for every term. "
            f"Received: x=None{'' if points is None else ' with `unlabelled`'}"
        )
    if x is not None and model.loss is not None and y is None:
        raise ValueError(
            f"Model '{model.name}' is compiled with a loss: `refine` needs the labels `y`. To "
            "minimise the physics alone, compile it with `loss=None`. Received: y=None"
        )


def as_rows(
    model: keras.Model, x: Any, y: Any, sample_weight: Any, unlabelled: Any, points: Any
) -> Rows:
    """Returns all rows as tensors, and builds the model by calls on one of them."""
    if x is None:
        check_no_labels({"y": y, "sample_weight": sample_weight})
        of_points = _point_tensors(model, points, None)
        build_physics_on(model, None, of_points)
        return Rows(points=of_points)
    y = keras.tree.lists_to_tuples(y)
    if keras.tree.is_nested(y) and not keras.tree.is_nested(sample_weight):
        sample_weight = keras.tree.map_structure(lambda _: sample_weight, y)
    given = (x, y, sample_weight)
    x, y, sample_weight = arrays.as_tensors(given, "x, y, sample_weight", device=None)
    if unlabelled is not None:
        unlabelled = arrays.as_tensors(unlabelled, "unlabelled", device=None)
        check_alike(x, unlabelled)
    build_network(model, x)
    of_points = _point_tensors(model, points, x)
    build_physics_on(model, x, of_points)
    return Rows(x, y, sample_weight, unlabelled, of_points)


def _point_tensors(model: keras.Model, points: Any, x: Any) -> dict[str, Any]:
    if points is None:
        return {}
    like = input_specs(model) if x is None else x
    found = point_arrays(model, points, "points", like)
    if x is None:
        check_rows_for_all(model, found.terms)
    return {term: found.whole[term] for term in found.terms}


def check_trainable(model: keras.Model) -> None:
    """Raises if there is nothing to train, or no single loss whose gradient trains it."""
    if not model.trainable_variables:
        raise ValueError(
            f"Model '{model.name}' has no trainable weights. Set `trainable = True` on the layers "
            "to refine."
        )
    kept = {v.path: v.constraint for v in model.trainable_variables if v.constraint is not None}
    if kept:
        shown = ", ".join(f"'{path}': {type(each).__name__}" for path, each in kept.items())
        raise ValueError(
            f"Weights of model '{model.name}' have constraints, which `fit` applies after each "
            "step, and `refine` cannot keep. Freeze their layers (`layer.trainable = False`); for "
            "a constant of the physics use `keras_physreg.Constant`, whose `low` and `high` "
            f"always hold; or train with `fit` alone. Received: {shown}"
        )
    for layer in physics_layers(model):
        for term in layer.terms:
            own = getattr(layer.functions[term.name], "trainable_variables", ())
            split = term.trains if term.at == "prediction" else None
            if split == "constants" or (split == "network" and own):
                raise ValueError(
                    f"Physics term '{term.name}' has `trains='{split}'`: the network and the "
                    "constants then descend on different losses, and a line search needs one. "
                    "Use `trains='network'` with frozen constants (`constant.trainable = False`), "
                    "or leave `trains` out."
                )


def check_start(model: keras.Model, batch: FullBatch) -> None:
    """Raises if the loss at the start is not a finite number that the weights determine."""
    if batch.updated:
        names = sorted({_owner(model, variable) for variable in batch.updated})
        raise ValueError(
            f"A training step of model '{model.name}' updates the state of its layers {names}. "
            "`refine` needs a loss that the weights alone determine. Freeze batch normalisation "
            "(`layer.trainable = False`: it then uses its moving averages in training, too). "
            "Dropout and noise must be off (rate 0), which risks overfitting: it may be better to "
            "train with `fit` alone."
        )
    if batch.is_random:
        raise ValueError(
            f"The total loss of model '{model.name}' draws random numbers: `refine` needs a loss "
            "that the weights alone determine. Draw them once, outside of the model and its "
            "physics."
        )
    if not any(batch.connected.values()):
        raise ValueError(
            f"The total loss of model '{model.name}' depends on none of its trainable weights: "
            "`keras_physreg.diagnose` tells where each term is disconnected."
        )
    start = batch.start
    if start.is_finite:
        return
    bad = {n: value for n, value in start.parts.items() if not math.isfinite(value)}
    weights = {n: v for layer in physics_layers(model) for n, v in _weights(layer).items()}
    named = [n for n in bad if weights.get(n.removesuffix("_loss"), 1.0) > 0]
    shown = ", ".join(f"'{name}' is {bad[name]:g}" for name in named)
    if math.isfinite(start.loss):
        shown = f"its gradient is not, although the loss is {start.loss:g}"
    raise ValueError(
        f"The loss of model '{model.name}' is not finite at the start"
        f"{': ' + shown if shown else ''}. `keras_physreg.diagnose` names bad rows and terms."
    )


def _owner(model: keras.Model, variable: keras.Variable) -> str:
    """Returns the name of the innermost layer that has a variable."""
    owners = [
        layer for layer in with_sublayers(model) if any(variable is own for own in layer.variables)
    ]
    return min(owners, key=lambda layer: len(layer.variables)).name if owners else variable.path


def _weights(layer: Any) -> dict[str, float]:
    return {name: float(layer.weight_variable(name).numpy()) for name in layer.term_names}
