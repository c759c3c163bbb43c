"""TrainedReplicas: what users do with replicas that were trained."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_physreg._utils.errors import boolean
from keras_physreg.replicas import ensemble, predictions
from keras_physreg.replicas.outcome import Outcome


class TrainedReplicas:
    """Loads, asks and joins the replicas of a training.

    Args:
        model: The model that was trained.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._outcome: Outcome | None = None

    def load_replica(self, replica: int, which: str = "best") -> None:
        """Puts a trained replica's weights and term weights into the model.

        Args:
            replica: Position of the replica.
            which: `"best"`: at its best epoch; `"last"`: at its last; `"initial"`: at its start.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If there is no such replica.
        """
        outcome = self._trained()
        if which not in ("best", "last", "initial"):
            raise ValueError(
                f"`which` must be 'best', 'last' or 'initial'. Received: which={which!r}"
            )
        last = len(outcome.best_epoch) - 1
        if not 0 <= replica <= last:
            raise ValueError(f"`replica` must be in 0..{last}. Received: replica={replica!r}")
        values = getattr(outcome, which)
        for variable, value in zip(outcome.variables, values, strict=True):
            variable.assign(value[replica])

    def predict(self, x: Any, which: str = "best", batch_size: int | None = None) -> Any:
        """Returns the predictions of all replicas, without changing the model.

        Args:
            x: Inputs, in memory: an array or a structure of arrays of shape `(rows, ...)`.
            which: `"best"`: of each replica at its best epoch; `"last"`: at its last.
            batch_size: Rows in a batch; 32 by default.

        Returns:
            The structure of the model's output, of arrays of shape `(replicas, rows, ...)`; NaN
            for a replica without finite weights there, because it diverged or was not reached.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If the inputs cannot serve.
        """
        return predictions.predict(self.model, self._trained(), x, which, batch_size)

    def ensemble(
        self, replicas: Sequence[int] | None = None, which: str = "best", spread: bool = False
    ) -> keras.Model:
        """Returns one model that predicts the mean of the replicas' predictions.

        It holds a copy of the model, without its physics, for each replica. It is made of Keras'
        own layers and operations: it saves, loads and exports as the model without physics does.

        Args:
            replicas: Positions of the replicas; `None`: all.
            which: `"best"`: each at its best epoch; `"last"`: at its last.
            spread: Whether to add the standard deviation over the replicas as a further output
                (n - 1 in its divisor, for n replicas). The outputs are then `[mean, spread]`; those
                of a model with several outputs get further ones, `<name>_spread` in a dict.

        Returns:
            A functional `keras.Model`, not compiled, with the inputs that the prediction needs.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If the model is subclassed, a replica is not there or has no finite
                weights, or `spread` is asked of a single one.

        Example:
        >>> import keras, keras_physreg as kp
        >>> z = keras.Input((3,))
        >>> x = keras.layers.Dense(2)(z)
        >>> model = kp.PhysicsModel(
        ...     z, kp.PhysicsRegularization(lambda z, x: x - z[:, :2], {"same": 0.1})(z, x)
        ... )
        >>> model.compile("sgd", "mse")
        >>> trainer = kp.ReplicaTrainer(model, {"same": [0.1] * 4}, seeds=[1, 2, 3, 4])
        >>> ones = keras.ops.ones((8, 3))
        >>> history = trainer.fit(ones, ones[:, :2], verbose=0)
        >>> trainer.predict(ones).shape
        (4, 8, 2)
        >>> mean, spread = trainer.ensemble(spread=True).predict(ones, verbose=0)
        >>> mean.shape, spread.shape
        ((8, 2), (8, 2))
        """
        outcome = self._trained()
        return ensemble.ensemble(self.model, outcome, replicas, which, boolean("spread", spread))

    def _trained(self) -> Outcome:
        if self._outcome is None:
            raise RuntimeError("There are no trained replicas yet: call `fit` first.")
        return self._outcome
