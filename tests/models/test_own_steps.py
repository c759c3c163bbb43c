"""Training steps that users write: the physics is in their total loss, or an error says why not."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg._utils.backend import tensorflow as tf
from tests import problems
from tests.problems import data, physics_model, trainable_values
from tests.variants import slow_but, slow_but_rows

pytestmark = pytest.mark.tensorflow

EAGERLY = pytest.mark.parametrize(
    "eagerly", slow_but({False}, [False, True]), ids=["graph", "eager"]
)


def label_free(z=0.25):
    return [kp.PhysicsTerm("z", reference="input", components=[0, 1], weight=z)]


def doubled(z, x_pred):
    return {"z": 2 * x_pred}


def apply(model, tape, loss):
    gradients = tape.gradient(loss, model.trainable_variables)
    model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))


class HandStep(kp.PhysicsModel):
    """The idiom of Keras: a user's own loss, and the losses that layers added."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True))) + sum(self.losses)
        apply(self, tape, loss)
        return {"loss": loss}


class HandLoss(kp.PhysicsModel):
    """A `compute_loss` that never calls the one it overrides."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(y - y_pred)) + sum(self.losses)


class Forgetful(kp.PhysicsModel):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
        apply(self, tape, loss)
        return {"loss": loss}


class ForgetfulLoss(kp.PhysicsModel):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(y - y_pred))


def fit(model, rows=20, eagerly=False, rate=0.1, **more):
    model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=eagerly)
    return model.fit(*data(rows), shuffle=False, verbose=0, **more).history


@EAGERLY
@pytest.mark.parametrize("kind", slow_but({HandStep}, [HandStep, HandLoss]))
def test_terms_that_need_no_label_are_in_losses(kind, eagerly):
    """The same training as that of `compute_loss`, and the loss of the formula."""
    expected = physics_model(doubled, label_free())
    own = physics_model(doubled, label_free(), kind)
    z, x = data()
    prediction = own.predict(z, verbose=0)
    by_hand = np.mean((prediction - x) ** 2) + 0.25 * np.mean((2 * prediction - z[:, :2]) ** 2)
    fit(expected)
    history = fit(own, eagerly=eagerly)
    assert history["loss"][0] == pytest.approx(by_hand, rel=1e-5)
    for one, other in zip(*map(trainable_values, (expected, own)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_logs_of_a_compute_loss_of_ones_own():
    """Its data loss is unknown, and is not logged as NaN."""
    model = physics_model(doubled, label_free(), HandLoss)
    z, x = data(rows=37)
    history = fit(model, 37, rate=0.0, batch_size=8, validation_data=(z, x))
    z_loss = np.mean((2 * model.predict(z, verbose=0) - z[:, :2]) ** 2)
    keys = {"loss", "z_loss", "physics_loss"}
    assert set(history) == keys | {f"val_{key}" for key in keys}
    for prefix in ("", "val_"):
        assert history[f"{prefix}z_loss"][0] == pytest.approx(z_loss, rel=1e-5)
        assert history[f"{prefix}physics_loss"][0] == pytest.approx(0.25 * z_loss, rel=1e-5)


@EAGERLY
@pytest.mark.parametrize(
    ("kind", "term_list", "parts"),
    [
        (HandStep, problems.terms(), ["`HandStep.train_step`", "['x']", "self.compute_loss(x, y"]),
        (HandLoss, problems.terms(), ["`HandLoss.compute_loss`", "['x']", "super().compute_loss("]),
        (Forgetful, problems.terms(), ["`Forgetful.train_step`", "['x', 'z']"]),
        (Forgetful, label_free(), ["`Forgetful.train_step`", "['z']"]),
        (ForgetfulLoss, label_free(), ["`ForgetfulLoss.compute_loss`", "['z']"]),
    ],
)
def test_physics_that_counts_nowhere_is_an_error(kind, term_list, parts, eagerly):
    physics = doubled if len(term_list) == 1 else problems.doubling
    model = physics_model(physics, term_list, kind)
    before = trainable_values(model)
    with pytest.raises(ValueError, match="would not train") as caught:
        fit(model, eagerly=eagerly)
    for part in [*parts, model.layers[-1].name]:
        assert part in str(caught.value)
    assert problems.arrays_equal(before, trainable_values(model))


def test_a_test_step_that_only_updates_metrics():
    class Own(kp.PhysicsModel):
        def test_step(self, data):
            x, y = data
            return self.compute_metrics(x, y, self(x, training=False))

    model = physics_model(model_class=Own)
    model.compile("sgd", "mse", metrics=["mae"])
    z, x = data()
    logs = model.evaluate(z, x, batch_size=8, verbose=0, return_dict=True)
    prediction = model.predict(z, verbose=0)
    assert logs["mae"] == pytest.approx(np.mean(np.abs(prediction - x)), rel=1e-5)
    assert logs["z_loss"] == pytest.approx(np.mean((2 * prediction - z[:, :2]) ** 2), rel=1e-5)
    assert not {"data_loss", "physics_loss"} & set(logs)


class StepOfMixin:
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        apply(self, tape, loss)
        return self.get_metrics_result()

    def test_step(self, data):
        x, y = data
        self.compute_loss(x, y, self(x, training=False))
        return self.get_metrics_result()


class Mixed(StepOfMixin, kp.PhysicsModel):
    pass


class MixedTwice(Mixed):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("kind", slow_but({Mixed}, [Mixed, MixedTwice]))
def test_steps_that_a_mixin_brings(kind):
    own, expected = physics_model(model_class=kind), physics_model()
    logs = [fit(model, 37, batch_size=8, epochs=2) for model in (own, expected)]
    assert set(logs[0]) == set(logs[1])
    for key, values in logs[1].items():
        assert logs[0][key] == pytest.approx(values, rel=1e-6)
    evaluated = [m.evaluate(*data(37), verbose=0, return_dict=True) for m in (own, expected)]
    assert evaluated[0]["data_loss"] == pytest.approx(evaluated[1]["data_loss"], rel=1e-6)
    assert evaluated[0]["x_loss"] == pytest.approx(evaluated[1]["x_loss"], rel=1e-6)


class Twofold(kp.PhysicsModel):
    """Adds losses that `compute_loss` contains: they count twice, as in plain Keras."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True)) + sum(self.losses)
        apply(self, tape, loss)
        return {**self.get_metrics_result(), "total": loss}


def test_losses_beside_compute_loss_count_twice_as_in_keras():
    model = physics_model(model_class=Twofold)
    history = fit(model)
    again = 0.25 * history["z_loss"][0]
    assert history["total"][0] == pytest.approx(history["loss"][0] + again, rel=1e-5)
    logged = history["data_loss"][0] + history["physics_loss"][0]
    assert history["loss"][0] == pytest.approx(logged, rel=1e-5)


class Reading(kp.PhysicsModel):
    """Reads `losses` before it calls `compute_loss`."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            added = sum(self.losses)
            loss = self.compute_loss(x, y, y_pred)
        apply(self, tape, loss)
        return {**self.get_metrics_result(), "added": added}


@pytest.mark.slow
def test_losses_that_are_only_looked_at_change_no_log():
    own, expected = physics_model(model_class=Reading), physics_model()
    logs = [fit(model, 37, batch_size=16, rate=0.0, epochs=2) for model in (own, expected)]
    for key, values in logs[1].items():
        assert logs[0][key] == pytest.approx(values, rel=1e-5), key


def test_regularizers_are_in_losses_beside_the_physics():
    z_in = keras.Input((3,))
    x_pred = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))(z_in)
    model = HandStep(z_in, kp.PhysicsRegularization(doubled, label_free())(z_in, x_pred))
    z, x = data()
    prediction, kernel = model.predict(z, verbose=0), model.layers[1].kernel.numpy()
    expected = np.mean((prediction - x) ** 2) + 0.5 * np.sum(kernel**2)
    expected += 0.25 * np.mean((2 * prediction - z[:, :2]) ** 2)
    assert fit(model)["loss"][0] == pytest.approx(expected, rel=1e-5)


class Generating(kp.PhysicsModel):
    """Trains a part of itself that has the physics, and calls this part elsewhere, too."""

    def __init__(self, generator, mode):
        super().__init__()
        self.generator, self.mode = generator, mode

    def call(self, z):
        return self.generator(z)

    def train_step(self, data):
        z, x = data
        self.generator(0 * z)  # A step of a discriminator would look at these.
        with tf.GradientTape() as tape:
            y_pred = self.generator(z, training=True)
            if self.mode == "compute_loss":
                loss = self.compute_loss(z, x, y_pred)
            else:
                own = self if self.mode == "losses" else self.generator
                loss = ops.mean(ops.square(x - y_pred)) + sum(own.losses)
        apply(self, tape, loss)
        self.generator(3 * z)
        self.predict_step((z,))
        return {"loss": loss}


@EAGERLY
@pytest.mark.parametrize(
    ("mode", "nested"),
    slow_but_rows(
        (1, 2, 4),
        [
            ("compute_loss", keras.Model),
            ("compute_loss", kp.PhysicsModel),
            ("losses", keras.Model),
            ("losses", kp.PhysicsModel),
            ("losses of the part", kp.PhysicsModel),
        ],
    ),
)
def test_parts_that_a_step_calls_by_themselves(mode, nested, eagerly):
    """Only the last call of the part counts; the other calls are no error."""
    z, x = data()
    generator = physics_model(doubled, label_free(), nested)
    model = Generating(generator, mode)
    model(z)
    prediction = generator.predict(z, verbose=0)
    expected = np.mean((prediction - x) ** 2) + 0.25 * np.mean((2 * prediction - z[:, :2]) ** 2)
    assert fit(model, eagerly=eagerly)["loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_physics_of_another_model_is_not_that_of_the_step():
    teacher = physics_model(doubled, label_free(1e6), seed=3)

    class Taught(kp.PhysicsModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return super().compute_loss(x, teacher(x), y_pred, sample_weight, training)

    model = physics_model(doubled, label_free(), Taught)
    z = data()[0]
    prediction, target = model.predict(z, verbose=0), teacher.predict(z, verbose=0)
    history = fit(model)
    z_loss = np.mean((2 * prediction - z[:, :2]) ** 2)
    assert history["data_loss"][0] == pytest.approx(np.mean((prediction - target) ** 2), rel=1e-5)
    assert history["physics_loss"][0] == pytest.approx(0.25 * z_loss, rel=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class CallsTheModel(keras.metrics.Mean):
    def update_state(self, y, y_pred, sample_weight=None):
        return super().update_state(self.model(y_pred[:, :1] * np.ones((1, 3), "float32")))


@pytest.mark.slow
@EAGERLY
def test_metrics_that_call_the_model(eagerly):
    model = physics_model()
    metric = CallsTheModel(name="again")
    object.__setattr__(metric, "model", model)
    expected = fit(physics_model())
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=[metric], run_eagerly=eagerly)
    history = model.fit(*data(), shuffle=False, verbose=0).history
    for key, values in expected.items():
        assert history[key] == pytest.approx(values, rel=1e-6), key


def repeated(model_class):
    """A model whose physics is evaluated once per step of a sequence."""
    keras.utils.set_random_seed(0)
    inner_in = keras.Input((3,))
    layer = kp.PhysicsRegularization(doubled, label_free())
    inner = keras.Model(inner_in, layer(inner_in, keras.layers.Dense(2)(inner_in)))
    z = keras.Input((4, 3))
    return model_class(z, keras.layers.TimeDistributed(inner)(z))


@pytest.mark.slow
def test_logs_of_physics_evaluated_several_times_add_up():
    model = repeated(keras.Model)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    z = np.random.default_rng(0).normal(size=(10, 4, 3)).astype("float32")
    x = np.ones((10, 4, 2), "float32")
    prediction = model.predict(z, verbose=0)
    data_loss = np.mean((prediction - x) ** 2)
    each = [np.mean((2 * prediction[:, t] - z[:, t, :2]) ** 2) for t in range(4)]
    for _ in range(2):
        history = model.fit(z, x, batch_size=10, epochs=2, verbose=0).history
        assert history["z_loss"] == pytest.approx([sum(each)] * 2, rel=1e-5)
        assert history["loss"] == pytest.approx([data_loss + 0.25 * sum(each)] * 2, rel=1e-5)
    ragged = model.evaluate(z, x, batch_size=4, verbose=0, return_dict=True)
    assert ragged["loss"] == pytest.approx(data_loss + 0.25 * ragged["z_loss"], rel=1e-5)


@EAGERLY
def test_a_layer_called_twice_in_a_plain_model(eagerly):
    z_in, x_pred = problems.tensors()
    layer = kp.PhysicsRegularization(doubled, label_free())
    model = keras.Model(z_in, layer(z_in, layer(z_in, x_pred)))
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=eagerly)
    z, x = data(rows=37)
    history = model.fit(z, x, batch_size=8, epochs=2, verbose=0).history
    prediction = model.predict(z, verbose=0)
    twice = 2 * np.mean((2 * prediction - z[:, :2]) ** 2)
    assert history["z_loss"] == pytest.approx([twice] * 2, rel=1e-5)
    expected = np.mean((prediction - x) ** 2) + 0.25 * twice
    assert history["loss"] == pytest.approx([expected] * 2, rel=1e-5)


def test_physics_evaluated_several_times_in_a_physics_model():
    model = repeated(kp.PhysicsModel)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"more than once.*`TimeDistributed`.*on the whole seq"):
        model.fit(np.ones((10, 4, 3)), np.ones((10, 4, 2)), verbose=0)
