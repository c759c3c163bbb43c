"""Keeps the state of the network where it is while all physics that calls it is switched off.

Physics that calls layers of the model moves what they update in training: the moving averages of
batch normalisation, the seeds of dropout. At weight 0 the model must train as without physics.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


class NetworkState:
    """What physics moves in layers of the models that hold it.

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
        """Returns the state of some layers of a model, in training or not."""
        known = self._models.setdefault(model, {})
        if training not in known:
            variables = [v for layer in layers for v in layer.non_trainable_variables]
            known[training] = KeptState(self._physics, variables)
        return known[training]


class KeptState:
    """Variables that physics must leave as they are unless it is active.

    Args:
        physics: Function `(inputs, prediction) -> outputs`.
        variables: Variables of layers that the physics may call.
    """

    def __init__(self, physics: Callable, variables: Sequence[keras.Variable]) -> None:
        self._physics = physics
        self._variables = list({id(variable): variable for variable in variables}.values())
        self._are_moved = not self._variables

    def call(self, call: Callable, inputs: Any, prediction: Any, active: Any) -> Any:
        """Calls the physics, and puts back what it moves unless it is active.

        Args:
            call: Function `(inputs, prediction) -> outputs` by which to call it.
            inputs: What it takes first.
            prediction: What it takes second.
            active: Scalar boolean tensor: whether any weight of the physics is above 0.

        Returns:
            What `call` returns.
        """
        # Copies: what converts a variable to a tensor may read it later only.
        before = {id(v): ops.copy(v) for v in self._variables}
        outputs = call(inputs, prediction)
        if not self._are_moved:  # The first call creates what the physics creates.
            self._variables = _moved(self._physics, inputs, prediction, self._variables)
            self._are_moved = True
        for variable in self._variables:
            variable.assign(ops.where(active, ops.copy(variable), before[id(variable)]))
        return outputs


def _moved(
    physics: Callable, inputs: Any, prediction: Any, variables: list[keras.Variable]
) -> list[keras.Variable]:
    """Returns the variables that a call assigns, seen on symbols; all where that fails."""
    watched = _Watched(physics, variables)
    try:
        watched.compute_output_spec(*keras.tree.map_structure(_spec, (inputs, prediction)))
    except Exception:  # The user's physics need not run on symbols.
        return variables
    return watched.moved


def _spec(tensor: Any) -> Any:
    if not hasattr(tensor, "shape"):
        return tensor
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return keras.KerasTensor(tuple(tensor.shape), dtype=dtype)


class _Watched(keras.Operation):
    """Runs a function on symbols, in a scope that shows which variables it assigns."""

    def __init__(self, function: Callable, variables: list[keras.Variable]) -> None:
        super().__init__(name="watched_physics")
        self._function, self._variables = function, variables
        self.moved = variables

    def call(self, inputs: Any, prediction: Any) -> Any:
        """Returns what the function returns."""
        scope = keras.StatelessScope(initialize_variables=False)
        with scope:
            outputs = self._function(inputs, prediction)
        self.moved = [v for v in self._variables if scope.get_current_value(v) is not None]
        return outputs
