"""The graphs of a replica's step: what programs are made of, to read and to compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.graph_digest import digest
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.replicas.streamed_rows import joined
from keras_physreg.unlabelled.arrays import specs


@dataclass(frozen=True, eq=False)
class StepGraphs:
    """The graphs of one replica: its training step, its test step, and what follows on steps.

    Args:
        train: The graph of the training step, to read; `None` where graphs are only compared.
        digests: A digest of each graph.
        captured: Tensors and variables from outside of the step that the graphs read.
    """

    train: Any
    digests: list[Any]
    captured: list[Any]

    @classmethod
    def of(cls, job: Job) -> StepGraphs:
        """Traces the steps of a job, on a batch of its training data."""
        given = job.step
        # Without shields the graph of the training step is shorter.
        step = ReplicaStep(given.model, given.unlabelled_share, given.unscored, unshielded=True)
        batch = _batch_spec(job.train)
        trained = joined(batch, job.streamed.specs)
        traced = [_step(step, step.train, trained), _after(step)]
        if job.is_scored:  # Held-out data may have other parts, such as weights.
            held_out = job.train if job.validation is None else job.validation
            traced.append(_step(step, step.test, _batch_spec(held_out)))
        return cls(
            traced[0].graph,
            [_digests(function) for function in traced],
            [outside for function in traced for outside, _ in function.graph.captures],
        )

    def to_compare(self) -> StepGraphs:
        """Returns these graphs without the graphs themselves, which hold memory."""
        return replace(self, train=None)

    def __eq__(self, other: object) -> bool:
        """Returns whether both were traced to the same operations, constants and tensors."""
        if not isinstance(other, StepGraphs):
            return NotImplemented
        captured = [self.captured, other.captured]
        same = len(captured[0]) == len(captured[1]) and all(
            a is b for a, b in zip(*captured, strict=True)
        )
        return same and self.digests == other.digests

    __hash__ = None  # type: ignore[assignment]


def _step(step: ReplicaStep, function: Any, batch: Any) -> Any:
    variables = step.variables
    groups = [variables.trainable, variables.state, variables.metrics]

    def run(*arguments: Any) -> Any:
        updates = function(*arguments)
        return updates.gradients, updates.state, updates.metrics

    return _traced(run, *map(_specs, groups), batch)


def _after(step: ReplicaStep) -> Any:
    """Traces the logs, and the constraints on variables."""
    constraints = [variable.constraint for variable in step.variables.trainable]

    def run(trainable: Any, metrics: Any) -> Any:
        pairs = zip(constraints, trainable, strict=True)
        constrained = [constraint(value) for constraint, value in pairs if constraint is not None]
        return step.logs(metrics), constrained

    return _traced(run, _specs(step.variables.trainable), _specs(step.variables.metrics))


def _traced(function: Any, *specs: Any) -> Any:
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _digests(function: Any) -> Any:
    """Returns a digest of the operations of a traced function, and what its outputs are named."""
    return digest(function.graph), repr(function.structured_outputs)


def _specs(variables: list[keras.Variable]) -> list[Any]:
    return [tf.TensorSpec(variable.shape, variable.dtype) for variable in variables]


def _batch_spec(data: Batches) -> Any:
    return specs(data.data, min(data.batch_size, data.size))
