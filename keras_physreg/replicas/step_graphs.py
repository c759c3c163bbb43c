"""The graphs of a replica's step: what programs are made of, to read and to compare."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.unlabelled.input_rows import NoRows, beside, split_rows

# Counted by TensorFlow through a whole process: equal graphs differ in it.
COUNTED = "_gradient_op_type"


@dataclass(frozen=True)
class StepGraphs:
    """The graphs of the training step and of the test step of one replica.

    They are traced without shields, each of which TensorFlow would keep for ever. There is no test
    step if there are no rows to score: a training on points alone, without `validation_points`.
    """

    train: Any
    test: Any | None

    @classmethod
    def of(cls, job: Job) -> StepGraphs:
        """Traces the steps of a job, on a batch of its training data."""
        given = job.step
        step = ReplicaStep(given.model, given.unlabelled_share, given.unscored, unshielded=True)
        batch = _batch_spec(job.train)
        trained = batch
        if job.unlabelled is not None:
            rows = _spec(job.unlabelled.tensors, job.unlabelled.batch_size)
            trained = (beside(batch[0], rows), *batch[1:])
        alone = isinstance(split_rows(batch)[0][0], NoRows)
        scored = not alone or given.model._points.validation.terms
        test = _traced(step, step.test, batch) if scored else None
        return cls(_traced(step, step.train, trained), test)

    def __eq__(self, other: object) -> bool:
        """Returns whether both were traced to the same operations, constants and tensors."""
        if not isinstance(other, StepGraphs):
            return NotImplemented
        return _same(self.train, other.train) and _same(self.test, other.test)

    __hash__ = None  # type: ignore[assignment]


def _traced(step: ReplicaStep, function: Any, batch: Any) -> Any:
    variables = step.variables
    groups = [variables.trainable, variables.state, variables.metrics]
    values = [[tf.TensorSpec(v.shape, v.dtype) for v in group] for group in groups]

    def run(*arguments: Any) -> Any:
        updates = function(*arguments)
        return updates.gradients, updates.state, updates.metrics

    return tf.function(run, autograph=False).get_concrete_function(*values, batch).graph


def _batch_spec(data: Batches) -> Any:
    return _spec(data.data, min(data.batch_size, data.size))


def _spec(tensors: Any, rows: int) -> Any:
    def one(tensor: Any) -> Any:
        return None if tensor is None else tf.TensorSpec((rows, *tensor.shape[1:]), tensor.dtype)

    return keras.tree.map_structure(one, tensors)


def _same(graph: Any, other: Any) -> bool:
    if graph is None or other is None:
        return graph is other
    return _same_captures(graph, other) and _digest(graph) == _digest(other)


def _same_captures(graph: Any, other: Any) -> bool:
    """Returns whether two graphs read the same tensors and variables from outside."""
    captured, others = ([outside for outside, _ in g.captures] for g in (graph, other))
    return len(captured) == len(others) and all(map(lambda a, b: a is b, captured, others))


def _digest(graph: Any) -> bytes:
    """Returns a digest of the operations of a graph, whatever the names of its nodes."""
    definition = graph.as_graph_def()
    for nodes in (definition.node, *(f.node_def for f in definition.library.function)):
        names = {node.name: f"node{i}" for i, node in enumerate(nodes)}
        for node in nodes:
            node.name = names[node.name]
            node.input[:] = [_renamed(name, names) for name in node.input]
            node.attr.pop(COUNTED, None)
            node.attr.pop("_class", None)  # It repeats the names of nodes.
    return hashlib.sha256(definition.SerializeToString(deterministic=True)).digest()


def _renamed(source: str, names: dict[str, str]) -> str:
    """Returns the source of a node's input, such as `"^name"` or `"name:1"`, by the new name."""
    control, name = ("^", source[1:]) if source.startswith("^") else ("", source)
    name, *rest = name.split(":")
    return control + ":".join([names.get(name, name), *rest])
