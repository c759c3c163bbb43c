"""WeightScheduler(unit="step"): weights that move inside the training step."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.models import weight_moves
from keras_physreg.schedules.values import weight_at
from tests.callbacks.small_model import Watch, data, half_and_double, physics_model, terms
from tests.variants import slow_but

pytestmark = pytest.mark.tensorflow
REWRITTEN_GRAPHS = "slow"
RAMPS = {
    "x": kp.Chain(
        [kp.GeometricRamp(1e-10, 1.0, 7, begin=2), kp.Staircase([0.5, 0.0], every=3)], [8]
    ),
    "z": kp.CosineRamp(0.0, 3.0, 9),
}


def fit(model, *callbacks, epochs=3, **more):
    more = {"batch_size": 4, "shuffle": False, "verbose": 0, **more}
    return model.fit(*data(), epochs=epochs, callbacks=list(callbacks), **more).history


def from_python(ramps):
    """The same schedules as functions, which a call from Python evaluates."""
    return {name: (lambda time, ramp=ramp: ramp(time)) for name, ramp in ramps.items()}


def weights_seen(ramps, model, **more):
    watch, scheduler = Watch(), kp.WeightScheduler(ramps, unit="step")
    logs = fit(model, watch, scheduler, **more)
    return watch.seen, logs


HOW = {"graph": {}, "jit": {"jit_compile": True}}


@pytest.mark.parametrize("how", slow_but({"graph"}, HOW))
def test_every_step_is_that_of_a_call_from_python(how):
    """Weights, logs, validation and the trained network are the same, bit for bit."""
    found = []
    for ramps in (RAMPS, from_python(RAMPS)):
        keras.utils.set_random_seed(0)
        model = physics_model(learning_rate=0.01, **HOW[how])
        found.append((*weights_seen(ramps, model, validation_data=data(seed=1)), model))
    (seen, logs, model), (seen_python, logs_python, model_python) = found
    assert len(seen) == 15
    assert seen == seen_python
    assert logs == logs_python
    for ours, theirs in zip(model.variables, model_python.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_the_weights_are_those_of_the_schedule():
    seen, _ = weights_seen(RAMPS, physics_model())
    for name, ramp in RAMPS.items():
        expected = np.float32([weight_at(name, ramp, step) for step in range(15)])
        np.testing.assert_array_equal(np.float32([w[name] for w in seen]), expected)


def test_python_sets_no_weight_within_an_epoch(monkeypatch):
    """Else this file compares a path with itself."""
    model, calls = physics_model(), []
    monkeypatch.setattr(
        kp.WeightScheduler, "_set_weights", lambda self, time: calls.append(time) or {}
    )
    fit(model, kp.WeightScheduler(RAMPS, unit="step"))
    assert calls == [0, 5, 10]


def test_a_table_that_ends_within_an_epoch(monkeypatch):
    for module in (weight_moves, kp.callbacks.weight_scheduler):
        monkeypatch.setattr(module, "STEPS_PER_TABLE", 3)
    seen, _ = weights_seen({"z": kp.LinearRamp(0, 100, 100)}, physics_model(), batch_size=2)
    assert [weights["z"] for weights in seen] == [*range(30)]


def test_steps_of_the_optimizer_count_under_accumulation():
    model = physics_model()
    model.compile(keras.optimizers.SGD(0.0, gradient_accumulation_steps=2), "mse")
    seen, logs = weights_seen({"z": kp.LinearRamp(0, 100, 100)}, model)
    assert [weights["z"] for weights in seen] == [step // 2 for step in range(15)]
    assert logs["z_weight"] == [2, 4, 7]


@pytest.mark.slow
def test_trainings_with_and_without_a_schedule_follow_each_other():
    """Each training function is traced once, and keeps its meaning."""
    model, traced = physics_model(), []
    train_step = model.train_step
    model.train_step = lambda data: traced.append(0) or train_step(data)
    ramp = {"z": kp.LinearRamp(0, 100, 100)}
    for first in (0, 10, 20):
        seen, _ = weights_seen(ramp, model, epochs=1)
        assert [weights["z"] for weights in seen] == [*range(first, first + 5)]
        kp.set_term_weights(model, {"z": 0.125})
        logs = fit(model, epochs=1)
        assert kp.get_term_weights(model)["z"] == 0.125
        assert logs["physics_loss"][0] == pytest.approx(
            0.25 * logs["x_loss"][0] + 0.125 * logs["z_loss"][0], rel=1e-5
        )
    assert len(traced) == 2
    model.compile("sgd", "mse")
    seen, _ = weights_seen(ramp, model, epochs=1)
    assert [weights["z"] for weights in seen] == [*range(5)]


@pytest.mark.slow
def test_after_an_interrupted_training_no_step_moves_a_weight():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise KeyboardInterrupt

    model = physics_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, Interrupt(), kp.WeightScheduler({"z": kp.LinearRamp(0, 100, 100)}, "step"))
    kp.set_term_weights(model, {"z": 0.125})
    fit(model)
    model.train_on_batch(*data())
    assert kp.get_term_weights(model)["z"] == 0.125


def test_a_training_inside_of_another_one_moves_no_weight():
    class Inner(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                kp.set_term_weights(self.model, {"z": 0.125})
                fit(model, epochs=1)
                inner.append(kp.get_term_weights(model)["z"])

    model, watch, inner = physics_model(), Watch(), []
    scheduler = kp.WeightScheduler({"z": kp.LinearRamp(0, 100, 100)}, unit="step")
    fit(model, watch, Inner(), scheduler, epochs=1)
    assert inner == [0.125]
    assert [weights["z"] for weights in watch.seen] == [0, 1, 7, 8, 9]


@pytest.mark.slow
def test_two_schedulers_that_count_steps():
    first = kp.WeightScheduler({"x": kp.LinearRamp(0, 100, 100)}, unit="step")
    second = kp.WeightScheduler({"z": kp.LinearRamp(0, 50, 100)}, unit="step")
    watch = Watch()
    fit(physics_model(), first, second, watch, epochs=1)
    assert watch.seen == [{"x": step, "z": step / 2} for step in range(5)]


class OwnStep(kp.PhysicsModel):
    """Two updates per batch."""

    def train_step(self, data):
        for _ in range(2):
            with tf.GradientTape() as tape:
                loss = self.compute_loss(data[0], data[1], self(data[0], training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


@pytest.mark.slow
def test_a_step_of_the_users_own_reads_no_table():
    z = keras.Input((2,))
    layer = kp.PhysicsRegularization(half_and_double, terms())
    model = OwnStep(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    seen, _ = weights_seen({"z": kp.LinearRamp(0, 100, 100)}, model, epochs=1)
    assert [weights["z"] for weights in seen] == [0, 2, 4, 6, 8]
