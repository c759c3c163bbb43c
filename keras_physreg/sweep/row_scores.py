"""The score of each held-out row, which tells how much a verdict depends on these rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import unchanged
from keras_physreg.replicas import ReplicaTrainer
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.engines import stacked
from keras_physreg.replicas.plan import Plan
from keras_physreg.replicas.replica_step import ReplicaStep
from keras_physreg.sweep.term_sweep import TermSweep

MAX_GROUPS = 1000  # of rows that are scored: with more rows, neighbours share a group
TOLERANCE = 0.05  # relative difference allowed between the mean over rows and the score


class RowScorer:
    """Scores each held-out row as if it were the only one.

    Args:
        trainer: The trainer of the replicas of a sweep.
        validation: The held-out rows.
        monitor: The log that is the score.
    """

    def __init__(self, trainer: ReplicaTrainer, validation: Batches, monitor: str) -> None:
        self.trainer, self.validation = trainer, validation
        self.log = monitor.removeprefix("val_")
        self.step = ReplicaStep(trainer.model)
        each = -(-validation.size // MAX_GROUPS)
        self.groups = np.arange(validation.size // each * each, dtype="int32").reshape(-1, each)
        self._scores = tf.function(self._run, autograph=False)

    def add_to(self, sweep: TermSweep, plan: Callable[[list[int]], Plan]) -> TermSweep:
        """Returns the sweep with the scores of rows, for weights whose trainings all finished.

        Trains once more up to the scored epochs, since the trainer does not keep their weights.

        Args:
            sweep: What was measured.
            plan: A function that returns the plan of some of the weights, given their positions.
        """
        assert sweep.scored_epochs is not None
        seeds = np.flatnonzero(sweep.usable).tolist()
        bad = (sweep.diverged | sweep.unfinished)[:, seeds].any(axis=1)
        weights = np.flatnonzero(~bad & (sweep.scored_epochs > 0))
        if not seeds or 0 not in weights:
            return sweep
        scores = np.full((len(bad), len(seeds), len(self.groups)), np.nan)
        for epochs in np.unique(sweep.scored_epochs[weights]):
            here = [int(w) for w in weights if sweep.scored_epochs[w] == epochs]
            scores[here] = self._train_and_score(plan(here), seeds, int(epochs))
        found = relative(scores[weights], sweep.measured["score"][weights][:, seeds])
        if found is None:
            return sweep
        rows = np.full((len(bad), len(self.groups)), np.nan)
        rows[weights] = found
        return replace(sweep, row_scores=rows)

    def _train_and_score(self, plan: Plan, seeds: list[int], epochs: int) -> np.ndarray:
        """Returns scores of shape `(settings, seeds, rows)`."""
        self.trainer.refit(plan.weights, plan.replica_seeds, verbose=0, epochs=epochs)
        found = []
        with unchanged(self.step.variables.weights):
            for replica in range(plan.replicas):
                self.trainer.load_replica(replica, which="last")
                groups = [self.step.variables.trainable, self.step.variables.state]
                values = [[tf.convert_to_tensor(v.value) for v in group] for group in groups]
                found.append(self._scores(*values).numpy())
        return plan.reshape(np.array(found, "float64"))[:, 0, seeds]

    def _run(self, trainable: list[Any], state: list[Any]) -> Any:
        fresh = [tf.zeros(v.shape, v.dtype) for v in self.step.variables.metrics]

        def score(rows: Any) -> Any:
            batch = self.validation.take(rows)
            updates = self.step.test(trainable, state, fresh, batch)
            metrics = [updates.metrics.get(i, value) for i, value in enumerate(fresh)]
            return tf.cast(self.step.logs(metrics)[self.log], tf.float32)

        return stacked(score, tf.constant(self.groups))


def relative(scores: np.ndarray, of_all: np.ndarray) -> np.ndarray | None:
    """Returns scores of rows as multiples of the score of all rows, averaged over seeds.

    Where scores are not all above 0, they are multiples of the mean absolute score of the baseline.

    Args:
        scores: Scores of rows, baseline first, of shape `(weights, seeds, rows)`.
        of_all: The scores of all rows together, of shape `(weights, seeds)`.

    Returns:
        An array of shape `(weights, rows)`; `None` where the score is not a mean over rows, such as
        a root mean square.
    """
    means = scores.mean(axis=-1)
    positive = bool((of_all > 0).all())
    size = np.abs(of_all[0]).mean()
    if not np.allclose(means, of_all, rtol=TOLERANCE, atol=TOLERANCE * size * (not positive)):
        return None
    return (scores / (means[..., np.newaxis] if positive else size)).mean(axis=1)
