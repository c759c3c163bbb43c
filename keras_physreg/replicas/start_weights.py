"""StartWeights: the initial weights of replicas, the model's present ones or new ones by seed."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from keras_physreg._utils.owners import seed_generators
from keras_physreg._utils.variables import values_of
from keras_physreg.replicas.fresh_weights import FreshWeights
from keras_physreg.replicas.replica_step import Variables


class StartWeights:
    """Makes the initial weights and state of replicas, and caches the last draws.

    Args:
        model: A built model.
        variables: The variables of the model.
    """

    def __init__(self, model: keras.Model, variables: Variables) -> None:
        self.model, self.variables = model, variables
        self._seeds = {id(generator.state) for generator in seed_generators(model)}
        self._fresh: FreshWeights | None = None
        self._drawn: dict[int, dict[int, np.ndarray]] = {}

    def of(self, replicas: int, seeds: Sequence[int] | None) -> list[np.ndarray]:
        """Returns the weights and state of all replicas, replicas first, in the variables' order.

        With seeds, layers with trainable variables get new weights, and the seeds of dropout
        change. Frozen layers, layers without trainable weights (an adapted `Normalization`) and the
        physics keep their weights. A subclassed model gets new trainable variables only: it keeps
        its moving averages.

        Args:
            replicas: Number of replicas.
            seeds: One seed per replica, or `None`: all start from the model's present weights.

        Raises:
            ValueError: If there are seeds, and the model cannot be copied.
        """
        present = values_of(self.variables.weights)
        if seeds is None:
            return [np.repeat(value[np.newaxis], replicas, axis=0) for value in present]
        if self._fresh is None:
            self._fresh = FreshWeights(self.model)
        unique = dict.fromkeys(seeds)
        self._drawn = {s: self._drawn.get(s) or self._fresh.draw(s) for s in unique}
        fresh = {seed: self._started(seed, present) for seed in unique}
        return [np.stack([fresh[seed][i] for seed in seeds]) for i in range(len(present))]

    def _started(self, seed: int, present: list[np.ndarray]) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)

        def started(variable: keras.Variable, value: np.ndarray) -> np.ndarray:
            if id(variable) in self._seeds:  # Its state is a seed and a count.
                return np.array([rng.integers(2**31), 0], value.dtype)
            return self._drawn[seed].get(id(variable), value)

        pairs = zip(self.variables.weights, present, strict=True)
        return [started(variable, value) for variable, value in pairs]
