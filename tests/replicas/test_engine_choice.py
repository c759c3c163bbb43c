"""Replicas are what `fit` gives, whatever optimizer, layer or step a model has, and say how."""

from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from keras_physreg.replicas import engines
from keras_physreg.replicas.replica_step import ReplicaStep
from tests import problems
from tests.replicas.test_equality import assert_equal
from tests.sweep import models
from tests.variants import slow_but

pytestmark = pytest.mark.usefixtures("without_xla")

DATA = models.mlp_data()
FIT = {"batch_size": 8, "epochs": 4, "shuffle": False, "verbose": 0}
SGD, Adam, AdamW = keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.AdamW


def seeded(build):
    keras.utils.set_random_seed(1)
    return build()


def compare(build, expected, data=DATA, schedule=None, weight=1.0, **fit):
    """Trains two replicas, and one model by `fit` as the second of them; returns the history."""
    model, fit = seeded(build), FIT | fit
    start = model.get_weights()
    given = {"x": [0.0, schedule or weight]}
    unit = {} if schedule is None else {"unit": "step"}
    replicas = kp.ReplicaTrainer(model, given, **unit)
    history = replicas.fit(*data, **fit)
    assert history.engine.startswith(expected), history.engine
    assert problems.arrays_equal(start, model.get_weights())
    alone = seeded(build)
    alone.set_weights(start)
    callbacks = [kp.WeightScheduler({"x": schedule}, unit="step")] if schedule else []
    kp.set_term_weights(alone, {"x": 0.0 if schedule else weight})
    logs = alone.fit(*data, callbacks=callbacks, **fit).history
    assert_equal(history, 1, {k: v for k, v in logs.items() if not k.endswith("_weight")})
    replicas.load_replica(1, "last")
    for ours, theirs in zip(
        problems.trainable_values(model), problems.trainable_values(alone), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    return history


class Slowing(SGD):
    """Learns a tenth from some step on, which its config does not say."""

    slows_at = 5

    def update_step(self, gradient, variable, learning_rate):
        late = ops.cast(self.iterations >= self.slows_at, "float32")
        super().update_step(gradient, variable, learning_rate * (1.0 - 0.9 * late))


def slowing(name="slows_at", value=7):
    optimizer = Slowing(0.1, momentum=0.5)
    setattr(optimizer, name, value)
    return optimizer


class Steps(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule with an attribute that its config does not hold."""

    after = 3

    def __call__(self, step):
        return tf.where(step < self.after, 0.1, 0.01)

    def get_config(self):
        return {}


def unsaid_schedule():
    schedule = Steps()
    schedule.after = 6
    return SGD(schedule)


def excluding():
    optimizer = AdamW(0.01, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


class Elsewhere(SGD):
    """Learns a tenth from some step on, which is written down where no copy finds it."""

    written: ClassVar[dict[int, int]] = {}

    def update_step(self, gradient, variable, learning_rate):
        late = ops.cast(self.iterations >= self.written.get(id(self), 10**6), "float32")
        super().update_step(gradient, variable, learning_rate * (1.0 - 0.9 * late))


def elsewhere():
    optimizer = Elsewhere(0.1)
    Elsewhere.written[id(optimizer)] = 7
    return optimizer


class Cautious(SGD):
    """Takes no step where any gradient is not finite."""

    def apply(self, grads, trainable_variables=None):
        fine = ops.all(ops.stack([ops.all(ops.isfinite(g)) for g in grads]))
        super().apply([ops.where(fine, g, 0.0 * g) for g in grads], trainable_variables)


STACKED = {
    "loss_scale_factor, clipnorm": lambda: SGD(0.1, loss_scale_factor=8.0, clipnorm=0.05),
    "weight decay, clipvalue": lambda: AdamW(0.01, weight_decay=0.5, clipvalue=0.01),
    "function, global_clipnorm": lambda: SGD(lambda: 0.05, momentum=0.9, global_clipnorm=0.05),
    "ema": lambda: Adam(0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3),
    "lion, ema, no overwriting": lambda: keras.optimizers.Lion(
        0.01, use_ema=True, ema_momentum=0.5
    ),
    "gradient accumulation": lambda: Adam(0.01, gradient_accumulation_steps=3),
    "unsaid schedule": unsaid_schedule,
    "unsaid attribute": slowing,
}
IN_TURN = {
    "excluded from weight decay": (excluding, "attribute '_exclude_from_weight_decay_pattern'"),
    "unsaid object": (lambda: slowing("helper", object()), "attribute 'helper'"),
    "unsaid, late": (elsewhere, "steps with Elsewhere are not those of `fit`"),
    "looks at all replicas": (lambda: Cautious(0.1), "steps with Cautious are not those of `fit`"),
    "mixes all axes": (lambda: keras.optimizers.Lamb(0.01), "with Lamb are not those of `fit`"),
    "scales all replicas": (
        lambda: keras.optimizers.LossScaleOptimizer(SGD(0.1), initial_scale=8.0),
        "scales all replicas by one factor",
    ),
    "clips accumulated gradients": (
        lambda: SGD(0.1, clipnorm=0.05, gradient_accumulation_steps=2),
        "clips accumulated gradients",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", STACKED)
def test_optimizers_train_in_programs_as_in_fit(kind):
    history = compare(lambda: models.mlp(STACKED[kind]()), "stacked")
    assert "6 steps equal those of `fit`" in history.engine


@pytest.mark.slow
@pytest.mark.parametrize("kind", IN_TURN)
def test_optimizers_that_cannot_be_stacked_train_in_turn(kind):
    optimizer, reason = IN_TURN[kind]
    history = compare(lambda: models.mlp(optimizer()), "sequential", epochs=2)
    assert reason in history.engine


RAMPED = {
    "accumulated, steps_per_execution": (lambda: Adam(0.01, gradient_accumulation_steps=3), 2),
    "sequential": (lambda: SGD(0.1, clipnorm=1.0, gradient_accumulation_steps=2), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RAMPED)
def test_ramps_count_the_steps_of_the_optimizer(kind):
    optimizer, execution = RAMPED[kind]
    compare(
        lambda: models.mlp(optimizer(), steps_per_execution=execution),
        "",
        schedule=kp.LinearRamp(0.0, 5.0, duration=6),
    )


@pytest.mark.slow
def test_a_trained_optimizer_that_accumulates_goes_on():
    def build():
        model = models.mlp(Adam(0.01, gradient_accumulation_steps=2))
        model.fit(*DATA, **FIT | {"epochs": 1})
        return model

    compare(build, "stacked", schedule=kp.LinearRamp(0.0, 5.0, duration=6))


@pytest.mark.slow
def test_constraints():
    compare(models.constrained, "stacked")


class OwnStep(kp.PhysicsModel):
    def train_step(self, data):
        logs = super().train_step(data)
        return logs | {"twice": 2.0 * logs["loss"]}


class OwnFit(kp.PhysicsModel):
    def fit(self, *args, **kwargs):
        return super().fit(*args, **kwargs)


class OwnLogs(kp.PhysicsModel):
    def compute_metrics(self, *args, **kwargs):
        return super().compute_metrics(*args, **kwargs) | {"extra": ops.ones(())}


class StepOnObject(kp.PhysicsModel):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        step = self.train_step
        self.train_step = lambda data: step(data)


OWN_WAYS = {
    OwnStep: "overrides `train_step`",
    OwnFit: "overrides `fit`",
    StepOnObject: "overrides `train_step`",
    OwnLogs: "its logs are not those of `fit`: log 'extra'",
}


@pytest.mark.slow
@pytest.mark.parametrize("model_class", slow_but({OwnStep}, OWN_WAYS))
def test_a_model_that_trains_in_its_own_way_trains_in_turn(model_class):
    reason = OWN_WAYS[model_class]

    def build():
        model = problems.physics_model(model_class=model_class)
        model.compile("sgd", "mse")
        return model

    history = compare(build, "sequential", epochs=2)
    assert reason in history.engine
    with pytest.raises(ValueError, match=r"engine='stacked'.*engine='auto'"):
        kp.ReplicaTrainer(build(), {"x": [0.0]}, engine="stacked").fit(*DATA, **FIT)


def stateful_model():
    z = keras.Input(batch_shape=(10, 6, 3))
    hidden = keras.layers.LSTM(4, stateful=True, name="memory")
    x = keras.layers.Dense(2)(hidden(z))
    first = keras.layers.Lambda(lambda t: t[:, 0])(z)
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    model = kp.PhysicsModel(z, layer(first, x))
    model.compile(SGD(0.5), "mse")
    return model


class Counter(keras.layers.Layer):
    """Learns slower with every call, by a variable that Keras does not list."""

    def __init__(self):
        super().__init__(name="counter")
        self.calls = tf.Variable(0.0)

    def call(self, z, training=None):
        if training:
            self.calls.assign_add(1.0)
        return z / (1.0 + self.calls)


def counting_model():
    keras.utils.set_random_seed(0)
    z = keras.Input((3,))
    x = keras.layers.Dense(2)(Counter()(z))
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile(SGD(0.1), "mse")
    return model


@pytest.mark.slow
def test_a_stateful_layer_is_named_and_starts_anew_for_each_replica():
    keras.utils.set_random_seed(0)
    history = compare(stateful_model, "sequential", models.sequences(), batch_size=10)
    assert "layer 'memory' is stateful: it carries its state from one batch" in history.engine


@pytest.mark.slow
def test_state_that_keras_does_not_list_is_named_and_starts_anew_for_each_replica():
    history = compare(counting_model, "sequential")
    assert "layer 'counter' keeps state in a variable that neither" in history.engine


@pytest.mark.slow
def test_steps_that_draw_other_numbers_each_time_train_in_turn():
    class Noise(keras.layers.Layer):
        def call(self, z, training=None):
            return z + 0.1 * tf.random.normal(tf.shape(z)) if training else z

    z = keras.Input((3,))
    x = keras.layers.Dense(2)(Noise()(z))
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    history = kp.ReplicaTrainer(model, {"x": [0.0]}).fit(*DATA, **FIT)
    assert history.engine.startswith("sequential")
    assert "come out differently when they are repeated" in history.engine


def test_a_random_prediction_is_told_from_random_physics():
    class Noise(keras.layers.Layer):
        def call(self, z):
            return z + tf.random.normal(tf.shape(z))

    z = keras.Input((3,))
    x = keras.layers.Dense(2)(Noise()(z))
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    model = kp.PhysicsModel(z, layer(z, x), name="noisy")
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"Model 'noisy' gives the physics of the terms 'x', 'z'"):
        kp.ReplicaTrainer(model, {"x": [0.0]}).fit(*DATA, **FIT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [(lambda: Adam(0.01), "stacked"), (elsewhere, "sequential")],
    ids=["adam", "unsaid"],
)
def test_half_precision_hides_no_other_optimizer(optimizer, expected):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = models.mlp(optimizer())
    history = kp.ReplicaTrainer(model, {"x": [0.0, 1.0]}).fit(*DATA, **FIT)
    assert history.engine.startswith(expected), history.engine


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["stacked", "sequential"])
def test_the_answer_is_remembered(engine, monkeypatch):
    asked = []
    from keras_physreg.replicas import engine_choice

    build = engine_choice.Probe
    monkeypatch.setattr(engine_choice, "Probe", lambda *args: (asked.append(args), build(*args))[1])
    optimizer = SGD(0.1) if engine == "stacked" else keras.optimizers.Lamb(0.01)
    trainer = kp.ReplicaTrainer(models.mlp(optimizer), {"x": [0.0, 1.0]})
    first = trainer.fit(*DATA, **FIT | {"epochs": 1})
    again = trainer.refit({"x": [0.5, 1.0]}, verbose=0)
    assert first.engine.startswith(engine)
    assert first.engine == again.engine
    assert len(asked) == 1


def test_models_of_many_weights_train_in_turn(monkeypatch):
    model = models.mlp()
    step, graph = ReplicaStep(model), tf.Graph()
    count = sum(value.size for value in problems.trainable_values(model))
    monkeypatch.setattr(engines, "MAX_STACKED_WEIGHTS", count)
    names = [engine.name for engine in engines.candidates(step, "auto", graph)]
    assert names == ["stacked", "in-turn", "in-turn", "sequential"]
    monkeypatch.setattr(engines, "MAX_STACKED_WEIGHTS", count - 1)
    first, *others = engines.candidates(step, "auto", graph)
    assert [engine.name for engine in others] == ["in-turn", "stacked", "sequential"]
    assert (first.name, first.jit) == ("in-turn", True)
    assert f"with {count} trainable weights, more than {count - 1}, it is faster" in first.reason
    assert [e.name for e in engines.candidates(step, "stacked", graph)] == ["stacked", "stacked"]
