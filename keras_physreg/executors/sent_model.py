"""SentModel: a compiled model in a form that travels to another process."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.owners import seed_generators
from keras_physreg._utils.serialization import by_value
from keras_physreg._utils.variables import values_of
from keras_physreg.executors.copy_check import difference_of, different_setting
from keras_physreg.executors.pickled import dumps, loads
from keras_physreg.executors.user_objects import UserObjects
from keras_physreg.replicas import preparation
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.first_points import FirstPoints
from keras_physreg.replicas.replica_step import Variables

Build = Callable[[], keras.Model]
CURE = (
    "Give a function without arguments that builds and compiles the model in place of the model: "
    "`sanity_sweep(build_model, ...)`. Workers then call this function."
)


@dataclass(frozen=True)
class SentModel:
    """A compiled model in a form that travels to another process.

    Args:
        objects: The user's own objects, pickled: the function that builds the model, or else the
            functions and classes that its configuration names.
        content: A Keras file: of the weights for a function, else of the model.
        seeds: The states of the generators of seeds, which Keras files leave out.
        optimizer_built: Whether the optimizer has its state.
        is_built_by_function: Whether a function builds the model.
    """

    objects: bytes
    content: bytes
    seeds: list[np.ndarray]
    optimizer_built: bool
    is_built_by_function: bool

    @classmethod
    def of(
        cls,
        model: keras.Model,
        build: Build | None,
        data: Batches,
        points: FirstPoints = preparation.NO_POINTS,
    ) -> SentModel:
        """Packs a model, and checks that the copy computes what the model computes.

        Args:
            model: A built model.
            build: A function that builds the model, or `None`.
            data: The labelled data.
            points: The points of a first step.

        Raises:
            ValueError: If the model cannot be sent, or the copy would be another model.
        """
        seeds, built = values_of(_seed_states(model)), model.optimizer.built
        try:
            with _undisturbed():
                if build is not None:
                    weights = _content_of(model.save_weights, ".weights.h5")
                    sent = cls(dumps(build), weights, seeds, built, True)
                else:
                    sent = cls(*_saved(model), seeds, built, False)
                copy = sent.make(data, points)
                difference = difference_of(model, copy, data, points)
                if difference is None and build is not None:
                    difference = different_setting(model, copy)
        except Exception as error:
            raise ValueError(
                f"Model '{model.name}' cannot be sent to workers: {error}"
                + ("" if build is not None else f"\n\n{CURE}")
            ) from error
        if difference is not None:
            raise ValueError(
                f"A copy of model '{model.name}' for the workers would be another model: "
                f"{difference}. "
                + (CURE if build is None else "The function must build the same model each time.")
            )
        return sent

    def make(self, data: Batches, points: FirstPoints = preparation.NO_POINTS) -> keras.Model:
        """Returns the model, with its weights.

        Args:
            data: The labelled data, on which a model is built.
            points: The points of a first step, on which it is built, too.
        """
        model = self._made(loads(self.objects), data, points)
        states = _seed_states(model)
        if len(states) == len(self.seeds):  # Else the check of the copy tells what differs.
            for state, value in zip(states, self.seeds, strict=True):
                state.assign(value)
        return model

    def _made(self, objects: Any, data: Batches, points: FirstPoints) -> keras.Model:
        if self.is_built_by_function:
            model = objects()
            preparation.build(model, data, points=points)
            if self.optimizer_built:
                model.optimizer.build(model.trainable_variables)
            _load_content(self.content, ".weights.h5", model.load_weights)
            return model
        load = functools.partial(keras.saving.load_model, custom_objects=objects, safe_mode=False)
        with warnings.catch_warnings():
            if not self.optimizer_built:  # Keras builds it in the copy; then it has no state yet.
                warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            model = _load_content(self.content, ".keras", load)
        preparation.build(model, data, points=points)
        return model


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    """Returns the states of the generators of seeds, in the order of the model's variables."""
    states = {id(generator.state) for generator in seed_generators(model)}
    return [variable for variable in Variables.of(model).weights if id(variable) in states]


def _saved(model: keras.Model) -> tuple[bytes, bytes]:
    """Returns the user's own objects, pickled, and the file of the model."""
    own = UserObjects(model)
    try:
        with (
            own.named() as objects,
            by_value([*own.functions, *own.classes]),
            keras.saving.custom_object_scope(objects),
        ):
            content = _content_of(model.save, ".keras")
            config = json.dumps(keras.saving.serialize_keras_object(model), default=str)
    except Exception as error:
        raise ValueError(own.explained(str(error))) from error
    used = {name: value for name, value in objects.items() if json.dumps(name) in config}
    return dumps(used), content


def _content_of(save: Callable[[Path], Any], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sent{suffix}"
        save(path)
        return path.read_bytes()


def _load_content(content: bytes, suffix: str, load: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sent{suffix}"
        path.write_bytes(content)
        return load(path)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Restores Python's generator, from which a copy draws the seeds of its initializers."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
