"""Runs the steps of a `PhysicsModel`, with the unlabelled rows that their data carry."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_physreg._utils.variables import assign, values_of
from keras_physreg.layers.step import current_step, open_step
from keras_physreg.models.physics_losses import check_counted, count_terms
from keras_physreg.unlabelled.checks import check_usable, check_used
from keras_physreg.unlabelled.input_rows import split_rows


def in_step(step_method: Callable, training: bool) -> Callable:
    """Returns the method of a model that runs as its step, whichever class calls it."""

    @functools.wraps(step_method)
    def wrapped(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        run = functools.partial(step_method, self)
        return run_in_step(self, run, args, kwargs, training)

    wrapped.runs_in_step = True  # type: ignore[attr-defined]
    return wrapped


def run_in_step(
    model: keras.Model, run: Callable, args: tuple, kwargs: dict[str, Any], training: bool
) -> Any:
    """Runs a step of a model, without the unlabelled rows in its data: the model adds them."""
    step = current_step()
    if step is not None and step.model is model:
        return run(*args, **kwargs)
    *others, data = args
    data, unlabelled = split_rows(data)
    share = model._share.value
    # Run eagerly, a step has moved the model before it shows that its physics counts nowhere.
    kept = [*model.variables] if training and model.run_eagerly and own_methods(model) else []
    values = values_of(kept)
    with open_step(model, "labelled", unlabelled=unlabelled, unlabelled_share=share) as step:
        outputs = run(*others, data, **kwargs)
        if not training and keras.backend.backend() != "jax" and not all(step.counted.values()):
            count_terms(step, model, label_free=True)  # For the logs of metrics alone.
    if unlabelled is not None:
        check_used(model, step.call.kinds)
        check_usable(model)  # By now its layers are there.
    if training:
        try:
            check_counted(step, own_methods(model))
        except ValueError:
            assign(kept, values)
            raise
    return outputs


def own_methods(model: keras.Model) -> list[str]:
    """Returns the names of the methods by which a user's class makes its training step."""
    methods = [getattr(type(model), name) for name in ("train_step", "compute_loss")]
    return [
        method.__qualname__.rsplit("<locals>.")[-1]
        for method in methods
        if not method.__module__.startswith("keras_physreg.")
    ]


def has_own_train_step(model: keras.Model) -> bool:
    """Returns whether a user's class brings a training step."""
    return any(name.endswith("train_step") for name in own_methods(model))
