"""Runs the steps of a `PhysicsModel`, and compares what their physics computed."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_physreg.layers.physics_regularization import PhysicsRegularization, batch_size
from keras_physreg.layers.step import Step, TermValue, current_step, open_step
from keras_physreg.terms.term import check_unique
from keras_physreg.unlabelled.checks import check_usable, check_used
from keras_physreg.unlabelled.input_rows import take_apart


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
    data, unlabelled = take_apart(data)
    share = model.unlabelled_share
    with open_step(model, "labelled", unlabelled=unlabelled, unlabelled_share=share) as step:
        outputs = run(*others, data, **kwargs)
    if unlabelled is not None:
        check_used(model, step.kinds)
        check_usable(model)  # By now its layers are there.
    return outputs


def compare_terms(model: keras.Model, step: Step, y: Any, sample_weight: Any) -> list[TermValue]:
    """Returns what the terms come to in a step of a model, and logs them."""
    values: list[TermValue] = []
    for evaluation in step.evaluations:
        layer: PhysicsRegularization = evaluation.layer
        if sum(other.layer is layer for other in step.evaluations) > 1:
            raise ValueError(
                f"Physics layer '{layer.name}' is called more than once in model "
                f"'{model.name}', so that its terms have two values. Give each call a layer of "
                "its own, with terms of other names."
            )
        found = layer.compare(evaluation, y, sample_weight, kinds=step.kinds)
        check_unique([value.name for value in [*values, *found]], f"a call of '{model.name}'")
        # As Keras' `loss`, so that the weighted terms in the logs add up.
        rows = step.kinds.labelled if step.kinds else batch_size(evaluation.prediction)
        layer.track(found, rows)
        values += found
    return values
