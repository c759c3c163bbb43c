"""DistributedTrainer: a ReplicaTrainer whose replicas are trained by the workers of an executor."""

from __future__ import annotations

import hashlib
import inspect
import uuid
from dataclasses import replace
from typing import Any

import numpy as np

from keras_physreg.executors.group import Group, GroupResult, groups_of
from keras_physreg.executors.keras_settings import KerasSettings
from keras_physreg.executors.pickled import dumps, without_tensors
from keras_physreg.executors.pool import LostWorkersError, Pool
from keras_physreg.executors.sent_model import Build, SentModel
from keras_physreg.executors.worker import Program, Shared
from keras_physreg.replicas import ReplicaHistory, ReplicaTrainer
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.new_job import FitArguments
from keras_physreg.replicas.outcome import Outcome, Trained

SIGNATURE = inspect.signature(ReplicaTrainer.fit)


class LostReplicasError(RuntimeError):
    """Some replicas could not be trained, as their workers died.

    Args:
        message: The reason.
        history: The logs of all replicas; those that were lost have no epochs.
        is_final: Whether the executor is of no use after that.
    """

    def __init__(self, message: str, history: ReplicaHistory, is_final: bool) -> None:
        super().__init__(message)
        self.history, self.is_final = history, is_final


class DistributedTrainer(ReplicaTrainer):
    """A `ReplicaTrainer` whose replicas are trained by the workers of an executor.

    Args:
        pool: The workers.
        build: A function that builds the model, or `None`: the model itself travels.
        *arguments: Those of `ReplicaTrainer`.
        **settings: Those of `ReplicaTrainer`.
    """

    def __init__(self, pool: Pool, build: Build | None, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.pool, self.build = pool, build
        self._given: FitArguments | None = None
        self._shared: tuple[Any, Any] | None = None
        self._lost: dict[int, LostWorkersError] = {}

    def fit(self, *arguments: Any, **settings: Any) -> ReplicaHistory:
        """Trains all replicas; see `ReplicaTrainer.fit`.

        Ctrl-C cancels the groups of replicas that have not begun, and the finished ones are
        returned.

        Raises:
            LostReplicasError: If workers died and no other could train their replicas.
        """
        bound = SIGNATURE.bind(self, *arguments, **settings)
        bound.apply_defaults()
        given = {name: value for name, value in bound.arguments.items() if name != "self"}
        self._given = FitArguments(**given | {"rows": None, "validation_rows": None, "verbose": 0})
        self._shared = None
        return super().fit(**given)

    def _run(self, job: Job) -> ReplicaHistory:
        history = super()._run(job)
        if self._lost:
            count = int((history.epochs_done < job.epochs).sum())
            reason = next(iter(self._lost.values()))
            raise LostReplicasError(
                f"{count} of {job.replicas} replicas could not be trained. A group of them failed: "
                f"{reason}",
                history,
                reason.is_final,
            ) from reason
        return history

    def _train(self, job: Job) -> Outcome:
        """Trains all replicas by the workers."""
        weights = job.starting_weights()
        groups = groups_of(job, self.pool.workers, self.replicas_per_program)
        self._lost = {}
        results: list[GroupResult] = []
        interrupted = False
        try:
            program, data = self._shared = self._shared or self._share()
            for position, found in self.pool.run(program, data, groups):
                if isinstance(found, LostWorkersError):
                    self._lost[position] = found
                elif isinstance(found, BaseException):
                    raise found
                else:
                    results.append(found)
                    interrupted |= found.interrupted
                    job.progress(sum(len(t.replicas) * t.epochs for t in found.trained))
        except KeyboardInterrupt:
            interrupted = True
        return _joined(job, weights, groups, results, interrupted)

    def _share(self) -> tuple[Any, Any]:
        """Sends the model and the data."""
        assert self._given is not None
        given = replace(self._given, **_in_memory(self._given))
        settings: dict[str, Any] = {"unit": self.table.unit, "engine": self.engine}
        settings["replicas_per_program"] = self.replicas_per_program
        model = SentModel.of(self.model, self.build, given.train(), given.first_points)
        program = dumps(Program(model, settings, KerasSettings.of_process()))
        data = dumps(given)
        # Trainers of other models, on the same data, use the data that workers have.
        key = hashlib.sha256(data).hexdigest()
        shared = [Shared(f"model-{uuid.uuid4().hex}", program), Shared(f"data-{key}", data)]
        return self.pool.share(shared[0]), self.pool.share(shared[1])


def new_trainer(pool: Pool | None, build: Build | None, **arguments: Any) -> ReplicaTrainer:
    """Returns a trainer of replicas: by workers, or in this process if there are none.

    Args:
        pool: The workers, or `None`.
        build: A function that builds the model, or `None`.
        **arguments: Those of `ReplicaTrainer`.
    """
    if pool is None:
        return ReplicaTrainer(**arguments)
    return DistributedTrainer(pool, build, **arguments)


def _in_memory(given: FitArguments) -> dict[str, Any]:
    """Returns the data of a training as NumPy arrays, which pickle."""
    names = ["x", "y", "sample_weight", "validation_data", "unlabelled"]
    names += ["points", "validation_points"]
    return {name: without_tensors(getattr(given, name)) for name in names}


def _joined(
    job: Job,
    weights: list[np.ndarray],
    groups: list[Group],
    results: list[GroupResult],
    interrupted: bool,
) -> Outcome:
    """Joins the results of groups, in whichever order they came."""
    trained = [part for result in results for part in result.trained]
    missing = np.setdiff1d(np.arange(job.replicas), [k for part in trained for k in part.replicas])
    engines = sorted({result.engine for result in results})
    return Outcome.of(
        job.step.variables.weights,
        job.log_names,
        weights,
        [*trained, Trained(missing)],
        interrupted=interrupted,
        engine=f"{' | '.join(engines)}; {len(groups)} group{'s' * (len(groups) > 1)} for workers",
        compile_seconds=max((result.compile_seconds for result in results), default=0.0),
    )
