"""Which trainable variables a term's gradient should reach, and which it does."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from keras_physreg.diagnosis.column_probe import ColumnUse
from keras_physreg.diagnosis.gradient_products import DATA, Gradients
from keras_physreg.diagnosis.network import feeding_variables, network_variables
from keras_physreg.layers.physics_regularization import PhysicsRegularization


@dataclass(frozen=True)
class Connection:
    """Where the gradient of one term arrives.

    Args:
        arrives: Whether it reaches the network, not the physics' own constants alone.
        calibrates: Whether it reaches `Constant`s alone.
        cut_before: Whether the prediction that the physics takes has no gradient either.
        missing: Paths of variables that feed the prediction in the physics and are not reached.
        idle: Paths of those that are reached by a gradient of exactly 0, where that of other
            variables, and that of the data loss, is not.
        reason: Why there is no gradient, in TensorFlow's words, where it gave any.
        constants: Names of the trainable `Constant`s that it reaches.
        use: How the term uses the columns of the prediction, where that matters and is known.
        asked: Whether the term is asked to train constants alone, by `trains` or `at`, and does.
    """

    arrives: bool
    calibrates: bool
    cut_before: bool
    missing: tuple[str, ...]
    idle: tuple[str, ...]
    reason: str | None
    constants: tuple[str, ...] = ()
    use: ColumnUse | None = None
    asked: bool = False


def connection(
    model: keras.Model, layer: PhysicsRegularization, name: str, gradients: Gradients
) -> Connection:
    """Says where the gradient of one term arrives."""
    network = {id(v) for v in network_variables(model, layer, model.trainable_variables)}
    reached = _reached(model, name, gradients)
    feeding = network & {id(v) for v in feeding_variables(model, layer)}
    missing, idle = feeding - reached, feeding & reached & _idle(model, name, gradients)
    calibrates = not reached & network
    calibrates &= bool(reached & {id(constant.raw) for constant in layer.constants})
    term = next(term for term in layer.terms if term.name == name)
    return Connection(
        arrives=bool(reached & network),
        calibrates=calibrates,
        cut_before=name in gradients.cut_before,
        missing=tuple(v.path for v in model.trainable_variables if id(v) in missing),
        idle=tuple(v.path for v in model.trainable_variables if id(v) in idle),
        reason=gradients.reasons.get(name),
        constants=tuple(
            each.name for each in layer.constants if each.trainable and id(each.raw) in reached
        ),
        asked=calibrates and (term.at == "labels" or term.trains == "constants"),
    )


def _reached(model: keras.Model, name: str, gradients: Gradients) -> set[int]:
    connected = zip(model.trainable_variables, gradients.connected[name], strict=True)
    # By identity: two variables may share a path.
    return {id(variable) for variable, is_reached in connected if is_reached}


def _idle(model: keras.Model, name: str, gradients: Gradients) -> set[int]:
    squares = np.diagonal(gradients.by_variable, axis1=1, axis2=2)
    by_term = squares[:, gradients.names.index(name)]
    if not by_term.any():
        return set()
    alive = squares[:, gradients.names.index(DATA)] != 0
    if not any(gradients.connected[DATA]):
        alive = np.ones_like(alive)
    flags = zip(model.trainable_variables, (by_term == 0) & alive, strict=True)
    return {id(variable) for variable, is_idle in flags if is_idle}
