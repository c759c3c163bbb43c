"""`fit` works with unlabelled rows as without: data types, callbacks, strategies, resumption."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from keras_physreg.unlabelled import joined_rows as rooms
from tests import problems
from tests.unlabelled import linear
from tests.variants import slow_but

REWRITTEN_GRAPHS = "slow"


def fit(model, epochs=2, **more):
    """An unshuffled fit with unlabelled rows; returns its logs and the weights afterwards."""
    x, y, trust = linear.data()
    given = {"unlabelled": linear.more_inputs(), "unlabelled_batch_size": linear.MORE}
    given |= {"sample_weight": trust, "batch_size": linear.BATCH, "shuffle": False, **more}
    given |= {"epochs": epochs, "verbose": 0}
    return model.fit(x, y, **given).history, problems.trainable_values(model)


def record_unlabelled(monkeypatch):
    """Returns the list to which the unlabelled rows of each step are added, run eagerly."""
    join, seen = rooms.join, []

    def record(labelled, unlabelled):
        seen.append(ops.convert_to_numpy(unlabelled))
        return join(labelled, unlabelled)

    monkeypatch.setattr(rooms, "join", record)
    return seen


def assert_same(first, second, tolerance=1e-6):
    for key, values in first[0].items():
        np.testing.assert_allclose(second[0][key], values, rtol=tolerance, err_msg=key)
    for one, other in zip(first[1], second[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=1e-7)


@pytest.mark.slow
def test_at_weight_zero_unlabelled_rows_change_nothing():
    off = {"x": 0.0, "z": 0.0}
    with_rows, without = linear.model(), linear.model()
    kp.set_term_weights(with_rows, off)
    kp.set_term_weights(without, off)
    alone = {"unlabelled": None, "unlabelled_batch_size": None}
    first, second = fit(with_rows, 5), fit(without, 5, **alone)
    # The term at weight 0 is logged for all rows.
    first[0].pop("z_loss")
    assert_same(first, second)


@pytest.mark.slow
def test_steps_per_execution():
    """Even if they do not divide the steps of an epoch: each epoch has its own executions."""
    assert_same(fit(linear.model()), fit(linear.model(steps_per_execution=2)))


def test_rows_are_shuffled_and_all_seen_before_one_comes_again(monkeypatch):
    seen = []

    class Recording(kp.PhysicsModel):
        def train_step(self, data):
            seen.append(ops.convert_to_numpy(data[0]))
            return super().train_step(data)

    more = record_unlabelled(monkeypatch)
    fit(linear.model(Recording, run_eagerly=True), 11, shuffle=True)
    steps = linear.STEPS
    epochs = [np.concatenate(seen[i : i + steps]) for i in range(0, len(seen), steps)]
    wanted = np.sort(linear.data()[0], axis=0)
    assert all(np.array_equal(np.sort(epoch, axis=0), wanted) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    stream, rows = np.concatenate(more), linear.MORE_ROWS
    passes = [stream[i : i + rows] for i in range(0, len(stream), rows)]
    assert len(passes) == 18
    wanted = np.sort(linear.more_inputs(), axis=0)
    assert all(np.array_equal(np.sort(one, axis=0), wanted) for one in passes)
    assert not np.array_equal(passes[0], passes[1])


@pytest.mark.slow
def test_seed_repeats_the_training():
    def train(seed):
        model = linear.model()
        keras.utils.set_random_seed(seed)
        return fit(model, shuffle=True)

    first, again, other = train(5), train(5), train(6)
    assert_same(first, again)
    assert not np.allclose(first[1][0], other[1][0], rtol=1e-4)


@pytest.mark.slow
def test_a_second_fit_goes_on_in_the_unlabelled_rows():
    whole, parts = linear.model(), linear.model()
    expected = fit(whole, 4)[1]
    fit(parts, 1)
    for one, other in zip(expected, fit(parts, 3)[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.slow
def test_two_shuffled_fits_see_all_rows_before_one_comes_again(monkeypatch):
    seen = record_unlabelled(monkeypatch)
    model = linear.model(run_eagerly=True)
    given = {"unlabelled": linear.more_inputs()[:9], "unlabelled_batch_size": 1, "shuffle": True}
    for _ in range(3):  # Of 3 steps each.
        fit(model, 1, **given)
    first = np.concatenate(seen)
    np.testing.assert_array_equal(np.unique(first, axis=0), np.unique(given["unlabelled"], axis=0))
    assert len(first) == 9
    model.compile("sgd", "mse", run_eagerly=True)
    fit(model, 3, **given)
    assert not np.array_equal(np.concatenate(seen[9:]), first)


@pytest.mark.slow
@pytest.mark.parametrize("scaled", slow_but({False}, [False, True]))
def test_a_second_fit_goes_on_within_accumulated_gradients(monkeypatch, scaled):
    seen = record_unlabelled(monkeypatch)

    def stream(*epochs):
        model = linear.model(run_eagerly=True)
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
        model.compile(optimizer, "mse", run_eagerly=True)
        seen.clear()
        for number in epochs:
            fit(model, number)
        return np.concatenate(seen)

    np.testing.assert_array_equal(stream(1, 1), stream(2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("asked", [2, 4, 7])
def test_steps_per_epoch_are_those_of_keras(asked):
    """Of the 3 batches, an epoch may see only the last ones."""

    class Steps(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            done.append(int(self.model.optimizer.iterations.numpy()))

    done = []
    off = {"unlabelled": None, "unlabelled_batch_size": None}
    models = linear.model(), linear.model()
    for model, more in zip(models, ({}, off), strict=True):
        kp.set_term_weights(model, {"z": 0.0})
        fit(model, 4, steps_per_epoch=asked, callbacks=[Steps()], **more)
    assert done[:4] == done[4:]
    for one, other in zip(*map(problems.trainable_values, models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_no_more_unlabelled_rows_a_step_than_there_are(monkeypatch):
    seen = record_unlabelled(monkeypatch)
    fit(linear.model(run_eagerly=True), 1, unlabelled_batch_size=100)
    assert {len(rows) for rows in seen} == {linear.MORE_ROWS}


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(tmp_path):
    ramp = kp.GeometricRamp(1e-2, 1.0, duration=4)

    def train(directory, *stop):
        model = linear.model()
        keras.utils.set_random_seed(3)
        backup = keras.callbacks.BackupAndRestore(tmp_path / directory)
        callbacks = [kp.WeightScheduler({"z": ramp}), backup, *stop]
        return fit(model, 4, shuffle=True, callbacks=callbacks)

    with pytest.raises(KeyboardInterrupt):
        train("a", Stop())
    resumed, whole = train("a"), train("b")
    assert resumed[0]["z_weight"] == whole[0]["z_weight"][2:]
    assert resumed[0]["loss"] == pytest.approx(whole[0]["loss"][2:], rel=1e-6)
    for one, other in zip(resumed[1], whole[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.slow
def test_validation_is_of_labelled_rows_alone():
    x, y, trust = linear.data()
    model = linear.model()
    logs, _ = fit(model, 1, validation_data=(x, y, trust))
    evaluated = model.evaluate(x, y, sample_weight=trust, return_dict=True, verbose=0)
    assert {f"val_{key}": value for key, value in evaluated.items()} == pytest.approx(
        {key: values[0] for key, values in logs.items() if key.startswith("val_")}
    )


@pytest.mark.slow
def test_validation_split_is_that_of_keras():
    x, y, trust = linear.data()
    split, by_hand = linear.model(), linear.model()
    given = {"unlabelled": linear.more_inputs(), "epochs": 2, "verbose": 0, "shuffle": False}
    first = split.fit(x, y, sample_weight=trust, validation_split=0.3, **given).history
    held_out = x[14:], y[14:], trust[14:]
    second = by_hand.fit(
        x[:14], y[:14], sample_weight=trust[:14], validation_data=held_out, **given
    ).history
    assert first == second


@pytest.mark.slow
def test_class_weight_is_trust_in_labels():
    def build():
        keras.utils.set_random_seed(0)
        z = keras.Input((3,))
        x = keras.layers.Dense(1, activation="sigmoid")(z)
        layer = kp.PhysicsRegularization(lambda z, x: x - z[:, :1], {"r": 0.5})
        model = kp.PhysicsModel(z, layer(z, x))
        model.compile("sgd", "binary_crossentropy")
        return model

    z, classes = linear.data()[0], np.arange(linear.ROWS) % 2
    weights = {0: 0.5, 1: 2.0}
    given = {"unlabelled": linear.more_inputs(), "shuffle": False, "verbose": 0}
    first = build().fit(z, classes, class_weight=weights, **given).history
    trust = np.where(classes == 1, 2.0, 0.5)
    second = build().fit(z, classes, sample_weight=trust, **given).history
    assert first["loss"] == pytest.approx(second["loss"])


def test_batch_statistics_are_those_of_all_rows_and_metrics_of_the_labelled_ones():
    z = keras.Input((3,))
    norm = keras.layers.BatchNormalization(momentum=0.0)
    x = norm(z)
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(lambda z, x: x - z, {"r": 0.0})(z, x))
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"])
    inputs, more = linear.data()[0], 3 + linear.more_inputs()
    logs = model.fit(inputs, inputs, unlabelled=more, batch_size=20, verbose=0).history
    rows = np.concatenate([inputs, more])
    np.testing.assert_allclose(norm.moving_mean.numpy(), rows.mean(axis=0), rtol=1e-5)
    scaled = (inputs - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + norm.epsilon)
    assert logs["mae"] == pytest.approx([np.abs(scaled - inputs).mean()], rel=1e-5)


@pytest.mark.slow
def test_masks_of_the_labelled_rows_reach_the_loss():
    def build():
        keras.utils.set_random_seed(0)
        z = keras.Input((4, 2))
        x = keras.layers.LSTM(2, return_sequences=True)(keras.layers.Masking()(z))
        model = kp.PhysicsModel(z, kp.PhysicsRegularization(lambda z, x: x - z, {"r": 0.0})(z, x))
        model.compile("sgd", "mse")
        return model

    z = np.random.default_rng(0).normal(size=(6, 4, 2)).astype("float32")
    z[:, 2:] = 0.0
    alone = build().fit(z, z + 1, shuffle=False, verbose=0).history
    both = build().fit(z, z + 1, unlabelled=z[::-1], shuffle=False, verbose=0).history
    assert both["data_loss"] == pytest.approx(alone["data_loss"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [dict, list])
def test_inputs_of_several_parts(kind):
    def parts(z):
        return {"a": z[:, :2], "b": z[:, 2:]} if kind is dict else [z[:, :2], z[:, 2:]]

    keras.utils.set_random_seed(1)
    shapes = {"a": (2,), "b": (1,)}
    symbols = [keras.Input(shape, name=name) for name, shape in shapes.items()]
    x = keras.layers.Dense(2)(keras.layers.Concatenate()(symbols))
    reference = "input.a" if kind is dict else "input.0"

    def physics(z, x):
        first, second = (z["a"], z["b"]) if kind is dict else z
        return linear.physics(ops.concatenate([first, second], axis=-1), x)

    terms = [
        kp.PhysicsTerm("x", "target", weight=0.5),
        kp.PhysicsTerm("z", reference, weight=0.25),
    ]
    inputs = dict(zip(shapes, symbols, strict=True)) if kind is dict else symbols
    model = kp.PhysicsModel(inputs, kp.PhysicsRegularization(physics, terms)(inputs, x))
    model.compile(keras.optimizers.SGD(linear.RATE), "mse")
    start = model.get_weights()[:2]
    z, y, trust = linear.data()
    model.fit(
        parts(z),
        y,
        sample_weight=trust,
        unlabelled=parts(linear.more_inputs()),
        unlabelled_batch_size=linear.MORE,
        batch_size=linear.BATCH,
        shuffle=False,
        verbose=0,
    )
    for ours, expected in zip(model.get_weights()[:2], linear.train(start, 1)[0][-1], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_subclassed_model_that_is_not_built():
    model = problems.Subclassed()
    model.compile("sgd", "mse")
    z, x = problems.data()
    more = {"unlabelled": problems.data(50, 1)[0], "unlabelled_batch_size": 50}
    logs = model.fit(z, x, epochs=2, verbose=0, **more).history
    assert logs["z_loss"][1] < logs["z_loss"][0]


class Stepping(kp.PhysicsModel):
    """Its own `train_step` calls the model on the data that it gets."""

    def train_step(self, data):
        x, y, trust = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            assert y_pred.shape[-1] == y.shape[-1]
            loss = self.compute_loss(x, y, y_pred, trust)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return self.compute_metrics(x, y, y_pred, trust)


class ByKeyword(Stepping):
    def __call__(self, x, **kwargs):
        return super().__call__(inputs=x, **kwargs)


class PassingOn(kp.PhysicsModel):
    def train_step(self, data):
        return super().train_step(data)


@pytest.mark.slow
@pytest.mark.parametrize("model_class", slow_but({Stepping}, [Stepping, ByKeyword, PassingOn]))
def test_train_step_of_ones_own(model_class):
    expected, own = fit(linear.model()), fit(linear.model(model_class))
    for one, other in zip(expected[1], own[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


SHARES = [(None, 0.9), (0.9, None), (0.2, 0.9)]


@pytest.mark.slow
@pytest.mark.parametrize("shares", slow_but(SHARES[2:], SHARES), ids=str)
def test_a_changed_share_counts_in_the_next_fit(shares):
    """Without the argument, label-free terms are means over all rows again."""
    model, fresh = linear.model(), linear.model()
    fit(model, 1, unlabelled_share=shares[0])
    fresh.set_weights(model.get_weights())
    fresh.optimizer.iterations.assign(model.optimizer.iterations)
    expected = fit(fresh, 1, unlabelled_share=shares[1])
    assert_same(fit(model, 1, unlabelled_share=shares[1]), expected)


@pytest.mark.slow
def test_another_share_needs_no_other_trace():
    traced = []

    class Counting(kp.PhysicsModel):
        def compute_loss(self, *args, **kwargs):
            traced.append(1)
            return super().compute_loss(*args, **kwargs)

    model = linear.model(Counting)
    fit(model, 1, unlabelled_share=0.2)
    before = len(traced)
    fit(model, 1, unlabelled_share=0.9)
    assert len(traced) == before
    fit(model, 1)
    assert len(traced) > before


def test_callbacks_that_look_at_the_physics():
    x, y, _ = linear.data()
    monitor = kp.GradientMonitor(x, y)
    logs, _ = fit(linear.model(), callbacks=[monitor, kp.TerminateOnNonFinite(True)])
    assert len(monitor.epochs) == 2
    assert np.isfinite(logs["z_grad_norm"]).all()


def test_a_list_of_callbacks_of_keras():
    model = linear.model()
    callbacks = keras.callbacks.CallbackList([], add_history=True, model=model)
    assert len(fit(model, callbacks=callbacks)[0]["loss"]) == 2


@pytest.mark.slow
def test_mixed_precision_and_integer_inputs():
    keras.config.set_dtype_policy("mixed_float16")
    z = keras.Input((1,), dtype="int32")
    x = keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Embedding(5, 3)(z)))
    layer = kp.PhysicsRegularization(lambda z, x: ops.sum(x, -1), {"r": 1.0})
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    rows = np.arange(10)[:, None] % 5
    logs = model.fit(rows, np.ones((10, 2)), unlabelled=rows[:7], epochs=2, verbose=0).history
    assert np.isfinite(logs["loss"]).all()


def test_help_shows_the_arguments_of_keras_and_our_own():
    names = list(inspect.signature(kp.PhysicsModel.fit).parameters)
    assert names[:3] == ["self", "x", "y"]
    assert {"validation_data", "steps_per_epoch", "unlabelled", "unlabelled_share"} <= set(names)
