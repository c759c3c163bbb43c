"""Runs some steps of a small program, built as those that train are, but without XLA."""

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import values_of
from keras_physreg.replicas.batches import Cut
from keras_physreg.replicas.compiled import compiling
from keras_physreg.replicas.engines import Engine
from keras_physreg.replicas.feed import Data
from keras_physreg.replicas.form import Form
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.optimizers import batch_count, stack_values
from keras_physreg.replicas.own_steps import OwnSteps
from keras_physreg.replicas.probe_start import REPLICAS, Start
from keras_physreg.replicas.program import Program


class ProgramSteps:
    """Takes the same steps of some replicas from any start.

    Args:
        job: What is to be trained.
        engine: How.
        own: The model's own steps, which name the values.
        rows: Numbers of the labelled rows of the steps, of shape `(steps, rows)`.
        more: Those of the unlabelled rows, likewise.

    Raises:
        CannotCompileError: If the engine cannot trace the model's step.
    """

    def __init__(
        self, job: Job, engine: Engine, own: OwnSteps, rows: np.ndarray, more: np.ndarray
    ) -> None:
        self._own = own
        steps, batch = rows.shape
        unlabelled = job.unlabelled
        form = Form(
            train=Cut(rows.size, batch),
            validation=(),
            own_held_out=False,
            own_orders=(False, False),
            unlabelled=0 if unlabelled is None else unlabelled.batch_size,
            epochs=1,
            terms=(),
            monitor=job.log_names[0],
            sign=1,
        )
        self._inputs = [
            Data(job.train.take(rows.ravel()), None, unlabelled and unlabelled.tensors),
            tf.range(rows.size)[tf.newaxis],
            tf.constant(more.reshape(1, -1), tf.int32),
            tf.zeros((1, steps, REPLICAS, 0)),
            *(tf.constant(number, tf.int32) for number in (0, 1)),
        ]
        assert engine.mapper is not None
        with compiling():
            self._program = Program(job.step, form, REPLICAS, engine.mapper, False)
            self._program.run.get_concrete_function(*self._inputs)

    def take(self, start: Start) -> list[dict[str, np.ndarray]]:
        """Takes the steps.

        Returns:
            What `OwnSteps.take` does, of each replica.
        """
        program = self._program
        with compiling():
            program.load(start.weights, stack_values(start.optimizer, program.optimizer))
            batch_count(program.optimizer).assign(start.batches_before)
            logs = program.run(*self._inputs)
        optimizer = [_by_replica(value) for value in values_of(program.optimizer.variables)]
        values = [*program.weights(), *optimizer, *values_of(program.metrics)]
        return [
            self._own.named([v[k] for v in values], {key: log[0, k] for key, log in logs.items()})
            for k in range(REPLICAS)
        ]


def _by_replica(value: np.ndarray) -> np.ndarray:
    """Returns the values of the replicas; what is not one value per replica is shared by all."""
    return value if len(np.atleast_1d(value)) == REPLICAS else np.stack([value] * REPLICAS)
