"""What a worker does: it builds the model once, and trains groups of replicas in its programs."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections import OrderedDict
from dataclasses import dataclass
from multiprocessing import context
from typing import Any

import keras

from keras_physreg.executors.group import Group, GroupResult
from keras_physreg.executors.keras_settings import KerasSettings
from keras_physreg.executors.pickled import loads
from keras_physreg.executors.sent_model import SentModel
from keras_physreg.executors.user_objects import UserObjects
from keras_physreg.replicas import ReplicaTrainer
from keras_physreg.replicas.compiled import limited_cores
from keras_physreg.replicas.new_job import FitArguments
from keras_physreg.replicas.outcome import Outcome

MAX_MODELS = 4  # kept with their compiled programs, which hold memory
MAX_DATA = 2


@dataclass(frozen=True)
class Shared:
    """Something that many groups need, under a key by which a worker knows it again.

    Args:
        key: Unique name.
        content: A pickle.
    """

    key: str
    content: bytes


@dataclass(frozen=True)
class Program:
    """The model, and how it is trained.

    Args:
        model: The model.
        trainer: Further arguments of `ReplicaTrainer`.
        settings: The settings of Keras in the process that sends it.
    """

    model: SentModel
    trainer: dict[str, Any]
    settings: KerasSettings


class WorkerTrainer(ReplicaTrainer):
    """A `ReplicaTrainer` that hands out the outcome of its training.

    Keras copies layers and optimizers by way of their configs, in which functions have names. Where
    functions came by value, no module has them: `objects` has them by name.
    """

    objects: dict[str, Any]
    settings: KerasSettings

    def outcome(self) -> Outcome:
        """Returns the outcome of the last training."""
        return self._trained()


# A process trains one group at a time: a program holds the state of its replicas.
_lock = threading.Lock()
_trainers: OrderedDict[tuple[str, str], WorkerTrainer] = OrderedDict()
_data: OrderedDict[str, FitArguments] = OrderedDict()


def train_group(program: Shared, data: Shared, group: Group) -> GroupResult:
    """Trains a group of replicas; runs in a worker.

    Args:
        program: The model and how it is trained, a `Program`.
        data: The arguments of `ReplicaTrainer.fit`, `FitArguments`.
        group: The group.
    """
    if isinstance(multiprocessing.current_process(), context.ForkProcess):
        raise RuntimeError(
            "The workers of `executor` are forked, and TensorFlow hangs in a forked process. Give "
            "`ProcessPoolExecutor(n, mp_context=multiprocessing.get_context('spawn'))`."
        )
    try:
        with _lock, limited_cores(1):
            return GroupResult.of(_trained(program, data, group.filled()), group.replicas)
    except Exception as error:
        portable = _portable(error)
        if portable is error:
            raise
        raise portable from error


def _trained(program: Shared, data: Shared, group: Group) -> Outcome:
    key = (program.key, data.key)
    trainer = _trainers.pop(key, None)  # After an error it is not used again.
    if trainer is None:
        trainer = _first(program, data, group)
    else:
        rows: dict[str, Any] = group.rows
        with trainer.settings.in_use(), keras.saving.custom_object_scope(trainer.objects):
            trainer.refit(group.weights, group.seeds, verbose=0, epochs=group.epochs, **rows)
    _keep(_trainers, key, trainer, MAX_MODELS)
    return trainer.outcome()


def _first(program: Shared, data: Shared, group: Group) -> WorkerTrainer:
    """Builds the model, and trains a first group."""
    fit = _data.pop(data.key) if data.key in _data else loads(data.content)
    _keep(_data, data.key, fit, MAX_DATA)
    sent: Program = loads(program.content)
    with sent.settings.in_use():
        model = sent.model.make(fit.train(), fit.first_points)
        trainer = WorkerTrainer(model, group.weights, group.seeds, **sent.trainer)
        trainer.objects, trainer.settings = UserObjects(model).name(), sent.settings
        with keras.saving.custom_object_scope(trainer.objects):
            trainer.fit(**{**vars(fit), "epochs": group.epochs, **group.rows})
    return trainer


def _keep(known: OrderedDict, key: Any, value: Any, limit: int) -> None:
    known[key] = value
    while len(known) > limit:
        known.popitem(last=False)


def _portable(error: Exception) -> Exception:
    """Returns the error, or one with its text if it does not survive the way back."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
