"""Engines, divergence, interruption, memory and bad input of ReplicaTrainer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from keras_physreg.replicas import compiled, program_spec
from keras_physreg.replicas.program import Program
from tests import kept_graphs, problems
from tests.ctrl_c import told_of_every_epoch
from tests.sweep import models
from tests.variants import slow_but

DATA = models.mlp_data()


def fit(model, weights=(0.0, 1.0), epochs=2, seeds=None, **trainer):
    replicas = kp.ReplicaTrainer(model, {"x": weights}, seeds, **trainer)
    return replicas, replicas.fit(*DATA, DATA, epochs=epochs, verbose=0)


@pytest.mark.slow
def test_what_does_not_stack_runs_in_turn(quick, monkeypatch):
    def refuse(function, values):
        raise ValueError("no converter")

    monkeypatch.setattr("keras_physreg.replicas.engines.stacked", refuse)
    _, history = fit(models.mlp())
    assert history.engine.startswith("in-turn")
    assert "no converter" in history.engine


def test_a_diverging_replica_is_marked_and_harms_no_other(quick):
    model = models.mlp("sgd")
    trainer = kp.ReplicaTrainer(model, {"z": [0.0, 1e30, 1.0]})
    history = trainer.fit(*DATA, epochs=4, verbose=0)
    alone = trainer.refit({"z": [0.0, 1.0, 0.0]}, verbose=0)
    assert list(history.diverged) == [False, True, False]
    assert history.diverged_at[1] >= 0
    loss = history.history["loss"]
    np.testing.assert_allclose(loss[:, [0, 2]], alone.history["loss"][:, :2], rtol=1e-5)


def test_best_epoch_and_weights(quick):
    replicas, history = fit(models.mlp(keras.optimizers.SGD(0.5)), epochs=8, seeds=[1, 2])
    assert history.monitor == "val_data_loss"
    monitored = history.history["val_data_loss"]
    assert list(history.best_epoch) == list(monitored.argmin(axis=0))
    for k in (0, 1):
        replicas.load_replica(k)
        logs = replicas.model.evaluate(*DATA, return_dict=True, verbose=0)
        assert logs["data_loss"] == pytest.approx(monitored[:, k].min(), rel=1e-4)
        assert kp.get_term_weights(replicas.model)["x"] == [0.0, 1.0][k]
    assert history.at_best("val_data_loss")[1] == monitored[:, 1].min()
    assert history.at_last("val_data_loss")[1] == monitored[-1, 1]


@pytest.mark.slow
def test_groups_and_programs_give_the_same(monkeypatch):
    model, weights = models.mlp(), [0.0, 0.1, 1.0, 2.0, 3.0]
    monkeypatch.setattr(compiled, "cores", lambda: 2)
    _, split = fit(model, weights, replicas_per_program=2)
    assert "2 programs of 2, 3 groups" in split.engine
    monkeypatch.setattr(compiled, "cores", lambda: 1)
    _, whole = fit(model, weights)
    for key, values in whole.history.items():
        np.testing.assert_allclose(split.history[key], values, rtol=1e-5, err_msg=key)


@pytest.mark.slow
def test_many_epochs_in_calls_of_some(quick, monkeypatch):
    model = models.mlp()
    _, whole = fit(model, epochs=7)
    monkeypatch.setattr(program_spec, "STEPS_PER_CALL", 3)
    _, parts = fit(model, epochs=7)
    for key, values in whole.history.items():
        assert values.shape == (7, 2)
        np.testing.assert_allclose(parts.history[key], values, rtol=1e-5)


@pytest.mark.slow
def test_too_little_memory_halves_the_programs(quick, monkeypatch):
    load = Program.load

    def load_few(self, weights, optimizer):
        if self.size > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")
        load(self, weights, optimizer)

    monkeypatch.setattr(Program, "load", load_few)
    _, history = fit(models.mlp(), [0.0, 0.1, 0.2, 0.3])
    assert "1 program of 2, 2 groups" in history.engine


@pytest.mark.slow
def test_programs_are_as_large_as_the_free_memory_allows(quick, monkeypatch):
    monkeypatch.setattr("keras_physreg.replicas.memory.free_memory", lambda: 40_000)
    _, history = fit(models.mlp(), [0.0, 0.1, 0.2, 0.3])
    assert "groups" in history.engine
    kept_graphs.forget_programs()
    monkeypatch.setattr("keras_physreg.replicas.memory.free_memory", lambda: 2**30)
    _, history = fit(models.mlp(), [0.0, 0.1, 0.2, 0.3])
    assert "1 program of 4" in history.engine


@pytest.mark.slow
def test_not_even_one_replica_fits(quick, monkeypatch):
    def load_none(self, weights, optimizer):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(Program, "load", load_none)
    with pytest.raises(MemoryError, match=r"batch_size"):
        fit(models.mlp())


@pytest.mark.parametrize("engine", slow_but({"stacked"}, ["stacked", "sequential"]))
def test_ctrl_c_returns_what_was_finished(engine, quick, monkeypatch):
    told_of_every_epoch(monkeypatch)
    replicas = kp.ReplicaTrainer(models.mlp(), {"x": [0.0, 1.0]}, engine=engine)

    def interrupt(done):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_physreg.replicas.trainer._progress", lambda *_: interrupt)
    kept = replicas.model.get_weights()
    history = replicas.fit(*DATA, epochs=500, verbose=0)
    assert history.interrupted
    assert 0 < history.epochs_done[0] < 500
    assert history.history["loss"].shape == (history.epochs_done[0], 2)
    assert np.isfinite(history.history["loss"][:, 0]).all()
    assert problems.arrays_equal(kept, replicas.model.get_weights())


@pytest.mark.slow
def test_frozen_and_adapted_layers_keep_their_weights(quick):
    z = keras.Input((3,))
    scale = keras.layers.Normalization()
    scale.adapt(DATA[0])
    frozen = keras.layers.Dense(4, trainable=False)
    x = keras.layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    layer = kp.PhysicsRegularization(problems.Gain(3.0), problems.terms())
    model = kp.PhysicsModel(z, layer(z, x(frozen(scale(z)))))
    model.compile("sgd", "mse")
    replicas, _ = fit(model, seeds=[1, 2])
    kept = [v.numpy() for v in (*scale.weights, *frozen.weights, *layer.physics.weights)]
    kernels = []
    for k in (0, 1):
        replicas.load_replica(k, "initial")
        present = [v.numpy() for v in (*scale.weights, *frozen.weights, *layer.physics.weights)]
        assert problems.arrays_equal(kept, present)
        kernels.append(x.kernel.numpy())
    assert not np.allclose(*kernels)


def random_physics(z, x_pred):
    return {"x": z[:, :2] + keras.random.normal((2,)), "z": x_pred}


@pytest.mark.slow
def test_graphs_of_operations_are_drawn_anew(quick):
    z = keras.Input((3,))
    h = keras.layers.Dense(2, activation=lambda t: t * t)(z)
    h = keras.layers.Lambda(lambda t: 2 * t)(h) + keras.ops.sin(z[:, :2])
    x = keras.layers.Dense(2)(h)
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    model = kp.PhysicsModel(z, layer(z, x))
    model.compile("sgd", "mse")
    _, history = fit(model, seeds=[1, 2])
    assert history.history["loss"][0, 0] != history.history["loss"][0, 1]


@pytest.mark.slow
def test_engines_see_the_same_rows(quick):
    model = models.mlp("sgd")
    logs = [
        kp.ReplicaTrainer(model, {"x": [0.0, 1.0]}, seeds=[3, 4], engine=engine)
        .fit(*DATA, epochs=3, batch_size=4, verbose=0)
        .history["loss"]
        for engine in ("stacked", "sequential")
    ]
    np.testing.assert_allclose(*logs, rtol=1e-4)


class WithoutConfig(keras.optimizers.SGD):
    def get_config(self):
        return {"forgotten": 1.0}


@pytest.mark.slow
def test_an_optimizer_without_a_config_trains_one_after_the_other():
    model = problems.physics_model()
    model.compile(WithoutConfig(0.01), "mse")
    _, history = fit(model, seeds=[1, 2])
    assert history.engine.startswith("sequential")
    model.fit(*DATA, verbose=0)
    with pytest.raises(ValueError, match=r"(?s)of type WithoutConfig.*seeds=None"):
        fit(model, seeds=[1, 2])


def not_copied():
    class Lost(problems.Subclassed):
        def get_config(self):
            raise NotImplementedError("no config")

    model = Lost()
    model.compile("sgd", "mse")
    return model


@pytest.mark.slow
def test_a_subclassed_model_is_drawn_anew_by_its_config(quick):
    model = problems.Subclassed()
    model.compile("sgd", "mse")
    _, history = fit(model, seeds=[1, 2])
    assert history.history["loss"][0, 0] != history.history["loss"][0, 1]


def uncompiled():
    return problems.physics_model()


def noisy():
    model = problems.physics_model(random_physics)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (uncompiled, {}, ValueError, r"not compiled.*compile"),
        (lambda: "model", {}, TypeError, r"must be a Keras model.*'model'"),
        (models.mlp, {"weights": {"y": [1.0]}}, ValueError, r"no physics term named 'y'"),
        (models.mlp, {"weights": {"x": [1.0], "z": [1.0, 2.0]}}, ValueError, r"'x': 1, 'z': 2"),
        (models.mlp, {"weights": {"x": [1.0, 2.0]}, "seeds": [1]}, ValueError, r"'seeds': 1"),
        (models.mlp, {"weights": {"x": [-1.0]}}, ValueError, r"term 'x'.*-1.0"),
        (models.mlp, {"weights": {"x": [np.nan]}}, ValueError, r"term 'x'.*nan"),
        (models.mlp, {"weights": {"x": ["1"]}}, TypeError, r"term 'x'.*'1'"),
        (models.mlp, {"weights": {"x": 1.0}}, ValueError, r"'x'.*list.*1.0"),
        (models.mlp, {"weights": {"x": [0.0, [0.1, 1.0]]}}, ValueError, r"'x'.*Staircase\(weights"),
        (models.mlp, {"weights": {"x": []}}, ValueError, r"no replicas"),
        (models.mlp, {"weights": {}}, ValueError, r"no replicas"),
        (models.mlp, {"weights": [1.0]}, TypeError, r"dict"),
        (models.mlp, {"seeds": [0.5]}, ValueError, r"whole numbers.*0.5"),
        (models.mlp, {"engine": "fast"}, ValueError, r"'fast'"),
        (models.mlp, {"unit": "hour"}, ValueError, r"'hour'"),
        (models.mlp, {"replicas_per_program": 0}, ValueError, r"replicas_per_program=0"),
        (models.mlp, {"fit": {"monitor": "val_acc"}}, ValueError, r"'val_acc'.*val_data_loss"),
        (models.plain, {"fit": {"monitor": "val_data_loss"}}, ValueError, r"PhysicsModel.*val_mse"),
        (models.mlp, {"fit": {"epochs": 0}}, ValueError, r"epochs=0"),
        (models.mlp, {"fit": {"batch_size": 0}}, ValueError, r"batch_size=0"),
        (models.mlp, {"fit": {"mode": "least"}}, ValueError, r"'least'"),
        (models.mlp, {"fit": {"validation_data": DATA[0]}}, ValueError, r"validation_data"),
        (models.mlp, {"fit": {"sample_weight": np.ones(3)}}, ValueError, r"\(20, 3\).*\(3,\)"),
        (noisy, {}, ValueError, r"physics of term 'x' gives other values.*it is random, or keeps"),
        (not_copied, {"seeds": [1]}, ValueError, r"cannot be copied.*seeds=None"),
    ],
)
def test_bad_input(model, arguments, error, message):
    arguments = dict(arguments)
    fit_arguments = {"validation_data": DATA} | arguments.pop("fit", {})
    with pytest.raises(error, match=f"(?s){message}"):
        kp.ReplicaTrainer(model(), arguments.pop("weights", {"x": [1.0]}), **arguments).fit(
            *DATA, verbose=0, **fit_arguments
        )


def random_where(z, x_pred):
    chosen = keras.random.uniform((20,)) > 0.5
    return {"x": kp.on_rows(z[:, :2] / 2, chosen), "z": 2 * x_pred}


class Counting(keras.layers.Layer):
    """Physics with state that is no variable."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, z, x_pred):
        self.calls += 1
        return {"x": self.calls * z[:, :2], "z": x_pred}


class RandomAtTheLabels(keras.layers.Layer):
    def call(self, z, x_pred):
        return {"x": x_pred + tf.random.normal((2,)) - z[:, :2]}


NOT_REPEATABLE = {
    "counter": lambda: problems.physics_model(Counting()),
    "at the labels": lambda: problems.physics_model(
        RandomAtTheLabels(), [kp.PhysicsTerm("x", at="labels")]
    ),
}


@pytest.mark.parametrize("kind", NOT_REPEATABLE)
def test_physics_that_is_random_or_keeps_state_is_named(kind):
    model = NOT_REPEATABLE[kind]()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"physics of term 'x' gives other.*random, or keeps"):
        kp.ReplicaTrainer(model, {"x": [0.0, 1.0]}).fit(*DATA, verbose=0)


@pytest.mark.slow
def test_rows_that_are_chosen_at_random_are_named():
    model = problems.physics_model(random_where)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"Term 'x' counts other rows.*it is random, or keeps"):
        kp.ReplicaTrainer(model, {"x": [0.0, 1.0]}).fit(*DATA, verbose=0)


@pytest.mark.slow
def test_random_physics_with_a_generator_of_its_own_serves(one_program):
    class Noise(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed = keras.random.SeedGenerator(1)

        def call(self, z, x_pred):
            noise = 0.1 * keras.random.normal(ops.shape(x_pred), seed=self.seed)
            return {"x": z[:, :2] / 2 + noise, "z": 2 * x_pred}

    model = problems.physics_model(Noise())
    model.compile("sgd", "mse")
    _, history = fit(model)
    assert history.engine.startswith("stacked")
    assert np.all(history.history["x_loss"] > 0)


@pytest.mark.slow
def test_load_replica_bad_input(quick):
    replicas = kp.ReplicaTrainer(models.mlp(), {"x": [0.0, 1.0]})
    with pytest.raises(RuntimeError, match="fit"):
        replicas.load_replica(0)
    replicas.fit(*DATA, verbose=0)
    with pytest.raises(ValueError, match=r"0..1.*replica=2"):
        replicas.load_replica(2)
    with pytest.raises(ValueError, match=r"'worst'"):
        replicas.load_replica(0, "worst")
