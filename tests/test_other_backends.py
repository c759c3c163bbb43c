"""Backends other than TensorFlow: features that work there, and errors of those that do not.

CI runs this file, and those of the core, under `KERAS_BACKEND=jax` without TensorFlow.
"""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests import problems
from tests.problems import arrays_equal, data, physics_model, trainable_values

BACKEND = keras.backend.backend()
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="only JAX does so")


def compiled(*arguments, **options):
    model = physics_model(*arguments, **options)
    model.compile("sgd", "mse")
    return model


NEED_TENSORFLOW = {
    "`diagnose`": lambda: kp.diagnose(compiled(), *data()),
    "`GradientMonitor`": lambda: kp.GradientMonitor(*data()),
    "`fit(unlabelled=...)`": lambda: compiled().fit(*data(), unlabelled=data()[0], verbose=0),
    "`refine`": lambda: kp.refine(compiled(), *data()),
    "`ReplicaTrainer`": lambda: kp.ReplicaTrainer(compiled(), {"x": [0.0, 1.0]}),
    "`sanity_sweep`": lambda: kp.sanity_sweep(
        compiled(), *data(), validation_data=data(seed=1), epochs=1
    ),
}


@pytest.mark.parametrize("what", NEED_TENSORFLOW)
def test_what_needs_tensorflow_says_so_in_one_sentence(what, monkeypatch):
    if BACKEND == "tensorflow":
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(NotImplementedError) as raised:
        NEED_TENSORFLOW[what]()
    assert str(raised.value).startswith(f"{what} needs the TensorFlow backend, but Keras runs on '")
    assert "KERAS_BACKEND=tensorflow" in str(raised.value)


REFUSAL_OF_REPLICA_TUNER = """
import sys, keras, keras_physreg as kp
keras.backend.backend = lambda: {backend!r}
try:
    kp.ReplicaTuner(None, None)
except NotImplementedError as error:
    print(error)
print([name for name in ("keras_tuner", "tensorboard") if name in sys.modules])
"""


@pytest.mark.slow
def test_the_tuner_of_replicas_is_refused_before_anything_is_loaded(tmp_path):
    """KerasTuner and TensorBoard need not be there: a missing one would be named as the cause."""
    backend = "jax" if BACKEND == "tensorflow" else BACKEND
    program = REFUSAL_OF_REPLICA_TUNER.format(backend=backend)
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    told, loaded = run.stdout.splitlines()
    assert told.startswith(
        f"`ReplicaTuner` needs the TensorFlow backend, but Keras runs on '{backend}'"
    )
    assert "KERAS_BACKEND=tensorflow" in told
    assert loaded == "[]"
    assert not any(tmp_path.iterdir())


def test_a_model_trains_on_after_each_refusal(monkeypatch):
    model, untouched = compiled(), compiled()
    if BACKEND == "tensorflow":
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    for refused in (
        lambda: kp.diagnose(model, *data()),
        lambda: kp.ReplicaTrainer(model, {"x": [0.0]}),
        lambda: model.fit(*data(), unlabelled=data()[0]),
    ):
        with pytest.raises(NotImplementedError):
            refused()
    monkeypatch.undo()
    for each in (model, untouched):
        each.fit(*data(), epochs=2, shuffle=False, verbose=0)
    assert arrays_equal(model.get_weights(), untouched.get_weights())


def test_the_loss_is_that_of_the_formula():
    """By NumPy: data loss, both terms, and their sum, on every backend."""
    model = compiled()
    z, x = data()
    logs = model.evaluate(z, x, return_dict=True, verbose=0, batch_size=20)
    predicted = model.predict(z, verbose=0)
    expected = {
        "data_loss": np.mean((predicted - x) ** 2),
        "x_loss": np.mean((z[:, :2] / 2 - x) ** 2),
        "z_loss": np.mean((2 * predicted - z[:, :2]) ** 2),
    }
    expected["physics_loss"] = 0.5 * expected["x_loss"] + 0.25 * expected["z_loss"]
    expected["loss"] = expected["data_loss"] + expected["physics_loss"]
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-5), name


def test_a_step_of_sgd_is_that_of_the_formula():
    """The physics trains the network: one step of the last bias, with its gradient by NumPy."""
    model = compiled(problems.residual, {"r": 0.5})
    model.compile(keras.optimizers.SGD(0.1), "mse")
    z, x = data()
    predicted = model.predict(z, verbose=0)
    bias = model.trainable_variables[-1]
    before = np.array(keras.ops.convert_to_numpy(bias))
    by_data = np.sum(2 * (predicted - x), axis=0) / x.size
    by_physics = np.sum(4 * (2 * predicted - z[:, :2]), axis=0) / x.size
    model.fit(z, x, batch_size=len(z), verbose=0)
    moved = keras.ops.convert_to_numpy(bias) - before
    np.testing.assert_allclose(moved, -0.1 * (by_data + 0.5 * by_physics), rtol=1e-4)


def test_weights_move_by_steps_and_by_a_callback_that_closes_over_the_model():
    model = compiled()
    seen = []

    def move(batch, logs):
        kp.set_term_weights(model, {"z": batch + 1.0})
        seen.append(kp.get_term_weights(model)["z"])

    callbacks = [
        kp.WeightScheduler({"x": kp.LinearRamp(0.0, 1.0, 8)}, unit="step"),
        keras.callbacks.LambdaCallback(on_train_batch_end=move),
    ]
    history = model.fit(*data(), batch_size=5, epochs=2, callbacks=callbacks, verbose=0).history
    assert history["x_weight"] == pytest.approx([3 / 8, 7 / 8])
    assert seen == [1.0, 2.0, 3.0, 4.0] * 2
    assert kp.get_term_weights(model) == pytest.approx({"x": 7 / 8, "z": 4.0})


def test_constants_learn():
    model = physics_model(problems.BoundedGain())
    model.compile(keras.optimizers.Adam(0.05), "mse")
    history = model.fit(*data(), epochs=3, verbose=0).history
    assert kp.get_constants(model)["gain"] != pytest.approx(1.0, abs=1e-3)
    assert len(set(history["gain"])) == 3


def test_with_every_weight_0_physics_that_is_not_finite_changes_nothing():
    with_physics = compiled(problems.not_finite, problems.terms(0.0, 0.0))
    bare = problems.bare_model()
    bare.compile("sgd", "mse")
    for model in (with_physics, bare):
        model.fit(*data(), epochs=3, shuffle=False, verbose=0)
    # Up to rounding: JAX uses XLA, which rounds a sum differently when zeros join it.
    for ours, theirs in zip(trainable_values(with_physics), trainable_values(bare), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model_class", [kp.PhysicsModel, keras.Model])
def test_a_plain_model_has_the_loss_of_a_physics_model(model_class):
    model = compiled(problems.residual, {"r": 0.5}, model_class)
    history = model.fit(*data(), batch_size=5, epochs=2, shuffle=False, verbose=0).history
    z, x = data()
    predicted = model.predict(z, verbose=0)
    expected = np.mean((predicted - x) ** 2) + 0.5 * np.mean((2 * predicted - z[:, :2]) ** 2)
    assert model.evaluate(z, x, batch_size=5, verbose=0, return_dict=True)["loss"] == pytest.approx(
        expected, rel=1e-5
    )
    logged = model_class is kp.PhysicsModel or BACKEND != "jax"
    assert ("r_loss" in history) == logged


@on_jax
def test_terms_that_a_plain_model_cannot_log_stop_no_training():
    model = compiled(problems.residual, {"r": 0.5}, keras.Model)
    stop = kp.TerminateOnNonFinite()
    model.fit(*data(), epochs=2, callbacks=[stop], verbose=0)
    assert stop.stopped_epoch is None
