"""Calls the physics of a layer once per group of terms."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_physreg.constants.constant import Constant
from keras_physreg.layers.build_physics import is_built
from keras_physreg.layers.call_physics import Outputs, call_physics, call_unshielded
from keras_physreg.layers.connected_label import check_needs_prediction
from keras_physreg.layers.evaluation import Evaluation
from keras_physreg.layers.groups import Group, grouped
from keras_physreg.layers.label_as_prediction import label_as_prediction
from keras_physreg.layers.network_state import NetworkState
from keras_physreg.layers.row_pairs import check_no_row_pairs
from keras_physreg.layers.selected_rows import SelectedRows, select_rows
from keras_physreg.layers.shield import shield
from keras_physreg.layers.step import current_step, open_step
from keras_physreg.terms.row_weights import fitted


class PhysicsCalls:
    """Calls the physics of a physics layer.

    Args:
        layer: The `PhysicsRegularization`.
        kind: The class `PhysicsRegularization`, which this module cannot import.
    """

    def __init__(self, layer: Any, kind: type) -> None:
        self._layer, self._kind = layer, kind
        groups = grouped(layer.terms)
        self._groups = tuple(group for group in groups if group.at == "prediction")
        self._groups_at_labels = tuple(group for group in groups if group.at == "labels")
        self._checked_signatures: set[Any] = set()
        self._network_state = NetworkState(self._call_unshielded)
        self._is_checked_at_labels = False

    def at_prediction(self, inputs: Any, prediction: Any, training: bool) -> Outputs:
        """Calls the physics for the terms with `at="prediction"`.

        Args:
            inputs: First argument of the physics.
            prediction: Second argument of the physics.
            training: Whether the layer is called in training mode.
        """
        return self._call(self._groups, inputs, prediction, training, {})

    def at_labels(self, evaluation: Evaluation, labels: Any) -> Evaluation | None:
        """Calls the physics for the terms with `at="labels"`.

        Args:
            evaluation: The result of the call of the layer.
            labels: The label, used if the layer was called without `targets`.

        Returns:
            An evaluation of the labelled rows; `None` if there is no such term or no label.
        """
        labelled = evaluation.labelled_part()
        if not self._groups_at_labels or labelled.roots(labels)["target"] is None:
            return None
        step = current_step()
        returned = None if step is None else step.call.outputs
        names = ", ".join(name for group in self._groups_at_labels for name in group.names)
        label = label_as_prediction(evaluation, labelled, labels, returned, names)
        inputs = _stopped(labelled.inputs)
        call = functools.partial(
            self._call,
            self._groups_at_labels,
            inputs,
            training=evaluation.training,
            constants=evaluation.constants,
        )
        if self._is_checked_at_labels:
            outputs = call(label)
        else:
            outputs = check_needs_prediction(call, label)
            self._is_checked_at_labels = True
        if not isinstance(self._layer.physics, keras.Layer):  # It may call the network.
            outputs.values = _stopped(outputs.values)
        return labelled.with_outputs(outputs, inputs, label)

    def _call(
        self,
        groups: tuple[Group, ...],
        inputs: Any,
        prediction: Any,
        training: bool,
        constants: dict[int, Any],
    ) -> Outputs:
        found = Outputs(constants=constants)
        shared = constants if len(self._groups) + len(self._groups_at_labels) > 1 else None
        for group in groups:
            outputs = self._call_group(group, inputs, prediction, training, shared)
            found.values |= {name: outputs.values[name] for name in group.names}
            found.where |= {n: w for n, w in outputs.where.items() if n in group.names}
        return found

    def _call_group(
        self,
        group: Group,
        inputs: Any,
        prediction: Any,
        training: bool,
        constants: dict[int, Any] | None,
    ) -> Outputs:
        layer, step = self._layer, current_step()
        active = sum(layer.weight_variable(name) for name in group.names) > 0
        if step is not None and step.shields_inputs_of(layer):
            inputs = keras.tree.map_structure(lambda t: shield(t, active), inputs)
        if group.trains == "constants" and group.at == "prediction":
            inputs, prediction = _stopped(inputs), _stopped(prediction)
        selected = None
        if group.where is not None:
            selected = select_rows(group.where, inputs, group.names[0])
            inputs, prediction = selected.replace((inputs, prediction))
        call = functools.partial(
            call_physics,
            layer.physics,
            names=layer.term_names,
            layer=layer.name,
            active=active,
            constants=constants,
        )
        guard = self._guard(group, selected)
        if guard is not None:
            self._build(call, inputs, prediction)
            call = functools.partial(call, guard=guard)
        if step is None or step.unshielded:
            outputs = call(inputs, prediction)
        else:
            others = [x for x in step.model.layers if not isinstance(x, self._kind)]
            kept = self._network_state.of(step.model, others, training)
            outputs = kept.call(call, inputs, prediction, active)
        check_no_row_pairs(
            self._call_unshielded, inputs, prediction, outputs.values, self._checked_signatures
        )
        if selected is not None:
            for name in group.names:
                what = f"The `where` of physics term '{name}'"
                weights = fitted(selected.weights, outputs.values[name], what)
                outputs.where[name] = [*outputs.where.get(name, []), weights]
        return outputs

    def _guard(self, group: Group, selected: SelectedRows | None) -> Callable | None:
        """Returns a function that stops gradients to trainable variables, or `None`."""
        if group.trains is None and group.at == "prediction" and selected is None:
            return None
        step = current_step()
        layers = [] if step is None else self._network(step.model.layers)
        network = {id(v) for layer in layers for v in layer.trainable_variables}

        def guard(variable: keras.Variable, value: Any) -> Any:
            of_network = id(variable) in network
            constants_only = group.trains == "constants" or group.at == "labels"
            if constants_only if of_network else group.trains == "network":
                return ops.stop_gradient(value)
            return value if selected is None else selected.if_any(value)

        return guard

    def _network(self, layers: Sequence[keras.Layer]) -> Iterator[keras.Layer]:
        """Yields the layers, and layers of nested models, that are no physics."""
        for layer in layers:
            if isinstance(layer, keras.Model):
                yield from self._network(layer.layers)
            # A subclassed model may hold the physics in an attribute, too.
            elif not isinstance(layer, self._kind | Constant) and layer is not self._layer.physics:
                yield layer

    def _build(self, call: Callable, inputs: Any, prediction: Any) -> None:
        physics = self._layer.physics
        if isinstance(physics, keras.Layer) and not is_built(physics):
            call(inputs, prediction)

    def _call_unshielded(self, inputs: Any, prediction: Any) -> dict[str, Any]:
        with open_step(None, "skip"):  # Layers that the physics calls must not record in the step.
            return call_unshielded(self._layer.physics, inputs, prediction, self._layer.term_names)


def _stopped(structure: Any) -> Any:
    return keras.tree.map_structure(
        lambda tensor: None if tensor is None else ops.stop_gradient(tensor), structure
    )
