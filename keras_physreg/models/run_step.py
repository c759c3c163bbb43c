"""Runs the training and test steps of a `PhysicsModel`, with unlabelled rows in their data."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_physreg._utils.variables import assign, values_of
from keras_physreg.derivatives import tapes
from keras_physreg.layers.physics_regularization import physics_layers
from keras_physreg.layers.step import Step, current_step, open_step
from keras_physreg.layers.unreached_terms import warn_of_unreached
from keras_physreg.models.physics_losses import check_counted, count_terms
from keras_physreg.unlabelled.checks import check_label_free_terms, check_model_called
from keras_physreg.unlabelled.input_rows import NoRows, split_rows
from keras_physreg.unlabelled.joined_rows import join_points


def in_step(step_method: Callable, training: bool) -> Callable:
    """Wraps a model's own `train_step` or `test_step` so that it runs in a `Step`."""

    @functools.wraps(step_method)
    def wrapped(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        run = functools.partial(step_method, self)
        return run_in_step(self, run, args, kwargs, training)

    wrapped.runs_in_step = True  # type: ignore[attr-defined]
    return wrapped


def run_in_step(
    model: keras.Model, run: Callable, args: tuple, kwargs: dict[str, Any], training: bool
) -> Any:
    """Runs a training or test step in a `Step`; raises if its physics is not in the total loss.

    Args:
        model: The model.
        run: The step to run.
        args: Positional arguments of the step, the last of which is its data.
        kwargs: Keyword arguments of the step.
        training: Whether it is a training step.

    Returns:
        The outputs of `run`, which gets the data without unlabelled rows: the model adds them.
    """
    step = current_step()
    if step is not None and step.model is model:
        return run(*args, **kwargs)
    if training and model._moves.table is not None:
        model._moves.table.set_weights(model.optimizer.iterations)
    *others, data = args
    data, rows = rows_of_step(model, data, training)
    # An eager step has already changed the model when the check of its physics fails.
    restored = [*model.variables] if training and model.run_eagerly and own_methods(model) else []
    values = values_of(restored)
    with open_step(model, "labelled", unlabelled_share=model._share.value, **rows) as step:
        with _explaining_xla(step):
            outputs = run(*others, data, **kwargs)
        if not training and keras.backend.backend() != "jax" and not all(step.counted.values()):
            count_terms(step, model, label_free=True)  # Only for the logs.
    if step.unlabelled is not None:
        check_model_called(model, step.call.kinds)
        # The step has built a model that had no layers before.
        check_label_free_terms(model, tuple(step.points))
    if step.points:
        check_model_called(model, step.call.points, "points")
    if training:
        for layer in physics_layers(model):
            losses = {n: step.losses[n] for n in layer.term_names if n in step.losses}
            warn_of_unreached(layer, losses, model)
        try:
            check_counted(step, own_methods(model))
        except ValueError:
            assign(restored, values)
            raise
    return outputs


def rows_of_step(model: keras.Model, data: Any, training: bool) -> tuple[Any, dict[str, Any]]:
    """Returns the data of a step without the rows that join it, and the fields of its `Step`.

    Args:
        model: The model.
        data: Data of the step, with `Rows` in the place of `x` if other rows join it.
        training: Whether it is a training step.
    """
    data, unlabelled, streamed = split_rows(data)
    fields = {"unlabelled": unlabelled}
    held = model._points
    if streamed is None and (training or not held.are_active):
        return data, fields
    sets = held.training if training else held.validation
    points, skipped = sets.of_step(streamed or {}), frozenset[str]()
    is_alone = isinstance(data, tuple | list) and isinstance(data[0], NoRows)
    if not training:
        every = [name for layer in physics_layers(model) for name in layer.term_names]
        skipped = frozenset(every if is_alone else held.training.terms) - {*points}
    if is_alone:
        joined, fields["joined"] = join_points(points, skipped)
        data = (joined, *data[1:])
    return data, fields | {"points": points, "skipped": skipped}


@contextlib.contextmanager
def _explaining_xla(step: Step) -> Iterator[None]:
    """Explains why TensorFlow cannot differentiate joined rows twice in a compiled step."""
    try:
        yield
    except LookupError as error:
        if not step.points:
            tapes.explain_lookup(error, f"Model '{step.model.name}'")
        if not step.points or tapes.NO_GRADIENT not in str(error):
            raise
        raise LookupError(
            f"{error}\n\nWith `jit_compile=True` TensorFlow takes no second derivatives of "
            "labelled rows joined with points if the size of the labelled batch is not known. Give "
            "a `batch_size` that divides the number of labelled rows, compile with "
            "`jit_compile=False`, or let the network return its derivatives: "
            "`keras_physreg.Derivatives`."
        ) from error


def own_methods(model: keras.Model) -> list[str]:
    """Returns the qualified names of `train_step` and `compute_loss` that the user has written."""
    methods = [getattr(type(model), name) for name in ("train_step", "compute_loss")]
    return [
        method.__qualname__.rsplit("<locals>.")[-1]
        for method in methods
        if not method.__module__.startswith("keras_physreg.")
    ]


def has_own_train_step(model: keras.Model) -> bool:
    """Returns whether the user has written the `train_step`."""
    return any(name.endswith("train_step") for name in own_methods(model))
