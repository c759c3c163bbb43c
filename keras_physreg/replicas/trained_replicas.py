"""TrainedReplicas: loading, predictions and ensembles of trained replicas."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_physreg._utils.errors import boolean, received
from keras_physreg.replicas import ensemble, predictions
from keras_physreg.replicas.outcome import Outcome


class TrainedReplicas:
    """The replicas of a training, to load, to predict with, and to join to an ensemble.

    Args:
        model: The model that was trained.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._outcome: Outcome | None = None

    def load_replica(self, replica: int, which: str = "best") -> None:
        """Loads a trained replica's weights and term weights into the model.

        Args:
            replica: Position of the replica.
            which: `"best"` for its best epoch, `"last"` for its last epoch, or `"initial"` for the
                weights before the training.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If there is no such replica, or `which` is none of these.
        """
        outcome = self._trained()
        if which not in ("best", "last", "initial"):
            raise ValueError(
                f"`which` must be 'best', 'last' or 'initial'. {received('which', which)}"
            )
        last = len(outcome.best_epoch) - 1
        if not 0 <= replica <= last:
            raise ValueError(f"`replica` must be in 0..{last}. {received('replica', replica)}")
        values = getattr(outcome, which)
        for variable, value in zip(outcome.variables, values, strict=True):
            variable.assign(value[replica])

    def predict(self, x: Any, which: str = "best", batch_size: int | None = None) -> Any:
        """Returns the predictions of all replicas, without changing the model.

        Args:
            x: Inputs, in memory: an array or a structure of arrays of shape `(rows, ...)`.
            which: `"best"` for each replica's best epoch, `"last"` for its last epoch.
            batch_size: Rows per batch; 32 by default.

        Returns:
            Arrays of shape `(replicas, rows, ...)`, in the structure of the model's output; NaN for
            a replica without finite weights, because it diverged or was not trained.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If the inputs are not arrays in memory, or `which` is none of these.
        """
        return predictions.predict(self.model, self._trained(), x, which, batch_size)

    def ensemble(
        self, replicas: Sequence[int] | None = None, which: str = "best", spread: bool = False
    ) -> keras.Model:
        """Returns one model that predicts the mean of the replicas' predictions.

        It contains one copy of the model, without physics, per replica. It adds only Keras' own
        layers and operations, so it saves, loads and exports like the model without physics.

        Args:
            replicas: Positions of the replicas; `None` for all.
            which: `"best"` for each replica's best epoch, `"last"` for its last epoch.
            spread: Whether to add the standard deviation over the n replicas, with divisor n - 1,
                as an output. The outputs are then `[mean, spread]`. A model with several outputs
                gets as many further ones, named `<name>_spread` in a dict.

        Returns:
            A functional `keras.Model`, not compiled, with the inputs that the prediction needs.

        Raises:
            RuntimeError: If `fit` was not called.
            ValueError: If the model is subclassed, a replica does not exist or has no finite
                weights, or `spread` is true for a single replica.

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
