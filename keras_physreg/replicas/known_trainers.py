"""KnownTrainers: the programs that were compiled last, for later trainings that can use them."""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras
import numpy as np

from keras_physreg._utils.variables import values_of
from keras_physreg.replicas.compiled import CompiledTrainer, places
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizer_copy import (
    IMMUTABLE,
    internal_names,
    is_state,
    scheduled_rate,
)
from keras_physreg.replicas.step_graphs import StepGraphs

MAX_TRAINERS = 4  # in the process, each with its programs, which hold memory
MAX_SHARED_BYTES = 64 * 2**20  # of a trainer; larger ones go with their model


@dataclass(frozen=True)
class Origin:
    """Everything that programs were made from; programs of an equal origin are the same.

    Models that were built alike have equal origins: a program takes the weights as inputs.

    Args:
        settings: The requested engine and its limits, the optimizer with its settings, and the
            kinds of the variables.
        graphs: The steps that the programs run.
    """

    settings: list[Any]
    graphs: StepGraphs

    @classmethod
    def of(cls, job: Job, requested: str, per_program: int | None) -> Origin:
        """Returns the origin of the programs of a job."""
        variables = job.step.variables
        groups = [variables.trainable, variables.state, variables.metrics]
        kinds = [[(v.shape, v.dtype, v.trainable) for v in group] for group in groups]
        settings: list[Any] = [
            requested,
            per_program,
            places(),
            kinds,
            values_of(variables.metrics),
        ]
        settings += [_optimizer_settings(job.step.model.optimizer), job.log_names]
        return cls(_comparable(settings), StepGraphs.of(job))


@dataclass(frozen=True)
class Known:
    """A trainer with its programs.

    Args:
        origin: What the programs were made from.
        trainer: The trainer.
        model: Reference to the model that it trained last.
    """

    origin: Origin
    trainer: CompiledTrainer
    model: weakref.ref[keras.Model]


class KnownTrainers:
    """The trainers that were used last, for one model.

    Args:
        model: The model.
    """

    _known: ClassVar[list[Known]] = []  # The most recently used is the last.

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    @classmethod
    def clear(cls) -> None:
        """Drops all trainers."""
        cls._known.clear()

    def find(self, origin: Origin) -> CompiledTrainer | None:
        """Returns a trainer with the programs of this origin, if there is one."""
        for known in list(self._known):
            if known.origin == origin:
                trainer = known.trainer.again()
                self._known[:] = [other for other in self._known if other is not known]
                self._keep(known.origin, trainer)
                return trainer
        return None

    def drop(self, origin: Origin) -> None:
        """Drops the trainer with the programs of this origin."""
        self._known[:] = [known for known in self._known if known.origin != origin]

    def add(self, origin: Origin, trainer: CompiledTrainer) -> None:
        """Keeps a trainer, in place of the one that was used longest ago."""
        self._keep(replace(origin, graphs=origin.graphs.to_compare()), trainer)

    def _keep(self, origin: Origin, trainer: CompiledTrainer) -> None:
        known = Known(origin, trainer, weakref.ref(self._model, _drop_large))
        self._known[:] = [*self._known, known][-MAX_TRAINERS:]


def _drop_large(model: weakref.ref[keras.Model]) -> None:
    """Drops the trainers of a model that is gone if they hold much memory."""
    known = KnownTrainers._known
    known[:] = [
        one for one in known if one.model is not model or one.trainer.size <= MAX_SHARED_BYTES
    ]


def _optimizer_settings(optimizer: keras.Optimizer) -> list[Any]:
    """Returns the type and settings of an optimizer; itself, too, if they do not tell all."""
    left_out = {"name", *internal_names()}
    own = {k: v for k, v in vars(optimizer).items() if k not in left_out}
    plain = {k: v for k, v in own.items() if isinstance(v, IMMUTABLE)}
    state, rate = {id(variable) for variable in optimizer.variables}, scheduled_rate(optimizer)
    told = all(k in plain or is_state(v, state) or _is_empty(v) for k, v in own.items())
    kerass = _is_of(keras.optimizers, optimizer) and (
        rate is None or _is_of(keras.optimizers.schedules, rate)
    )
    itself = None if told and kerass else optimizer
    return [type(optimizer), _config(optimizer), plain, itself]


def _is_empty(value: Any) -> bool:
    return isinstance(value, list | tuple | dict | set) and not value


def _is_of(module: Any, thing: Any) -> bool:
    """Returns whether the class of an object is one of Keras', whose configs are complete."""
    return getattr(module, type(thing).__name__, None) is type(thing)


def _config(optimizer: keras.Optimizer) -> Any:
    """Returns the config of an optimizer; where there is none, an object that equals no other."""
    try:
        with warnings.catch_warnings():
            # Keras warns of lambdas in configs, but nothing is saved here.
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
            return optimizer.get_config() | {"name": None}  # Keras counts the names up.
    except Exception:  # The user's own optimizer may have none.
        return object()


def _comparable(value: Any) -> Any:
    """Returns settings in a form that compares by content."""
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    if isinstance(value, dict):
        return {key: _comparable(part) for key, part in value.items()}
    return [_comparable(part) for part in value] if isinstance(value, list | tuple) else value
