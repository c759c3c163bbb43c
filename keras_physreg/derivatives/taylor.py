"""Network as a list of steps through which jets pass: the Taylor mode of differentiation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.functional import Functional
from keras_physreg.derivatives import layer_rules, operation_rules
from keras_physreg.derivatives.jet import Jet


@dataclass(frozen=True)
class Slot:
    """The place of a tensor in the list of all tensors of a network."""

    position: int


@dataclass(frozen=True)
class Step:
    """A call of a layer or operation, or of a nested network.

    Args:
        part: `keras.layers.Layer`, `keras.Operation` or `Taylor`.
        args: Its arguments, with a `Slot` for each tensor of the network.
        result: The slot of its result.
    """

    part: Any
    args: tuple
    result: Slot


@dataclass(frozen=True)
class Taylor:
    """The steps of a network, each of which has a rule for jets.

    Args:
        steps: The steps, in the order of computation.
        inputs: Slots of the inputs of the network.
        output: Slot of its output.
    """

    steps: tuple[Step, ...]
    inputs: tuple[Slot, ...]
    output: Slot

    @classmethod
    def of(cls, network: keras.layers.Layer) -> Taylor | None:
        """Returns the steps of a built network; `None` if a part of it has no rule."""
        if type(network) is keras.Sequential:
            return cls._of_layers(network.layers)
        if type(network) is Functional:
            return cls._of_functional(network)
        return cls._of_layers([network]) if layer_rules.has_rule(network) else None

    def has_rules(self, training: bool) -> bool:
        """Returns whether the rules hold: in training mode not for random layers."""
        return not training or not any(
            not step.part.has_rules(True)
            if isinstance(step.part, Taylor)
            else layer_rules.is_random(step.part)
            for step in self.steps
        )

    def run(self, jets: list[Jet]) -> Jet:
        """Returns the jet of the output.

        Where all rules allow it, the rows are along the last axis meanwhile: a processor is faster
        on one long axis than on many short ones, as those of narrow layers are.

        Args:
            jets: The jets of the inputs, in the order of `keras.tree.flatten`.
        """
        if self._is_transposable and all(len(jet.value.shape) == 2 for jet in jets):
            turned = [jet.linear(ops.transpose) for jet in jets]
            return self._run(turned, True).linear(ops.transpose)
        return self._run(jets, False)

    @property
    def _is_transposable(self) -> bool:
        """Returns whether all steps have a rule for jets with the rows along the last axis."""
        return all(
            step.part._is_transposable
            if isinstance(step.part, Taylor)
            else layer_rules.is_transposable(step.part)
            if isinstance(step.part, keras.layers.Layer)
            else operation_rules.is_transposable(step.part, step.args)
            for step in self.steps
        )

    def _run(self, jets: list[Jet], transposed: bool) -> Jet:
        known = {slot.position: jet for slot, jet in zip(self.inputs, jets, strict=True)}

        def filled(value: Any) -> Any:
            return known[value.position] if isinstance(value, Slot) else value

        for step in self.steps:
            args = keras.tree.map_structure(filled, step.args)
            known[step.result.position] = _apply(step.part, args, transposed)
        return known[self.output.position]

    @classmethod
    def _of_layers(cls, layers: list[keras.layers.Layer]) -> Taylor | None:
        """Returns the steps of layers of one input, called one after the other."""
        parts = [_part(layer) for layer in layers]
        if any(part is None for part in parts):
            return None
        steps = tuple(Step(part, (Slot(i),), Slot(i + 1)) for i, part in enumerate(parts))
        return cls(steps, (Slot(0),), Slot(len(steps)))

    @classmethod
    def _of_functional(cls, network: keras.Model) -> Taylor | None:
        calls, inputs, outputs = _recorded(network)
        if len(outputs) != 1:
            return None
        slots: dict[int, Slot] = {}

        def slot(value: Any) -> Any:
            if not isinstance(value, keras.KerasTensor):
                return value
            return slots.setdefault(id(value), Slot(len(slots)))

        steps = []
        for part, args, kwargs, result in calls:
            if not all(value is None or value is False for value in keras.tree.flatten(kwargs)):
                return None  # Such as `training=True`, which the rules do not know.
            usable = _part(part) if isinstance(part, keras.layers.Layer) else part
            is_operation = usable is part and not isinstance(part, keras.layers.Layer)
            if is_operation and not operation_rules.has_rule(part, args):
                return None
            if usable is None or not isinstance(result, keras.KerasTensor):
                return None
            if not is_operation and not _are_tensors(args):
                return None  # The rules of layers know no constants.
            args = keras.tree.map_structure(slot, args)
            steps.append(Step(usable, args, slot(result)))
        return cls(tuple(steps), tuple(map(slot, inputs)), slot(outputs[0]))


def _part(layer: Any) -> Any:
    """Returns what a step calls for a layer; `None` if there is no rule."""
    if layer_rules.has_rule(layer):
        return layer
    return Taylor.of(layer) if type(layer) in (keras.Sequential, Functional) else None


def _are_tensors(args: Any) -> bool:
    return all(isinstance(arg, keras.KerasTensor) for arg in keras.tree.flatten(args))


def _apply(part: Any, args: tuple, transposed: bool) -> Jet:
    if not isinstance(part, Taylor | keras.layers.Layer):
        return operation_rules.apply(part, args)
    jets = [jet for jet in keras.tree.flatten(args) if isinstance(jet, Jet)]
    if isinstance(part, Taylor):
        return part._run(jets, transposed)
    return layer_rules.apply(part, jets, transposed)


def _recorded(network: keras.Model) -> tuple[list[tuple], list[Any], list[Any]]:
    """Returns all calls in a functional model, its inputs and its outputs, as symbolic tensors."""
    calls: list[tuple] = []

    def record(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = layer(*args, **kwargs)
        calls.append((layer, args, kwargs, result))
        return result

    # A view, because the clone of a compiled model would be compiled, too.
    view = keras.Model(network.input, network.output, name=network.name)
    clone = keras.models.clone_model(view, clone_function=lambda layer: layer, call_function=record)
    return calls, keras.tree.flatten(clone.input), clone.outputs
