"""KnownTrainers: the compiled programs of a model, for later trainings that can use them."""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from keras_physreg.replicas.compiled import CompiledTrainer, cores
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizer_copy import IMMUTABLE, internal_names
from keras_physreg.replicas.step_graphs import StepGraphs

MAX_TRAINERS = 2  # per model, each with its programs, which hold memory
MAX_MODELS = 4  # that have programs at once
ATTRIBUTE = "_trainers_of_replicas"


@dataclass(frozen=True)
class Origin:
    """Everything that programs were made from; programs of an equal origin are the same.

    Args:
        settings: The requested engine and its limits, and the optimizer with its settings.
        variables: The variables of the model and its metrics, which `compile` makes anew.
        graphs: The steps that the programs run.
    """

    settings: list[Any]
    variables: list[keras.Variable]
    graphs: StepGraphs

    @classmethod
    def of(cls, job: Job, requested: str, per_program: int | None) -> Origin:
        """Returns the origin of the programs of a job."""
        optimizer, variables = job.step.model.optimizer, job.step.variables
        own = {k: v for k, v in vars(optimizer).items() if k not in internal_names()}
        plain = {k: v for k, v in own.items() if isinstance(v, IMMUTABLE)}
        settings = [requested, per_program, cores(), _config(optimizer), id(optimizer), plain]
        return cls(
            [_comparable(settings), job.log_names],
            [*variables.weights, *variables.metrics],
            StepGraphs.of(job),
        )

    def matches(self, other: Origin) -> bool:
        """Returns whether both describe the same programs."""
        same = len(self.variables) == len(other.variables) and all(
            a is b for a, b in zip(self.variables, other.variables, strict=True)
        )
        return same and self.settings == other.settings and self.graphs == other.graphs


class KnownTrainers:
    """The last trainers of one model, in an attribute of it: they live as long as the model."""

    # Of all models, the most recently used last.
    _in_use: ClassVar[list[weakref.ref[KnownTrainers]]] = []

    def __init__(self) -> None:
        self._trainers: list[tuple[Origin, CompiledTrainer]] = []

    @classmethod
    def of(cls, model: keras.Model) -> KnownTrainers:
        """Returns the trainers of a model; those of models that were used long ago are dropped."""
        if not hasattr(model, ATTRIBUTE):
            setattr(model, ATTRIBUTE, cls())
        known: KnownTrainers = getattr(model, ATTRIBUTE)
        others = [r for r in cls._in_use if r() is not None and r() is not known]
        for dropped in others[: max(0, len(others) - MAX_MODELS + 1)]:
            if (trainers := dropped()) is not None:
                trainers._trainers.clear()
        cls._in_use[:] = [*others[-(MAX_MODELS - 1) :], weakref.ref(known)]
        return known

    def find(self, origin: Origin) -> CompiledTrainer | None:
        """Returns a trainer with the programs of this origin, if there is one."""
        for entry in self._trainers:
            if entry[0].matches(origin):
                self._trainers.remove(entry)
                trainer = entry[1].again()
                self._trainers.append((entry[0], trainer))
                return trainer
        return None

    def add(self, origin: Origin, trainer: CompiledTrainer) -> None:
        """Keeps a trainer, in place of the one that was used longest ago."""
        self._trainers[:] = [*self._trainers, (origin, trainer)][-MAX_TRAINERS:]


def _config(optimizer: keras.Optimizer) -> Any:
    """Returns the config of an optimizer; where there is none, an object that equals no other."""
    try:
        with warnings.catch_warnings():
            # Keras warns of lambdas in configs, but nothing is saved here.
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
            return optimizer.get_config()
    except Exception:  # The user's own optimizer may have none.
        return object()


def _comparable(value: Any) -> Any:
    """Returns settings in a form that compares by content."""
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    if isinstance(value, dict):
        return {key: _comparable(part) for key, part in value.items()}
    return [_comparable(part) for part in value] if isinstance(value, list | tuple) else value
