"""WeightScheduler: the weight at each time, its logs, and errors."""

import copy
import csv

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.schedules.values import weight_at
from tests.callbacks.small_model import Watch, data, physics_model, plain_model
from tests.variants import slow_but, slow_but_rows

RAMP = kp.GeometricRamp(1e-4, 1.0, duration=4)
TENTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1.0]
LRS = keras.optimizers.schedules.ExponentialDecay(8.0, 1, 0.5)


def fit(model, *callbacks, epochs=6, **kwargs):
    kwargs = {"batch_size": 4, "shuffle": False, "verbose": 0, **kwargs}
    return model.fit(*data(), epochs=epochs, callbacks=list(callbacks), **kwargs).history


@pytest.fixture(scope="module")
def compiled():
    return physics_model()


@pytest.fixture
def model(compiled):
    """A model whose training function is traced once for all tests that ask for it."""
    kp.set_term_weights(compiled, {"x": 0.25, "z": 0.25})
    return compiled


@pytest.mark.parametrize(
    ("schedule", "expected"),
    slow_but_rows(
        (0,),
        [
            (RAMP, TENTHS),
            (lambda epoch: epoch / 4, [0, 0.25, 0.5, 0.75, 1, 1.25]),
            (LRS, [8, 4, 2, 1, 0.5, 0.25]),
            ([0, 0.5, 0.25], [0, 0.5, 0.25, 0.25, 0.25, 0.25]),
            (np.array([1e-10, 1]), [1e-10, 1, 1, 1, 1, 1]),
            (lambda epoch: keras.ops.cast(epoch, "float32"), [0, 1, 2, 3, 4, 5]),
        ],
    ),
    ids=["ramp", "function", "schedule of Keras", "list", "array", "function of tensors"],
)
def test_epochs_and_what_serves_as_a_schedule(schedule, expected, model):
    watch = Watch()
    history = fit(model, kp.WeightScheduler({"x": schedule}), watch)
    np.testing.assert_allclose(history["x_weight"], expected, rtol=1e-6)
    np.testing.assert_allclose([seen["x"] for seen in watch.seen[::5]], expected, rtol=1e-6)
    assert {seen["z"] for seen in watch.seen} == {0.25}
    assert "z_weight" not in history
    assert kp.get_term_weights(model)["x"] == pytest.approx(expected[-1])


@pytest.mark.slow
def test_any_keras_model_however_nested():
    history = fit(plain_model(), kp.WeightScheduler({"z": RAMP}))
    assert history["z_weight"] == TENTHS


EXECUTIONS = {
    "graph": {},
    "jit": {"jit_compile": True},
    "several steps, jit": {"jit_compile": True, "steps_per_execution": 5},
}


@pytest.mark.parametrize(
    "execution", slow_but({"several steps, jit"}, ["graph", "several steps, jit"])
)
def test_the_weight_is_not_baked_in(execution):
    model = physics_model(**EXECUTIONS[execution])
    ramps = kp.WeightScheduler({"x": RAMP, "z": kp.GeometricRamp(1.0, 1e-2, 4, begin=1)})
    history = {k: np.array(v) for k, v in fit(model, ramps, validation_data=data(seed=1)).items()}
    for prefix in ("", "val_"):
        physics = sum(history[f"{n}_weight"] * history[f"{prefix}{n}_loss"] for n in "xz")
        np.testing.assert_allclose(history[f"{prefix}physics_loss"], physics, rtol=1e-5)
        total = history[f"{prefix}data_loss"] + physics
        np.testing.assert_allclose(history[f"{prefix}loss"], total, rtol=1e-5)
        assert len(set(history[f"{prefix}loss"])) > 4
        assert len(set(np.float32(history[f"{prefix}data_loss"]))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("execution", slow_but({"graph"}, ["graph", "jit"]))
def test_the_weight_reaches_the_gradient(execution):
    """One step of SGD moves the model along the gradients weighted as scheduled."""
    model = physics_model(learning_rate=0.1, **EXECUTIONS[execution])
    kernel, start = model.layers[1].kernel, model.get_weights()
    steps = []
    for weight in (0.0, 0.0, 1.0, 3.0):
        model.set_weights(start)
        fit(model, kp.WeightScheduler({"x": [0], "z": [weight]}), epochs=1, batch_size=20)
        steps.append(kernel.numpy() - start[0])
    moved = [step - steps[0] for step in steps[1:]]
    np.testing.assert_array_equal(moved[0], 0)
    assert np.abs(moved[1]).max() > 1e-3
    np.testing.assert_allclose(moved[2], 3 * moved[1], rtol=1e-3, atol=1e-6)


def test_initial_epoch_and_a_second_fit_count_the_epochs_of_fit():
    model = physics_model()
    scheduler = kp.WeightScheduler({"x": RAMP})
    assert fit(model, scheduler, epochs=5, initial_epoch=3)["x_weight"] == [0.1, 1.0]
    assert fit(model, scheduler, epochs=2)["x_weight"] == [1e-4, 1e-3]


def test_steps_count_iterations_and_go_on_over_a_second_fit():
    model, watch = physics_model(), Watch()
    ramp = kp.LinearRamp(0, 10, duration=10)
    scheduler = kp.WeightScheduler({"z": ramp}, unit="step")
    first = fit(model, scheduler, watch, epochs=1)
    second = fit(model, scheduler, watch, epochs=2)
    assert [seen["z"] for seen in watch.seen] == [*range(11), 10, 10, 10, 10]
    assert first["z_weight"] + second["z_weight"] == [4, 9, 10]


def test_steps_hold_within_an_execution():
    """5 steps per epoch in executions of 3, which begin at steps 0, 3, 5, 8, 10."""
    model, watch = physics_model(steps_per_execution=3), Watch()
    scheduler = kp.WeightScheduler({"z": kp.LinearRamp(0, 100, duration=100)}, unit="step")
    history = fit(model, scheduler, watch, epochs=3)
    assert [seen["z"] for seen in watch.seen] == [0, 3, 5, 8, 10, 13]
    assert history["z_weight"] == [3, 8, 13]


@pytest.mark.slow
def test_steps_with_a_scaled_loss():
    model, watch = physics_model(), Watch()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0)), "mse")
    ramp = kp.WeightScheduler({"z": kp.LinearRamp(0, 100, duration=100)}, unit="step")
    fit(model, ramp, watch, epochs=1)
    assert [seen["z"] for seen in watch.seen] == [0, 1, 2, 3, 4]


@pytest.mark.tensorflow
@pytest.mark.parametrize("unit", slow_but({"step"}, ["epoch", "step"]))
def test_under_a_distribution_strategy(unit):
    """Its variables, such as `optimizer.iterations`, have another class."""
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = physics_model()
    watch, ramp = Watch(), kp.LinearRamp(0, 100, duration=100)
    fit(model, kp.WeightScheduler({"x": ramp}, unit=unit), watch, epochs=2)
    expected = range(10) if unit == "step" else [0] * 5 + [1] * 5
    assert [seen["x"] for seen in watch.seen] == list(expected)


@pytest.mark.slow
def test_two_schedulers_with_units_of_their_own():
    by_epoch = kp.WeightScheduler({"x": [1, 2, 3]})
    by_step = kp.WeightScheduler({"z": kp.LinearRamp(0, 100, 100)}, unit="step")
    history = fit(physics_model(), by_epoch, by_step, epochs=3)
    assert (history["x_weight"], history["z_weight"]) == ([1, 2, 3], [4, 9, 14])


@pytest.mark.parametrize("make", slow_but({physics_model}, [physics_model, plain_model]))
@pytest.mark.parametrize("place", slow_but({"before"}, ["before", "after"]))
def test_who_sees_the_weights_in_the_logs(make, place, tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    scheduler = kp.WeightScheduler({"z": RAMP})
    fit(make(), *([logger, scheduler] if place == "before" else [scheduler, logger]))
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    if make is plain_model and place == "before":
        assert "z_weight" not in rows[0]  # Documented: there, the scheduler must come first.
    else:
        assert [float(row["z_weight"]) for row in rows] == TENTHS


@pytest.mark.slow
def test_the_progress_bar_shows_the_weights(capsys, model):
    fit(model, kp.WeightScheduler({"z": RAMP}), verbose=2)
    assert "z_weight: 1.0000e-04" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.tensorflow
def test_tensorboard_shows_the_weights(tmp_path):
    pytest.importorskip("tensorboard")
    board = keras.callbacks.TensorBoard(str(tmp_path))
    fit(physics_model(), board, kp.WeightScheduler({"z": RAMP}))
    events = b"".join(path.read_bytes() for path in tmp_path.glob("train/*events*"))
    assert events.count(b"epoch_z_weight") == len(TENTHS)


@pytest.mark.slow
def test_a_copy_steers_the_real_model():
    original = kp.WeightScheduler({"x": RAMP, "z": [1, 2]})
    fit(physics_model(), original)
    model, twin = physics_model(), copy.deepcopy(original)
    assert fit(model, twin)["x_weight"] == TENTHS
    assert kp.get_term_weights(model) == {"x": 1.0, "z": 2.0}
    assert twin.schedules == original.schedules


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")
def test_under_kerastuner(tmp_path):
    pytest.importorskip("tensorboard")  # KerasTuner imports it, and does not require it.
    import keras_tuner

    seen = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weight = kp.get_term_weights(self.model)["x"]
            seen.append((weight, logs["x_weight"], logs["physics_loss"] > 0))

    tuner = keras_tuner.RandomSearch(
        lambda hp: physics_model(hp.Float("learning_rate", 1e-3, 1e-2)),
        objective=keras_tuner.Objective("val_data_loss", "min"),
        max_trials=2,
        directory=tmp_path,
    )
    x, y = data()
    scheduler = kp.WeightScheduler({"x": RAMP, "z": [0]})
    callbacks = [scheduler, Note()]
    tuner.search(x, y, validation_data=(x, y), epochs=3, callbacks=callbacks, verbose=0)
    assert seen == 2 * [(weight, weight, True) for weight in TENTHS[:3]]


def test_verbose_prints_the_weights(capsys):
    fit(physics_model(), kp.WeightScheduler({"x": RAMP, "z": [0]}, verbose=1), epochs=2)
    out = capsys.readouterr().out
    assert "Epoch 1: WeightScheduler setting term weights to x 0.0001, z 0." in out
    assert "Epoch 2: WeightScheduler setting term weights to x 0.001, z 0." in out


def test_the_last_weight_stays_and_is_saved(tmp_path):
    model = physics_model()
    fit(model, kp.WeightScheduler({"x": RAMP}), epochs=3)
    model.save(tmp_path / "model.keras")
    assert kp.get_term_weights(keras.saving.load_model(tmp_path / "model.keras"))["x"] == 0.01


@pytest.mark.slow
def test_early_stopping_waits_for_the_end_of_the_ramp(model):
    """At learning rate 0 no data loss improves: patience alone would stop within the ramp."""
    for start, epochs in ((0, 3), (4, 7)):
        stop = keras.callbacks.EarlyStopping(
            "val_data_loss", mode="min", patience=2, start_from_epoch=start
        )
        history = fit(
            model,
            stop,
            kp.WeightScheduler({"x": RAMP}),
            epochs=20,
            validation_data=data(seed=1),
        )
        assert len(history["loss"]) == epochs


def test_best_weights_are_restored_with_their_term_weights():
    model = physics_model()
    stop = keras.callbacks.EarlyStopping(
        "val_data_loss", mode="min", patience=2, restore_best_weights=True
    )
    fit(model, stop, kp.WeightScheduler({"x": RAMP}), epochs=20, validation_data=data(seed=1))
    assert kp.get_term_weights(model)["x"] == 1e-4


def test_where_weights_may_move():
    moves = kp.WeightScheduler({"x": RAMP, "z": [0, 1]}).moves_between
    assert (moves(0, 3), moves(4, 100), moves(3, 5), moves(3, 4)) == (True, False, True, False)
    assert kp.WeightScheduler({"x": lambda t: 1.0}).moves_between(50, 60)
    assert kp.WeightScheduler({"x": RAMP}, unit="step").moves_between(50, 60)
    assert not kp.WeightScheduler({"x": RAMP}, unit="step").moves_between(60, 60)
    assert weight_at("x", RAMP, 4) == 1.0


@pytest.mark.parametrize("unit", slow_but({"step"}, ["epoch", "step"]))
def test_what_others_set_holds_until_the_next_epoch(unit):
    class Meddle(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kp.set_term_weights(self.model, {"x": 9.0})

    watch = Watch()
    fit(physics_model(), Meddle(), watch, kp.WeightScheduler({"x": [0.5]}, unit=unit), epochs=3)
    assert {seen["x"] for seen in watch.seen} == {0.5}
