"""What the physics layer promises as every Keras layer does, whatever its physics and terms."""

import keras
import pytest

import keras_physreg as kp
from tests import problems
from tests.layer_checks import check_layer
from tests.variants import slow_but


def of_doubling():
    return kp.PhysicsRegularization(problems.doubling, problems.terms())


def of_gain():
    return kp.PhysicsRegularization(problems.Gain(), problems.terms())


def of_residual():
    return kp.PhysicsRegularization(problems.residual, {"r": 0.5}, name="known")


def of_bounded_gain():
    return kp.PhysicsRegularization(problems.BoundedGain(), {"x": 0.0, "z": 1.0})


# Layer, losses that a call adds, model.
LAYERS = {
    "a function": (of_doubling, 2, kp.PhysicsModel),
    "a layer": (of_gain, 2, kp.PhysicsModel),
    "a layer with a bounded constant": (of_bounded_gain, 2, kp.PhysicsModel),
    "a residual in a plain model": (of_residual, 1, keras.Model),
}


@pytest.mark.parametrize("kind", slow_but({"a layer"}, LAYERS))
def test_layer(kind):
    make, losses, model_class = LAYERS[kind]
    z, x = problems.data()
    check_layer(make, z, x, losses, model_class, targets=x)
