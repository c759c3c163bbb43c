"""`fit` with point sets: validation, derivatives, speed, resumption, other models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from keras_physreg.models.step_counts import steps_per_execution
from tests.points import linear
from tests.unlabelled.linear import BATCH, STEPS, data

pytestmark = pytest.mark.tensorflow
X, Y, _ = data()
HELD_OUT = {"pde": linear.points(6, 8)}


def losses(model, points):
    """The losses at the points, in NumPy."""
    return linear.at_the_points(*linear.values(model), points)[0]


def alone(**compile_args):
    return linear.model(linear.OF_POINTS, loss=None, **compile_args)


def test_validation_points():
    model = alone()
    given = {"points": linear.POINTS, "validation_points": HELD_OUT, "verbose": 0}
    history = model.fit(epochs=2, steps_per_epoch=4, **given).history
    assert set(history) == {
        *("loss", "physics_loss", "pde_loss", "wall_loss"),
        *("val_loss", "val_physics_loss", "val_pde_loss"),
    }
    expected = losses(model, HELD_OUT)["pde_loss"]
    assert history["val_pde_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert history["val_loss"][-1] == pytest.approx(0.3 * expected, rel=1e-5)


@pytest.mark.slow
def test_validation_rows_beside_points():
    """A term with points is not computed on other rows of the validation."""
    model = linear.model()
    given = {"points": linear.POINTS, "validation_data": (X[:9], Y[:9]), "verbose": 0}
    history = model.fit(X, Y, **given).history
    assert {"val_x_loss", "val_z_loss"} <= set(history)
    assert not {"val_pde_loss", "val_wall_loss"} & set(history)
    history = model.fit(X, Y, validation_points=HELD_OUT, **given).history
    assert "val_wall_loss" not in history
    weight = {name: linear.WEIGHTS[name] for name in ("x", "z", "pde")}
    expected = losses(model, HELD_OUT)["pde_loss"]
    assert history["val_pde_loss"][0] == pytest.approx(expected, rel=1e-5)
    on_rows = model.evaluate(X[:9], Y[:9], return_dict=True, verbose=0)
    for key in ("data_loss", "x_loss", "z_loss"):
        assert history[f"val_{key}"][0] == pytest.approx(on_rows[key], rel=1e-5)
    total = sum(weight[name] * history[f"val_{name}_loss"][0] for name in weight)
    assert history["val_physics_loss"][0] == pytest.approx(total, rel=1e-5)


@pytest.mark.slow
def test_afterwards_the_model_is_as_before():
    """Evaluation and training without points see the labelled rows again."""
    model, other = linear.model(), linear.model()
    model.fit(X, Y, points=linear.POINTS, validation_points=HELD_OUT, verbose=0)
    other.set_weights(model.get_weights())
    for made in (model, other):
        made.train_on_batch(X[:8], Y[:8])
        made.fit(X, Y, shuffle=False, verbose=0)
    for one, two in zip(linear.values(model), linear.values(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)
    first, second = (m.evaluate(X, Y, return_dict=True, verbose=0) for m in (model, other))
    assert first == pytest.approx(second, rel=1e-6)
    assert set(first) == {"loss", "data_loss", "physics_loss"} | {
        f"{name}_loss" for name in linear.WEIGHTS
    }


class Calls(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)


def test_many_steps_run_as_one_program(monkeypatch):
    """Without labelled rows there are 100 steps per epoch, which Keras runs in one call."""
    model, executed = alone(), []
    make = model.make_train_function

    def made(force=False):
        executed.append(model.steps_per_execution)
        make(force)

    monkeypatch.setattr(model, "make_train_function", made)
    given = {"points": linear.POINTS, "verbose": 0}
    model.fit(**given)
    assert int(model.optimizer.iterations) == 100
    assert executed == [100]
    assert model.steps_per_execution == 1
    model.fit(steps_per_epoch=250, **given)
    assert executed[-1] == 50
    assert int(model.optimizer.iterations) == 350
    each = Calls()
    model.fit(steps_per_epoch=3, callbacks=[each], **given)
    assert each.batches == [0, 1, 2]


@pytest.mark.parametrize("executed", [1, 4], ids=["chosen for the user", "given"])
def test_labelled_arrays_repeat_beside_points_until_an_epoch_has_its_steps(executed):
    """Three passes in one epoch, as many steps as three epochs have."""
    model = linear.model(steps_per_execution=executed)
    z, y, trust = data()
    given = {"x": z, "y": y, "sample_weight": trust, "batch_size": BATCH}
    given |= {"points": linear.POINTS, "shuffle": False, "verbose": 0}
    course, _ = linear.train(linear.values(model), 5, linear.whole)
    history = model.fit(steps_per_epoch=3 * STEPS, **given)
    assert int(model.optimizer.iterations) == 3 * STEPS
    assert history.epoch == [0]
    for one, other in zip(linear.values(model), course[3 * STEPS - 1], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
    assert model.steps_per_execution == executed
    # The second epoch goes on with the third part of the rows.
    model.fit(epochs=2, steps_per_epoch=2, **given)
    assert int(model.optimizer.iterations) == 3 * STEPS + 4
    for one, other in zip(linear.values(model), course[3 * STEPS + 3], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_labelled_arrays_beside_points_need_one_call_per_epoch():
    model, each = linear.model(), Calls()
    given = {"x": X[:9], "y": Y[:9], "batch_size": 9, "points": linear.POINTS, "verbose": 0}
    seen = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(executed()))

    def executed():
        return model.steps_per_execution

    model.fit(epochs=2, steps_per_epoch=120, callbacks=[count], **given)
    assert seen == [60, 60]
    model.fit(steps_per_epoch=5, callbacks=[each], **given)
    assert each.batches == [0, 1, 2, 3, 4]
    assert int(model.optimizer.iterations) == 245


def test_a_failed_call_leaves_the_steps_per_execution():
    model = linear.model()
    with pytest.raises(ValueError, match="shuffle"):
        model.fit(X, Y, points=linear.POINTS, steps_per_epoch=10, shuffle="batch")
    assert model.steps_per_execution == 1


def test_callbacks_that_act_per_epoch_do_not_slow_it_down(tmp_path):

    model = alone()
    per_epoch = [
        keras.callbacks.ModelCheckpoint(tmp_path / "model.keras"),
        kp.WeightScheduler({"pde": kp.LinearRamp(0.0, 1.0, duration=2)}),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
    ]
    assert steps_per_execution(model, 100, per_epoch) == 100
    per_step = kp.WeightScheduler({"pde": kp.LinearRamp(0.0, 1.0, duration=2)}, unit="step")
    assert steps_per_execution(model, 100, [per_step]) == 1
    model.compile("sgd", None, steps_per_execution=7)
    assert steps_per_execution(model, 105, []) == 7


def test_other_points_of_the_same_shape_need_no_new_trace():
    traced = []

    def counting(z, x_pred):
        traced.append(None)
        return x_pred - z[:, 1:]

    z = keras.Input((3,))
    layer = kp.PhysicsRegularization({"pde": counting}, {"pde": 1.0})
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile(keras.optimizers.SGD(0.1), None)
    model.fit(points={"pde": linear.points(6, 1)}, steps_per_epoch=2, verbose=0)
    count, new = len(traced), {"pde": linear.points(6, 2)}
    expected = [
        linear.at_the_points(*linear.values(model), new)[0]["pde_loss"],
    ]
    found = model.fit(points=new, steps_per_epoch=2, verbose=0).history["pde_loss"][0]
    assert len(traced) == count
    # The mean over two steps, of which the second has the smaller loss.
    expected.append(linear.at_the_points(*linear.values(model), new)[0]["pde_loss"])
    assert expected[1] < found < expected[0]
    model.fit(points={"pde": linear.points(9, 3)}, steps_per_epoch=2, verbose=0)
    assert len(traced) > count


@pytest.mark.slow
def test_a_sampler_goes_on_where_the_last_fit_ended():
    sampler = kp.UniformSampler([-1.0] * 3, [1.0] * 3, seed=2)
    given = {"points": {"pde": sampler, "wall": linear.POINTS["wall"]}, "verbose": 0}
    given |= {"points_batch_size": {"pde": 5}, "steps_per_epoch": 2}
    whole, parts = alone(), alone()
    whole.fit(epochs=3, **given)
    for _ in range(3):
        parts.fit(epochs=1, **given)
    for one, two in zip(linear.values(whole), linear.values(parts), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)


@pytest.mark.slow
def test_a_loaded_model_goes_on(tmp_path):
    model = alone()
    given = {"points": linear.POINTS, "steps_per_epoch": 3, "verbose": 0}
    model.fit(**given)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for made in (model, loaded):
        made.fit(**given)
    for one, two in zip(linear.values(model), linear.values(loaded), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)


def curvature(z, u):
    """Second derivative by the second column: u is differentiated by the input of the model."""
    slope = tf.gradients(u, z)[0][:, 1:]
    return tf.gradients(slope, z)[0][:, 1:] - 1.0


def level(z, u):
    return u


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_derivatives_of_joined_rows_equal_those_of_each_set_alone(jit):
    """With a hand-written gradient of both terms: each is differentiated on its own points."""
    keras.utils.set_random_seed(0)
    z = keras.Input((2,))
    u = keras.layers.Dense(1)(keras.layers.Dense(5, activation="tanh")(z))
    layer = kp.PhysicsRegularization({"a": curvature, "b": level}, {"a": 1.0, "b": 2.0})
    model = kp.PhysicsModel(z, layer(z, u))
    model.compile(keras.optimizers.SGD(0.1), None, jit_compile=jit)
    points = {"a": linear.points(7, 0)[:, :2], "b": linear.points(4, 1)[:, :2]}
    network = kp.strip_physics(model)

    @tf.function
    def expected():
        with tf.GradientTape() as tape:
            at_a, at_b = (tf.constant(points[name]) for name in "ab")
            total = tf.reduce_mean(curvature(at_a, network(at_a)) ** 2)
            total += 2.0 * tf.reduce_mean(network(at_b) ** 2)
        return total, tape.gradient(total, network.trainable_variables)

    total, gradients = expected()
    before = [v.numpy() for v in model.trainable_variables]
    history = model.fit(points=points, steps_per_epoch=1, verbose=0).history
    assert history["loss"][0] == pytest.approx(float(total), rel=1e-5)
    for old, gradient, new in zip(before, gradients, model.trainable_variables, strict=True):
        np.testing.assert_allclose(new.numpy(), old - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_a_subclassed_model_with_inputs_in_a_dict():
    class Field(kp.PhysicsModel):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)
            functions = {
                "a": lambda z, u: u["u"] - z["t"],
                "b": lambda z, u: u["u"],
            }
            self.physics = kp.PhysicsRegularization(functions, {"a": 1.0, "b": 1.0})

        def call(self, z):
            return self.physics(z, {"u": self.dense(ops.concatenate([z["x"], z["t"]], -1))})

    def given(rows, seed):
        x, t, _ = np.split(linear.points(rows, seed), 3, axis=1)
        return {"x": x, "t": t}

    points = {"a": given(6, 0), "b": given(3, 1)}
    model = Field()
    model.compile(keras.optimizers.SGD(0.0), None)
    found = model.fit(points=points, steps_per_epoch=1, verbose=0).history
    kernel, bias = linear.values(model)
    u = {k: np.concatenate([p["x"], p["t"]], 1) @ kernel + bias for k, p in points.items()}
    assert found["a_loss"][0] == pytest.approx(np.mean((u["a"] - points["a"]["t"]) ** 2), rel=1e-5)
    assert found["b_loss"][0] == pytest.approx(np.mean(u["b"] ** 2), rel=1e-5)


def test_constants_of_two_sets_have_one_value():
    """A constant that two physics layers share trains on the points of both."""
    constant = kp.Constant(2.0, name="nu")

    class Term(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.nu = constant

        def call(self, z, x_pred):
            return self.nu() * z[:, :2] - x_pred

    z = keras.Input((3,))
    layer = kp.PhysicsRegularization({"a": Term(), "b": Term()}, {"a": 1.0, "b": 1.0})
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile(keras.optimizers.SGD(0.01), None)
    points = {"a": linear.points(6, 0), "b": linear.points(3, 1)}
    kernel, bias = linear.values(model)[:2]
    assert kernel.shape == (3, 2)
    off = {name: 2.0 * rows[:, :2] - rows @ kernel - bias for name, rows in points.items()}
    found = model.fit(points=points, steps_per_epoch=1, verbose=0).history
    for name, values in off.items():
        assert found[f"{name}_loss"][0] == pytest.approx(np.mean(values**2), rel=1e-5)
    assert kp.get_constants(model)["nu"] != 2.0


@pytest.mark.slow
def test_second_derivatives_by_xla_beside_labelled_rows():
    """They need batches of one size: TensorFlow cannot take them otherwise, and we say so."""
    z = keras.Input((2,))
    u = keras.layers.Dense(1)(keras.layers.Dense(5, activation="tanh")(z))
    layer = kp.PhysicsRegularization({"a": curvature, "b": level}, {"a": 1.0, "b": 2.0})
    model = kp.PhysicsModel(z, layer(z, u))
    model.compile("sgd", "mse", jit_compile=True)
    points = {"a": linear.points(7, 0)[:, :2], "b": linear.points(4, 1)[:, :2]}
    given = {"points": points, "batch_size": 4, "verbose": 0}
    found = model.fit(X[:12, :2], Y[:12, :1], **given).history
    assert np.isfinite(found["a_loss"][0])
    with pytest.raises(LookupError, match="a `batch_size` that divides the number of labelled"):
        model.fit(X[:10, :2], Y[:10, :1], **given)


def test_pairs_of_points():
    """A periodic condition compares the two halves of its points: it has a value per pair."""

    def periodic(z, u):
        left, right = ops.split(u, 2)
        return right - left

    z = keras.Input((3,))
    layer = kp.PhysicsRegularization({"law": level, "ends": periodic}, {"law": 1.0, "ends": 1.0})
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(1)(z)))
    model.compile("sgd", None)
    points = {"law": linear.points(5, 0), "ends": linear.points(8, 1)}
    kernel, bias = linear.values(model)
    u = points["ends"] @ kernel + bias
    found = model.fit(points=points, steps_per_epoch=1, verbose=0).history["ends_loss"][0]
    assert found == pytest.approx(np.mean((u[4:] - u[:4]) ** 2), rel=1e-5)
