"""Calls the physics of a layer once per group of terms."""

import contextlib
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
        groups = grouped(layer.functions, layer.terms)
        self._groups = tuple(group for group in groups if group.at == "prediction")
        self._groups_at_labels = tuple(group for group in groups if group.at == "labels")
        self._unshielded = {
            group.returned: functools.partial(_call_unshielded, group) for group in groups
        }
        self._checked_signatures: dict[Any, set[Any]] = {key: set() for key in self._unshielded}
        self._network_states = {key: NetworkState(call) for key, call in self._unshielded.items()}
        self._is_checked_at_labels = False

    def at_prediction(
        self, inputs: Any, prediction: Any, targets: Any, training: bool, mask: Any
    ) -> Evaluation:
        """Calls the physics for the terms with `at="prediction"`.

        Args:
            inputs: First argument of the physics.
            prediction: Second argument of the physics.
            targets: The label, or `None`.
            training: Whether the layer is called in training mode.
            mask: Keras masks of the prediction, in its structure, or `None`.
        """
        step = current_step()
        points = None if step is None else step.call.points
        kinds = None if step is None else step.call.kinds
        constants: dict[int, Any] = {}
        made = functools.partial(
            Evaluation,
            self._layer,
            training=training,
            called_with=prediction,
            constants=constants,
        )

        def evaluated(groups: tuple[Group, ...], rows: tuple[Any, ...], **more: Any) -> Evaluation:
            inputs, prediction, targets, mask = rows
            outputs = self._call(groups, inputs, prediction, training, constants)
            found = {"where": outputs.where, "mask": mask, **more}
            return made(outputs.values, inputs, prediction, targets, **found)

        given = (inputs, prediction, targets, mask)
        if points is None:
            return evaluated(self._groups, given, kinds=kinds)
        rows, of_term = points.split(given)
        own = tuple(g for g in self._groups if not {*g.names} & {*of_term, *points.skipped})
        at_points = {}
        for group in self._groups:
            term = group.names[0]
            if term in of_term:
                with contextlib.nullcontext() if points.is_one else _explaining_derivatives(term):
                    at_points[term] = evaluated((group,), of_term[term])
        more = {"at_points": at_points, "skipped": points.skipped}
        return evaluated(own, rows, kinds=kinds, **more)

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
        for group in self._groups_at_labels:
            if not isinstance(group.physics, keras.Layer):  # It may call the network.
                stopped = {name: ops.stop_gradient(outputs.values[name]) for name in group.names}
                outputs.values |= stopped
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
            group.physics,
            names=group.returned,
            layer=layer.name,
            active=active,
            constants=constants,
        )
        guard = self._guard(group, selected)
        if guard is not None:
            if isinstance(group.physics, keras.Layer) and not is_built(group.physics):
                call(inputs, prediction)
            call = functools.partial(call, guard=guard)
        if step is None or step.unshielded:
            outputs = call(inputs, prediction)
        else:
            others = [x for x in step.model.layers if not isinstance(x, self._kind)]
            kept = self._network_states[group.returned].of(step.model, others, training)
            outputs = kept.call(call, inputs, prediction, active)
        checked = self._checked_signatures[group.returned]
        unshielded = self._unshielded[group.returned]
        check_no_row_pairs(unshielded, inputs, prediction, outputs.values, checked)
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
            elif not isinstance(layer, self._kind | Constant) and not any(
                layer is physics for physics in self._layer.functions
            ):
                yield layer


@contextlib.contextmanager
def _explaining_derivatives(term: str) -> Iterator[None]:
    """Adds the cure to an error from a derivative of joined rows that does not exist."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        if "None" not in str(error):
            raise
        raise type(error)(
            f"{error}\n\nWith point sets the model is called on all rows joined. Physics that "
            "uses `tf.gradients` then finds derivatives by the model's own inputs only, and none "
            "by what is computed from them. Let the network return the derivatives that "
            f"'{term}' needs: `keras_physreg.Derivatives`."
        ) from error


def _call_unshielded(group: Group, inputs: Any, prediction: Any) -> dict[str, Any]:
    with open_step(None, "skip"):  # Layers that the physics calls must not record in the step.
        return call_unshielded(group.physics, inputs, prediction, group.returned)


def _stopped(structure: Any) -> Any:
    return keras.tree.map_structure(
        lambda tensor: None if tensor is None else ops.stop_gradient(tensor), structure
    )
