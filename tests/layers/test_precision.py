"""Dtype policies: the physics computes in float32 or wider under any policy."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests import problems
from tests.problems import data, physics_model, terms
from tests.variants import slow_but

# JAX has no float64 unless its flag is set.
FLOAT64 = pytest.param("float64", marks=pytest.mark.tensorflow)
POLICIES = ["mixed_float16", "mixed_bfloat16", "float32", FLOAT64]


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "physics",
    [problems.doubling, problems.Gain],
    ids=["function", "layer"],
)
def test_training_in_float64(physics):
    """In 16 bits: see test_promises.py."""
    keras.config.set_dtype_policy("float64")
    model = physics_model(physics() if isinstance(physics, type) else physics)
    model.compile("adam", "mse")
    history = model.fit(*data(), epochs=2, verbose=0, validation_data=data()).history
    assert all(np.isfinite(history[key]).all() for key in history)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_prediction_passes_with_its_dtype(policy):
    keras.config.set_dtype_policy(policy)
    model = physics_model()
    assert model.layers[-1].compute_dtype == keras.DTypePolicy(policy).compute_dtype
    assert model.output.dtype == model.layers[-2].compute_dtype
    assert model.predict(data()[0], verbose=0).dtype == model.output.dtype
    for name in ("x", "z"):
        assert kp.inspection.weight_variable(model, name).dtype == "float32"


def seen_dtypes(physics_base):
    seen = []

    def look(z, x_pred):
        seen.extend([z.dtype.name, x_pred.dtype.name])
        return 1e5 * ops.ones_like(x_pred) + 0 * x_pred

    class Look(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Rescaling(1.0)
            self.table = {1: 0.5, "a": 2.0}

        def build(self, *shapes):
            self.late = keras.layers.Rescaling(1.0)

        def call(self, z, x_pred):
            return self.late(self.inner(look(z, x_pred)))

    return seen, (look if physics_base == "function" else Look())


@pytest.mark.parametrize("kind", ["function", "layer"])
@pytest.mark.parametrize("policy", slow_but({"mixed_float16"}, ["mixed_float16", "mixed_bfloat16"]))
def test_physics_sees_float32_and_large_values_survive(policy, kind):
    keras.config.set_dtype_policy(policy)
    seen, physics = seen_dtypes(kind)
    model = physics_model(physics, {"large": 1e-3})
    model.compile("sgd", "mse")
    logs = model.evaluate(*data(), verbose=0, return_dict=True)
    assert set(seen) == {"float32"}
    assert logs["large_loss"] == pytest.approx(1e10, rel=1e-6)
    assert logs["physics_loss"] == pytest.approx(1e7, rel=1e-6)


def test_weights_beyond_float16_stay_finite():
    keras.config.set_dtype_policy("mixed_float16")
    model = physics_model(term_list=terms(x=1e5, z=1e-10))
    model.compile("sgd", "mse")
    logs = model.evaluate(*data(), verbose=0, return_dict=True)
    expected = 1e5 * logs["x_loss"] + 1e-10 * logs["z_loss"]
    assert logs["physics_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.tensorflow
def test_float64_physics_keeps_float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    tiny = 1e-12

    def shifted(z, x_pred):
        return (x_pred + 1) * 0 + 1 + tiny

    model = physics_model(shifted, [kp.PhysicsTerm("t", "target")])
    model.compile("sgd", "mse")
    z, _ = data()
    loss = model.evaluate(z, np.ones((20, 2)), verbose=0, return_dict=True)["physics_loss"]
    assert loss == pytest.approx(tiny**2, rel=1e-2)


def test_plain_model_adds_losses_that_keras_can_sum():
    keras.config.set_dtype_policy("mixed_float16")
    model = physics_model(problems.residual, {"r": 0.5}, model_class=keras.Model)
    model.compile("sgd", "mse")
    history = model.fit(*data(), verbose=0).history
    assert np.isfinite(history["loss"]).all()
