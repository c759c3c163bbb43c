"""ProgramSteps: some steps of a small program, like those that train, but without XLA."""

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import values_of
from keras_physreg.replicas.batches import Cut
from keras_physreg.replicas.compiled import compiling
from keras_physreg.replicas.engines import Engine
from keras_physreg.replicas.feed import Data
from keras_physreg.replicas.job import Job
from keras_physreg.replicas.model_steps import ModelSteps
from keras_physreg.replicas.optimizers import batch_count, stack_values
from keras_physreg.replicas.probe_start import PROBE_REPLICAS, Start
from keras_physreg.replicas.program import Program
from keras_physreg.replicas.program_spec import ProgramSpec
from keras_physreg.replicas.streamed_rows import Streamed


class ProgramSteps:
    """Runs the same steps of some replicas from any start.

    Args:
        job: The training.
        engine: The engine of the program.
        own: The model's own steps, which name the values.
        rows: Numbers of the labelled rows of the steps, of shape `(steps, rows)`.
        more: The rows beside them.

    Raises:
        CannotCompileError: If the engine cannot trace the model's step.
    """

    def __init__(
        self, job: Job, engine: Engine, own: ModelSteps, rows: np.ndarray, more: Streamed
    ) -> None:
        self._own = own
        steps, batch = rows.shape
        spec = ProgramSpec(
            train=Cut(rows.size, batch),
            validation=(),
            own_held_out=False,
            own_orders=(False, False),
            streamed=job.streamed.sizes,
            epochs=1,
            terms=(),
            monitor=job.log_names[0],
            sign=1,
        )
        self._inputs = [
            Data(job.train.take(rows.ravel()), None, job.streamed.tensors),
            tf.range(rows.size)[tf.newaxis],
            keras.tree.map_structure(tf.constant, more),
            tf.zeros((1, steps, PROBE_REPLICAS, 0)),
            *(tf.constant(number, tf.int32) for number in (0, 1)),
        ]
        assert engine.mapper is not None
        with compiling():
            self._program = Program(job.step, spec, PROBE_REPLICAS, engine.mapper, False)
            self._program.trace(*self._inputs)

    def take(self, start: Start) -> list[dict[str, np.ndarray]]:
        """Runs the steps.

        Returns:
            For each replica, its values after the steps, as from `ModelSteps.take`.
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
            for k in range(PROBE_REPLICAS)
        ]


def _by_replica(value: np.ndarray) -> np.ndarray:
    """Returns one value per replica; a single value is repeated for all replicas."""
    return (
        value if len(np.atleast_1d(value)) == PROBE_REPLICAS else np.stack([value] * PROBE_REPLICAS)
    )
