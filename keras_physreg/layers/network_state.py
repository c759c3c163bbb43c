"""Restores the state of the network after physics that calls it, unless the physics is active.

Physics that calls layers of the model updates their state: the moving averages of batch
normalisation, the seeds of dropout. With all weights 0 the model must train as without physics.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


class NetworkState:
    """The state that physics updates in layers of its models.

    Args:
        physics: Function `(inputs, prediction) -> outputs`.
    """

    def __init__(self, physics: Callable) -> None:
        self._physics = physics
        self._models: weakref.WeakKeyDictionary[Any, dict[bool, KeptState]]
        self._models = weakref.WeakKeyDictionary()

    def of(
        self, model: keras.Model, layers: Sequence[keras.layers.Layer], training: bool
    ) -> "KeptState":
        """Returns the state of some layers of a model.

        Args:
            model: A model that contains the physics.
            layers: Layers of the model that the physics may call.
            training: Whether they run in training mode.
        """
        known = self._models.setdefault(model, {})
        if training not in known:
            variables = [v for layer in layers for v in layer.non_trainable_variables]
            known[training] = KeptState(self._physics, variables)
        return known[training]


class KeptState:
    """Variables that are restored after the physics, unless it is active.

    Args:
        physics: Function `(inputs, prediction) -> outputs`.
        variables: Variables of layers that the physics may call.
    """

    def __init__(self, physics: Callable, variables: Sequence[keras.Variable]) -> None:
        self._physics = physics
        self._variables = list({id(variable): variable for variable in variables}.values())
        self._are_selected = not self._variables

    def call(self, call: Callable, inputs: Any, prediction: Any, active: Any) -> Any:
        """Calls the physics, and restores the variables unless the physics is active.

        Args:
            call: Function `(inputs, prediction) -> outputs` that calls the physics.
            inputs: First argument of `call`.
            prediction: Second argument of `call`.
            active: Scalar boolean tensor: whether any weight of the physics is above 0.

        Returns:
            The outputs of `call`.
        """
        # Copies: a tensor converted from a variable may be read only later, after an update.
        before = {id(v): ops.copy(v) for v in self._variables}
        outputs = call(inputs, prediction)
        if not self._are_selected:  # Only now: the first call creates the physics' own variables.
            self._variables = _updated(self._physics, inputs, prediction, self._variables)
            self._are_selected = True
        for variable in self._variables:
            variable.assign(ops.where(active, ops.copy(variable), before[id(variable)]))
        return outputs


def _updated(
    physics: Callable, inputs: Any, prediction: Any, variables: list[keras.Variable]
) -> list[keras.Variable]:
    """Returns the variables that a call assigns, found by a symbolic call; all if that fails."""
    watched = _Watched(physics, variables)
    try:
        watched.compute_output_spec(*keras.tree.map_structure(_spec, (inputs, prediction)))
    except Exception:  # The user's physics may not run on symbolic tensors.
        return variables
    return watched.updated


def _spec(tensor: Any) -> Any:
    if not hasattr(tensor, "shape"):
        return tensor
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return keras.KerasTensor(tuple(tensor.shape), dtype=dtype)


class _Watched(keras.Operation):
    """Runs a function on symbolic tensors, in a scope that records which variables it assigns."""

    def __init__(self, function: Callable, variables: list[keras.Variable]) -> None:
        super().__init__(name="watched_physics")
        self._function, self._variables = function, variables
        self.updated = variables

    def call(self, inputs: Any, prediction: Any) -> Any:
        """Calls the function, and selects the variables that it assigned."""
        scope = keras.StatelessScope(initialize_variables=False)
        with scope:
            outputs = self._function(inputs, prediction)
        self.updated = [v for v in self._variables if scope.get_current_value(v) is not None]
        return outputs
