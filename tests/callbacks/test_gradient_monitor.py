import copy
import math

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.diagnosis.gradients import gradients
from tests.diagnosis.linear import data, linear_model, unbuilt_model
from tests.variants import slow_but

KEYS = ["t_grad_norm", "t_grad_ratio", "t_grad_cosine"]


def model_with_term(weight=0.3, cls=kp.PhysicsModel):
    return linear_model(lambda z, x: x - 2 * z[:, :2], {"t": weight}, cls)


@pytest.mark.parametrize("cls", slow_but({kp.PhysicsModel}, [kp.PhysicsModel, keras.Model]))
@pytest.mark.parametrize("batch_size", slow_but({32}, [256, 32]))
def test_logs_are_those_of_the_model_after_the_epoch(cls, batch_size):
    z, x = data()
    model = model_with_term(cls=cls)
    monitor = kp.GradientMonitor(z, x, batch_size=batch_size)
    history = model.fit(z, x, epochs=2, callbacks=[monitor], verbose=0).history
    found = gradients(model, z, x)
    expected = [
        found.norm("t"),
        0.3 * found.norm("t") / found.norm("data"),
        found.cosine("data", "t"),
    ]
    np.testing.assert_allclose([history[key][-1] for key in KEYS], expected, rtol=1e-5)
    assert {key: history[key] for key in KEYS} == monitor.history
    assert monitor.epochs == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("cls", slow_but({kp.PhysicsModel}, [kp.PhysicsModel, keras.Model]))
def test_a_model_that_its_first_step_builds(cls):
    z, x = data()
    model = unbuilt_model(cls)
    monitor = kp.GradientMonitor(z, x)
    model.fit(z, x, epochs=2, callbacks=[monitor], verbose=0)
    found = gradients(model, z, x)
    np.testing.assert_allclose(monitor.history["t_grad_norm"][-1], found.norm("t"), rtol=1e-5)
    cosine = found.cosine("data", "t")
    np.testing.assert_allclose(monitor.history["t_grad_cosine"][-1], cosine, rtol=1e-5)


def test_training_is_bit_for_bit_the_same():
    z, x = data()

    def run(callbacks):
        model = model_with_term()
        model.compile("adam", "mse", metrics=["mae"])
        history = model.fit(z, x, epochs=3, callbacks=callbacks, verbose=0).history
        return [v.numpy().tobytes() for v in model.variables], history["loss"], history["mae"]

    assert run([kp.GradientMonitor(z, x)]) == run([])


@pytest.mark.slow
def test_every_and_initial_epoch():
    z, x = data()
    model = model_with_term()
    monitor = kp.GradientMonitor(z, x, every=3)
    history = model.fit(z, x, epochs=7, callbacks=[monitor], verbose=0).history
    assert monitor.epochs == [0, 3, 6]
    assert len(history["t_grad_norm"]) == 3
    model.fit(z, x, epochs=8, initial_epoch=5, callbacks=[monitor], verbose=0)
    assert monitor.epochs == [5]


def test_the_weight_is_that_of_the_epoch():
    z, x = data()
    model = model_with_term()

    def halve(epoch, logs):
        kp.set_term_weights(model, {"t": 0.5**epoch})

    steer = keras.callbacks.LambdaCallback(on_epoch_begin=halve)
    monitor = kp.GradientMonitor(z, x)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(z, x, epochs=3, callbacks=[steer, monitor], verbose=0)
    ratios = np.array(monitor.history["t_grad_ratio"])
    np.testing.assert_allclose(ratios[1:] / ratios[:-1], 0.5, rtol=1e-5)


def test_a_disconnected_term_warns_and_logs_nan():
    z, x = data()
    model = linear_model(lambda z, x: keras.ops.stop_gradient(x), {"t": 0.3})
    monitor = kp.GradientMonitor(z, x)
    with pytest.warns(UserWarning, match="no gradient of physics term 't'") as caught:
        history = model.fit(z, x, epochs=2, callbacks=[monitor], verbose=0).history
    by_the_monitor, by_fit = sorted(caught, key=lambda each: "GradientMonitor" not in str(each))
    assert "trains nothing" in str(by_fit.message)
    assert "GradientMonitor" in str(by_the_monitor.message)
    assert all(math.isnan(value) for key in KEYS for value in history[key])


def test_without_labels_there_are_norms_alone():
    z, x = data()
    model = model_with_term()
    monitor = kp.GradientMonitor(z)
    model.fit(z, x, callbacks=[monitor], verbose=0)
    assert monitor.history["t_grad_norm"][0] > 0
    assert math.isnan(monitor.history["t_grad_ratio"][0])
    assert math.isnan(monitor.history["t_grad_cosine"][0])


def test_probe_set_is_drawn_once():
    z, x = data(500)
    monitor = kp.GradientMonitor(z, x)
    again = kp.GradientMonitor(z, x)
    assert len(monitor.rows.numbers) == 256
    np.testing.assert_array_equal(monitor.rows.numbers, again.rows.numbers)


@pytest.mark.slow
def test_a_deep_copy_works_on_its_own():
    z, x = data()
    monitor = kp.GradientMonitor(z, x)
    copied = copy.deepcopy(monitor)
    model = model_with_term()
    model.fit(z, x, callbacks=[copied], verbose=0)
    assert (monitor.epochs, copied.epochs) == ([], [0])
    np.testing.assert_allclose(
        copied.history["t_grad_norm"][0], gradients(model, z, x).norm("t"), rtol=1e-5
    )


@pytest.mark.slow
def test_recompiled_model_is_measured_anew():
    z, x = data()
    model = model_with_term()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    monitor = kp.GradientMonitor(z, x)
    model.fit(z, x, callbacks=[monitor], verbose=0)
    before = monitor.history["t_grad_ratio"][0]
    model.compile(keras.optimizers.SGD(0.0), lambda y, p: 4 * keras.ops.mean((y - p) ** 2, axis=-1))
    model.fit(z, x, callbacks=[monitor], verbose=0)
    assert monitor.history["t_grad_ratio"][0] == pytest.approx(before / 4, rel=1e-5)


Z, X = data()


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"every": 0}, ValueError, "`every` must be an integer >= 1. Received: every=0"),
        ({"every": 1.5}, TypeError, r"`every` must be an integer >= 1. Received: every=1.5"),
        ({"batch_size": -3}, ValueError, "`batch_size` must be"),
        ({"max_samples": 0}, ValueError, "`max_samples` must be"),
        ({"y": X[:4]}, ValueError, "same number of rows"),
        ({"x": None, "y": None}, TypeError, "`x` must be an array.*Received: x=None"),
        ({"y": X.astype(str)}, TypeError, r"`y` must hold numbers.*shape \(70, 2\) and dtype <U32"),
        ({"sample_weight": ["a"] * 70}, ValueError, "must be arrays"),
    ],
)
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        kp.GradientMonitor(**{"x": Z, "y": X, **kwargs})


def test_a_model_without_terms_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="has no physics terms"):
        model.fit(Z, X, callbacks=[kp.GradientMonitor(Z, X)], verbose=0)


BAD_ROWS = {
    "columns": (Z[:, :2], X, r"takes inputs `x` of shape \(rows, 3\).*x of shape \(70, 2\)"),
    "text": (Z.astype(str), X, r"takes inputs `x` of numbers \(float32\).*dtype <U32"),
    "labels": (Z, np.zeros((70, 3)), r"on the probe rows \(x of shape .*y of shape \(70, 3\)\): "),
}


@pytest.mark.parametrize("eager", slow_but({False}, [False, True]))
@pytest.mark.parametrize("batch_size", slow_but({32}, [256, 32]))
@pytest.mark.parametrize("kind", BAD_ROWS)
def test_rows_that_the_model_cannot_take_are_refused_before_training(kind, batch_size, eager):
    x, y, message = BAD_ROWS[kind]
    model = model_with_term()
    model.compile("sgd", "mse", run_eagerly=eager)
    before = model.get_weights()
    monitor = kp.GradientMonitor(x, y, batch_size=batch_size)
    with pytest.raises((TypeError, ValueError), match=f"(?s)^GradientMonitor.*{message}"):
        model.fit(Z, X, callbacks=[monitor], verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.optimizer.iterations == 0


@pytest.mark.slow
@pytest.mark.parametrize("built", [True, False])
def test_a_subclass_says_which_callback_holds_the_wrong_rows(built):
    model = unbuilt_model()
    if built:
        model(Z[:1])
    before = [v.numpy() for v in model.trainable_variables]
    with pytest.raises(ValueError, match=r"GradientMonitor cannot measure.*x of shape \(70, 2\)"):
        model.fit(Z, X, callbacks=[kp.GradientMonitor(Z[:, :2], X)], verbose=0)
    after = [v.numpy() for v in model.trainable_variables[: len(before)]]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.slow
def test_inputs_by_name_and_without_their_last_axis():
    z = {"a": keras.Input((1,), name="a"), "b": keras.Input((2,), name="b")}
    x = keras.layers.Dense(2)(keras.layers.Concatenate()([z["a"], z["b"]]))
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(lambda z, x: x - z["b"], {"t": 0.3})(z, x))
    model.compile("sgd", "mse")
    given = {"a": Z[:, 0], "b": Z[:, 1:]}
    monitor = kp.GradientMonitor(given, X)
    model.fit(given, X, callbacks=[monitor], verbose=0)
    assert monitor.history["t_grad_norm"][0] > 0
    with pytest.raises(ValueError, match=r"`x\['b'\]` of shape \(rows, 2\).*\(70, 3\)"):
        model.fit(given, X, callbacks=[kp.GradientMonitor({**given, "b": Z}, X)], verbose=0)
