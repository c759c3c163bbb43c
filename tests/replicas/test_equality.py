"""Every replica is what `model.fit` gives with its weights, seed and order of rows."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy

import keras_physreg as kp
from keras_physreg.replicas import engine_choice
from keras_physreg.unlabelled.row_order import row_order
from tests.quick_replicas import Unprobed
from tests.sweep import models
from tests.variants import slow_but

REWRITTEN_GRAPHS = True
EPOCHS = 10
KINDS = {
    "mlp": (models.mlp, models.mlp_data, "stacked"),
    "norm": (models.norm, models.mlp_data, "stacked"),
    "multi-input, l2": (models.multi_input, models.multi_input_data, "stacked"),
    "physics constants": (models.bounded_constant, models.mlp_data, "stacked"),
    "plain model": (models.plain, models.mlp_data, "stacked"),
    "constraint, clipnorm, AdamW": (models.constrained, models.mlp_data, "stacked"),
    "conv, 2D": (models.conv_2d, models.sequences, "stacked: "),
    "conv, groups": (models.grouped_conv, models.sequences, "in-turn"),
    "gru": (models.gru, models.sequences, "in-turn"),
}
CHOSEN_BY_PROBE = {"conv, 2D", "conv, groups", "gru"}


def fit_alone(build, start, weights, data, orders=None, **fit):
    """What `fit` gives from the same start; with orders, epoch by epoch on reordered rows."""
    model = build()
    model.set_weights(start)
    kp.set_term_weights(model, weights)
    if orders is None:
        return model, model.fit(*data, shuffle=False, verbose=0, **fit).history
    logs = []
    for order in orders:
        rows = [keras.tree.map_structure(lambda a, o=order: a[o], part) for part in data]
        logs.append(model.fit(*rows, shuffle=False, verbose=0, **(fit | {"epochs": 1})).history)
    return model, {key: np.concatenate([log[key] for log in logs]) for key in logs[0]}


def assert_equal(history, replica, alone, tolerance=1e-4):
    assert set(history.history) == set(alone)
    for key, values in alone.items():
        ours = history.history[key][:, replica]
        np.testing.assert_allclose(ours, values, rtol=tolerance, atol=1e-7, err_msg=key)


def check(build, data, expected, compared=(2,), **trainer):
    """Trains three replicas, and some of them with `fit`, from the same start."""
    model, data = build(), data()
    held_out = keras.tree.map_structure(lambda a: a[:16], data)
    weights = {"x": [0.0, 0.0, 1.0], "z": [0.0, 1e-3, 2.0]}
    replicas = kp.ReplicaTrainer(model, weights, **trainer)
    kept = model.get_weights()
    fit = {"validation_data": held_out, "batch_size": 8, "epochs": EPOCHS}
    history = replicas.fit(*data, shuffle=False, verbose=0, **fit)
    assert history.engine.startswith(expected)
    assert all(np.array_equal(a, b) for a, b in zip(kept, model.get_weights(), strict=True))
    for k in compared:
        replicas.load_replica(k, "initial")
        start = model.get_weights()
        one = {term: values[k] for term, values in weights.items()}
        alone, logs = fit_alone(build, start, one, data, **fit)
        assert_equal(history, k, logs)
        replicas.load_replica(k, "last")
        for ours, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    return history


@pytest.mark.parametrize("kind", slow_but({"mlp"}, KINDS))
def test_replicas_equal_fit(kind, one_program, monkeypatch):
    if kind not in CHOSEN_BY_PROBE:  # Here all steps are compared.
        monkeypatch.setattr(engine_choice, "Probe", Unprobed)
    check(*KINDS[kind])


@pytest.mark.slow
def test_replicas_equal_fit_without_xla(quick):
    """That with dense layers, too: see test_rows.py."""
    check(models.conv, models.sequences, "stacked without XLA")


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "compared"), [("in-turn", (0, 2)), ("sequential", (1,))])
def test_engines_agree(engine, compared, one_program, monkeypatch):
    monkeypatch.setattr(engine_choice, "Probe", Unprobed)
    check(models.mlp, models.mlp_data, engine, compared, engine=engine)


@pytest.mark.slow
def test_seeds_draw_weights_and_order(quick):
    model, data = models.mlp(), models.mlp_data()
    replicas = kp.ReplicaTrainer(model, {"x": [0.1, 0.1, 0.1]}, seeds=[5, 6, 5])
    history = replicas.fit(*data, batch_size=8, epochs=3, verbose=0)
    loss = history.history["loss"]
    assert np.allclose(loss[:, 0], loss[:, 2])
    assert not np.allclose(loss[:, 0], loss[:, 1])
    replicas.load_replica(1, "initial")
    orders = [row_order(6, epoch, models.ROWS) for epoch in range(3)]
    start = model.get_weights()
    _, logs = fit_alone(models.mlp, start, {"x": 0.1}, data, orders, batch_size=8)
    assert_equal(history, 1, logs)


@pytest.mark.slow
def test_sample_weights_and_metrics(quick):
    z, x = models.mlp_data()
    trust = np.linspace(0, 2, models.ROWS).astype("float32")

    def build():
        return models.mlp("sgd", metrics=["mae"], weighted_metrics=["mse"])

    model = build()
    replicas = kp.ReplicaTrainer(model, {"x": [0.5, 1.0]})
    fit = {"batch_size": 8, "epochs": 3, "validation_data": (z, x, trust)}
    history = replicas.fit(z, x, sample_weight=trust, shuffle=False, verbose=0, **fit)
    _, logs = fit_alone(build, model.get_weights(), {"x": 1.0}, (z, x), sample_weight=trust, **fit)
    assert_equal(history, 1, logs)


@pytest.mark.slow
@pytest.mark.parametrize("unit", slow_but({"step"}, ["epoch", "step"]))
def test_a_trained_model_goes_on_with_schedules(unit, quick):
    """Without seeds the optimizer's state is part of where the replicas start."""
    schedule = kp.GeometricRamp(1e-3, 1.0, duration=9)
    model, data = models.mlp(), models.mlp_data()
    fit = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(*data, epochs=2, **fit)
    replicas = kp.ReplicaTrainer(model, {"x": [0.0, schedule]}, unit=unit)
    history = replicas.fit(*data, epochs=4, **fit)
    assert int(convert_to_numpy(model.optimizer.iterations)) == 6
    scheduler = kp.WeightScheduler({"x": schedule}, unit=unit)
    logs = model.fit(*data, epochs=4, callbacks=[scheduler], **fit).history
    assert_equal(history, 1, {k: v for k, v in logs.items() if not k.endswith("_weight")})
    assert np.isnan(history.weights["x"][1])


@pytest.mark.slow
def test_dropout_in_distribution(one_program):
    """The compiled random numbers are others than those of `fit`: the losses agree on average."""
    z, x = models.mlp_data(200)

    def build():
        return models.norm(0.3)

    fit = {"batch_size": 50, "epochs": 5}
    seeds = list(range(12))
    model = build()
    replicas = kp.ReplicaTrainer(model, {"x": [0.1] * 12}, seeds=seeds)
    ours = replicas.fit(z, x, shuffle=False, verbose=0, **fit).history["loss"]
    assert len(np.unique(ours[0])) == 12
    alone = []
    for k in range(6):
        replicas.load_replica(k, "initial")
        model.optimizer.iterations.assign(0)
        for variable in model.optimizer.variables[2:]:
            variable.assign(np.zeros(variable.shape))
        alone.append(model.fit(z, x, shuffle=False, verbose=0, **fit).history["loss"])
    mean, spread = np.mean(alone, axis=0), np.std(alone, axis=0) / np.sqrt(6)
    np.testing.assert_array_less(np.abs(ours[:, :6].mean(axis=1) - mean), 4 * spread + 0.02)
