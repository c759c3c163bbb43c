"""Engine: a way to train replicas; and the engines that are possible for a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.replicas import devices
from keras_physreg.replicas.faster.layers import draws_own_numbers
from keras_physreg.replicas.memory import replicas_that_fit
from keras_physreg.replicas.optimizers import why_never_stacked
from keras_physreg.replicas.replica_step import ReplicaStep

# Operations for which XLA on a CPU takes two to five times longer than TensorFlow's own kernels.
SLOW_BY_XLA = ("Conv",)
# Loops inside the step become loops over stacked lists, which XLA does not support.
SLOW_STACKED = ("While", "For")
# Trainable weights of a model; replicas of larger ones are faster one after the other on a CPU.
MAX_STACKED_WEIGHTS = 250_000
# XLA has its own random number generator.
RANDOM = ("Random",)
OTHER_DRAWS = " (its random layers draw other numbers than in `fit`, of the same distribution)"
# Methods that `fit` calls and programs do not.
METHODS_OF_FIT = (
    *("fit", "train_step", "make_train_function"),
    *("evaluate", "test_step", "make_test_function"),
)


@dataclass(frozen=True)
class Engine:
    """A way to train replicas.

    Args:
        name: `"stacked"`, `"in-turn"` or `"sequential"`.
        reason: The reason why this engine was chosen.
        mapper: Runs a function on all replicas of a program; `None` for `"sequential"`.
        jit: Whether the program is compiled with XLA.
        max_replicas: Estimate of the replicas that fit into memory at once; `None` for no limit.
    """

    name: str
    reason: str
    mapper: Callable | None = None
    jit: bool = False
    max_replicas: int | None = None

    def __str__(self) -> str:
        return f"{self.name}{'' if self.jit or not self.mapper else ' without XLA'}: {self.reason}"


def stacked(function: Callable, values: Any) -> Any:
    """Runs a function on all replicas of a program at once, each operation on all replicas."""
    return tf.vectorized_map(function, values, fallback_to_while_loop=True, warn=False)


def in_turn(function: Callable, values: Any) -> Any:
    """Runs a function on the replicas of a program one after the other, inside the program."""
    return tf.map_fn(function, values, fn_output_signature=_signature(function, values))


def _signature(function: Callable, values: Any) -> Any:
    one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), values)
    traced = tf.function(function, autograph=False).get_concrete_function(one)
    return tf.nest.map_structure(
        lambda t: tf.TensorSpec(t.shape, t.dtype), traced.structured_outputs
    )


def sequential(reason: str) -> Engine:
    """Returns the engine that calls `fit` for one replica after the other."""
    return Engine("sequential", f"{reason}, so `fit` runs once per replica")


def why_sequential(model: keras.Model) -> str | None:
    """Returns why a model's step cannot run in a program; `None` if it can."""
    for name in METHODS_OF_FIT:
        if has_own(model, name):
            return f"the model overrides `{name}`"
    if model.run_eagerly:
        return "the model is compiled with `run_eagerly=True`"
    if not model.trainable_variables:
        return "the model has no trainable variables"
    return why_never_stacked(model.optimizer)


def candidates(step: ReplicaStep, requested: str, graph: Any) -> list[Engine]:
    """Returns the engines to try, the fastest first; the last one works for every model.

    Args:
        step: The step of one replica.
        requested: `"auto"`, or the name of an engine.
        graph: The graph of the step; not needed if no program is asked for, or can train it.
    """
    reason = why_sequential(step.model)
    if reason is not None and requested not in ("auto", "sequential"):
        raise ValueError(
            f"engine='{requested}' cannot train this model: {reason}. Use engine='auto'."
        )
    if reason is not None or requested == "sequential":
        return [sequential(reason or "as requested")]
    known = {operation.type for operation in graph.get_operations()}
    on_gpus = bool(devices.devices())  # Of their memory TensorFlow tells no size.
    fit = None if on_gpus else replicas_that_fit(step.variables.weights, graph)
    loops, slow = _found(SLOW_STACKED, known), [] if on_gpus else _found(SLOW_BY_XLA, known)
    why = f"its step has {(loops or slow)[0]}" if loops or slow else "its step can be stacked"
    own_draws = draws_own_numbers(step.model)
    by_xla = why + OTHER_DRAWS * (own_draws or bool(_found(RANDOM, known)))
    why += OTHER_DRAWS * own_draws
    # For each mapper, the faster engine comes first.
    together = [
        Engine("stacked", by_xla if jit else why, stacked, jit, fit) for jit in (not slow, False)
    ]
    one_by_one = [
        Engine("in-turn", by_xla if jit else why, in_turn, jit)
        for jit in (bool(loops) or not slow, False)
    ]
    by_name = {"stacked": together[:1] if slow else together, "in-turn": one_by_one}
    if requested != "auto":
        return by_name[requested]
    last = sequential("no program can train it")
    if loops or slow or (wide := _why_wide(step)) is None:
        if on_gpus:  # Which are slow at many small operations, one after the other.
            return [*together[bool(loops) :], *one_by_one, last]
        return [*one_by_one, last] if loops else [*together[:1], *one_by_one, last]
    one_by_one = [replace(engine, reason=f"{engine.reason}, but {wide}") for engine in one_by_one]
    return [*one_by_one, *together[:1], last]


def _why_wide(step: ReplicaStep) -> str | None:
    """Returns why a model trains faster in turn, though its step can be stacked, or `None`."""
    weights = sum(math.prod(variable.shape) for variable in step.variables.trainable)
    if weights <= MAX_STACKED_WEIGHTS or devices.devices():
        return None
    return (
        f"with {weights} trainable weights, more than {MAX_STACKED_WEIGHTS}, it is faster in turn"
    )


def is_slow_by_xla(graph: Any) -> bool:
    """Returns whether XLA has only slow kernels, as on CPUs, for operations of a step."""
    known = {operation.type for operation in graph.get_operations()}
    return not devices.devices() and bool(_found(SLOW_BY_XLA, known))


def _found(kinds: tuple[str, ...], operations: set[str]) -> list[str]:
    return sorted({name for name in operations for kind in kinds if kind in name})


def has_own(model: keras.Model, name: str) -> bool:
    """Returns whether a model overrides a method of Keras and of this package."""
    known = [_function(owner, name) for owner in (keras.Model, PhysicsModel)]
    return _function(model, name) not in known


def _function(owner: Any, name: str) -> Any:
    """Returns the function behind a method of a class or an object."""
    method = getattr(owner, name)
    return getattr(method, "__func__", method)
