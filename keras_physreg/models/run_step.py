"""Runs the steps of a `PhysicsModel`, with the unlabelled rows that their data carry."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_physreg.layers.step import current_step, open_step
from keras_physreg.unlabelled.checks import check_usable, check_used
from keras_physreg.unlabelled.input_rows import split_rows


def in_step(step_method: Callable) -> Callable:
    """Returns the method of a model that runs as its step, whichever class calls it."""

    @functools.wraps(step_method)
    def wrapped(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        return run_in_step(self, functools.partial(step_method, self), args, kwargs)

    return wrapped


def run_in_step(model: keras.Model, run: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Runs a step of a model, without the unlabelled rows in its data: the model adds them."""
    step = current_step()
    if step is not None and step.model is model:
        return run(*args, **kwargs)
    *others, data = args
    data, unlabelled = split_rows(data)
    share = model._share.value
    with open_step(model, "labelled", unlabelled=unlabelled, unlabelled_share=share) as step:
        outputs = run(*others, data, **kwargs)
    if unlabelled is not None:
        check_used(model, step.kinds)
        check_usable(model)  # By now its layers are there.
    return outputs
