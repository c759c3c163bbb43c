"""Replicas with point sets train as `fit` does."""

import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.models import fit_points
from keras_physreg.replicas import drawn_rows, streamed_rows
from tests.points import linear
from tests.unlabelled.linear import data, more_inputs
from tests.variants import slow_but

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("quick")]
X, Y, TRUST = data()
HELD_OUT = {"pde": linear.points(6, 8)}
WEIGHTS = {"pde": [0.0, 0.3, 2.0]}
ENGINES = ["stacked", "sequential"]


def assert_same_as_fit(trainer, history, make, **fit):
    for replica in (0, 2):  # Without the term, and with it.
        weight, model = WEIGHTS["pde"][replica], make()
        kp.set_term_weights(model, {"pde": weight})
        logs = model.fit(shuffle=False, verbose=0, **fit).history
        assert set(history.history) == set(logs)
        for key, values in logs.items():
            found = history.history[key][:, replica]
            np.testing.assert_allclose(found, values, rtol=1e-4, err_msg=key)
        trainer.load_replica(replica, "last")
        for one, two in zip(linear.values(trainer.model), linear.values(model), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_beside_labelled_rows(engine):
    given = {"points": linear.POINTS, "validation_points": HELD_OUT, "batch_size": 8, "epochs": 2}
    given |= {"validation_data": (X[:9], Y[:9])}
    trainer = kp.ReplicaTrainer(linear.model(), WEIGHTS, engine=engine)
    history = trainer.fit(X, Y, shuffle=False, verbose=0, **given)
    assert history.engine.startswith(engine)
    assert_same_as_fit(trainer, history, linear.model, x=X, y=Y, **given)


@pytest.mark.slow
def test_beside_unlabelled_rows():
    given = {"points": linear.POINTS, "batch_size": 8, "epochs": 2}
    given |= {"unlabelled": more_inputs(), "unlabelled_batch_size": 6}
    trainer = kp.ReplicaTrainer(linear.model(), WEIGHTS, engine="stacked")
    history = trainer.fit(X, Y, shuffle=False, verbose=0, **given)
    assert_same_as_fit(trainer, history, linear.model, x=X, y=Y, **given)


@pytest.mark.slow
@pytest.mark.parametrize("engine", slow_but({"stacked"}, ENGINES))
def test_without_labelled_rows(engine):
    def make():
        return linear.model(linear.OF_POINTS, loss=None)

    given = {"points": linear.POINTS, "validation_points": HELD_OUT, "epochs": 2}
    given |= {"steps_per_epoch": 4}
    trainer = kp.ReplicaTrainer(make(), WEIGHTS, engine=engine)
    history = trainer.fit(verbose=0, monitor="val_pde_loss", **given)
    assert history.engine.startswith(engine)
    assert_same_as_fit(trainer, history, make, **given)
    trainer.load_replica(0, "initial")
    again = trainer.refit({"pde": [2.0, 0.3]}, verbose=0)
    np.testing.assert_allclose(
        again.history["val_pde_loss"], history.history["val_pde_loss"][:, [2, 1]], rtol=1e-5
    )


SAMPLER = kp.UniformSampler([-1.0] * 3, [1.0] * 3, seed=7)
CHANGING = {
    "points": {"pde": SAMPLER, "wall": linear.POINTS["wall"]},
    "points_batch_size": {"pde": 6, "wall": 2},
}
EVERY = [*ENGINES, "in-turn"]


def alone():
    return linear.model(linear.OF_POINTS, loss=None)


@pytest.mark.slow
@pytest.mark.parametrize("engine", slow_but({"stacked"}, EVERY))
def test_samplers_and_batches_of_points(engine):
    given = {**CHANGING, "epochs": 2, "steps_per_epoch": 4}
    trainer = kp.ReplicaTrainer(alone(), WEIGHTS, engine=engine)
    history = trainer.fit(shuffle=False, verbose=0, **given)
    assert history.engine.startswith(engine)
    assert_same_as_fit(trainer, history, alone, **given)

    def points_of(step):
        rows = np.arange(2 * step, 2 * step + 2) % 5
        return {"pde": SAMPLER(step, 6), "wall": linear.POINTS["wall"][rows]}

    weight = {"pde": WEIGHTS["pde"][1], "wall": linear.WEIGHTS["wall"]}
    course, _ = linear.train_on_points(linear.values(alone()), 8, points_of, weight)
    trainer.load_replica(1, "last")
    for found, expected in zip(linear.values(trainer.model), course[-1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["stacked", "in-turn"])
def test_samplers_and_batches_beside_labelled_rows(engine):
    given = {**CHANGING, "batch_size": 8, "epochs": 2}
    trainer = kp.ReplicaTrainer(linear.model(), WEIGHTS, engine=engine)
    history = trainer.fit(X, Y, shuffle=False, verbose=0, **given)
    assert history.engine.startswith(engine)
    assert_same_as_fit(trainer, history, linear.model, x=X, y=Y, **given)


@pytest.mark.slow
def test_a_sampler_of_unlabelled_rows():
    given = {**CHANGING, "batch_size": 8, "epochs": 2}
    given |= {"unlabelled": kp.UniformSampler([0.0] * 3, [1.0] * 3), "unlabelled_batch_size": 6}
    trainer = kp.ReplicaTrainer(linear.model(), WEIGHTS, engine="stacked")
    history = trainer.fit(X, Y, shuffle=False, verbose=0, **given)
    assert_same_as_fit(trainer, history, linear.model, x=X, y=Y, **given)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_each_seed_has_the_points_of_a_fit_with_this_seed(engine, monkeypatch):
    """Batches of arrays come in the order of the seed; a sampler draws the same for all seeds."""
    weights, seeds = {"pde": [0.3, 0.3, 2.0]}, [5, 6, 5]
    given = {**CHANGING, "epochs": 2, "steps_per_epoch": 4, "verbose": 0}
    trainer = kp.ReplicaTrainer(alone(), weights, seeds, engine=engine)
    history = trainer.fit(**given)
    assert history.engine.startswith(engine)
    for replica, (seed, weight) in enumerate(zip(seeds, weights["pde"], strict=True)):
        trainer.load_replica(replica, "initial")
        single = alone()
        single.set_weights(trainer.model.get_weights())
        monkeypatch.setattr(fit_points, "lasting_seed", lambda optimizer, seed=seed: seed)
        logs = single.fit(**given).history
        assert kp.get_term_weights(single)["pde"] == pytest.approx(weight)
        for key, values in logs.items():
            np.testing.assert_allclose(history.history[key][:, replica], values, rtol=1e-5)
        trainer.load_replica(replica, "last")
        for one, two in zip(linear.values(trainer.model), linear.values(single), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_replicas_go_on_where_the_model_stopped():
    """Without seeds they continue in the middle of the points, as `fit` does."""
    model, other = alone(), alone()
    given = {**CHANGING, "steps_per_epoch": 3, "shuffle": False, "verbose": 0}
    for made in (model, other):
        made.fit(**given)
    trainer = kp.ReplicaTrainer(model, {"pde": [0.3, 0.1]}, engine="stacked")
    trainer.fit(**given)
    logs = other.fit(**given).history
    trainer.load_replica(0, "last")
    assert logs["loss"][0] > 0
    for one, two in zip(linear.values(model), linear.values(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_as_shipped(as_shipped):
    """Programs by XLA, one per core, pass the comparison with `fit` with points that change."""
    given = {**CHANGING, "epochs": 3, "steps_per_epoch": 4}
    trainer = kp.ReplicaTrainer(alone(), WEIGHTS)
    history = trainer.fit(shuffle=False, verbose=0, **given)
    assert history.engine.startswith("stacked: ")
    assert "equal those of `fit`" in history.engine
    assert_same_as_fit(trainer, history, alone, **given)


def test_many_drawn_points_come_in_several_calls(monkeypatch):
    calls = []

    def sampler(step, batch):
        calls.append(step)
        return SAMPLER(step, batch)

    monkeypatch.setattr(streamed_rows, "MAX_BYTES_PER_CALL", 8 * 6 * 3 * 4)  # of 8 steps
    monkeypatch.setattr(drawn_rows, "MAX_KEPT_BYTES", 0)
    given = {"points": CHANGING["points"] | {"pde": sampler}, "points_batch_size": {"pde": 6}}
    trainer = kp.ReplicaTrainer(alone(), WEIGHTS, engine="stacked")
    history = trainer.fit(epochs=5, steps_per_epoch=4, verbose=0, **given)
    assert len(history.history["loss"]) == 5
    assert max(calls) == 19
    kept = trainer._job.streamed.sources["pde"]._known
    assert list(kept) == [(16, 4)]  # Two epochs per call, and only the last call's are kept.


@pytest.mark.slow
def test_points_alone_without_points_of_the_validation():
    def make():
        return linear.model(linear.OF_POINTS, loss=None)

    given = {"points": linear.POINTS, "steps_per_epoch": 3}
    trainer = kp.ReplicaTrainer(make(), WEIGHTS)
    history = trainer.fit(verbose=0, **given)
    assert_same_as_fit(trainer, history, make, **given)


@pytest.mark.slow
def test_the_model_keeps_its_own_points():
    """A replica training beside a `fit` with other points changes neither."""
    model = linear.model(linear.OF_POINTS, loss=None)
    points = {"points": linear.POINTS, "steps_per_epoch": 2}
    model.fit(verbose=0, **points)
    other = linear.model(linear.OF_POINTS, loss=None)
    other.set_weights(model.get_weights())
    few = {name: rows[:2] for name, rows in linear.POINTS.items()}
    kp.ReplicaTrainer(model, WEIGHTS, engine="sequential").fit(points=few, verbose=0)
    for made in (model, other):
        made.fit(verbose=0, **points)
    for one, two in zip(linear.values(model), linear.values(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)


WRONG = {
    "nothing": ({}, "`fit` needs rows: inputs `x`, or a dict of `points`"),
    "labels": (
        {"points": linear.POINTS, "y": linear.POINTS["pde"][:, :2]},
        "`y` is for labelled rows, but `x` is None",
    ),
    "unlabelled": (
        {"points": linear.POINTS, "unlabelled": X},
        "`unlabelled` is for labelled rows",
    ),
    "missing": ({"points": {"pde": linear.POINTS["pde"]}}, r"Without points: \['wall'\]"),
    "unknown": ({"points": {"pdf": linear.POINTS["pde"]}}, "Did you mean 'pde'"),
    "width": (
        {"points": linear.POINTS | {"pde": X[:, :2]}},
        r"`points\['pde'\]` must have the row shape of the model's inputs: \('rows', 3\)",
    ),
    "sampler of another width": (
        {"points": linear.POINTS | {"pde": kp.UniformSampler([0.0], [1.0])}}
        | {"points_batch_size": {"pde": 4}},
        r"`points\['pde'\]` must have the row shape of the model's inputs: \('rows', 3\)",
    ),
    "dataset": (
        {"points": {"wall": linear.POINTS["wall"], "pde": tf.data.Dataset.range(3)}},
        r"`points\['pde'\]` must be arrays or a sampler .* Join the rows of a dataset",
    ),
    "sampler without size": (
        {"points": CHANGING["points"]},
        r"sampler given as `points\['pde'\]` needs the number of points per step",
    ),
    "size of no points": (
        {"points": linear.POINTS, "points_batch_size": {"pdf": 2}},
        "`points_batch_size` names a term that has no points. Did you mean 'pde'",
    ),
    "size without points": (
        {"x": X, "points_batch_size": 2},
        "These arguments need `points`",
    ),
    "validation sampler": (
        {"points": linear.POINTS, "validation_points": {"pde": SAMPLER}},
        r"`validation_points\['pde'\]` must be arrays. Draw points from a sampler once",
    ),
    "steps": (
        {"x": X, "points": linear.POINTS, "steps_per_epoch": 3},
        "`steps_per_epoch` is for a training on points alone",
    ),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_points(case):
    given, message = WRONG[case]
    trainer = kp.ReplicaTrainer(linear.model(linear.OF_POINTS, loss=None), WEIGHTS)
    with pytest.raises((TypeError, ValueError), match=message):
        trainer.fit(verbose=0, **given)


def test_a_monitor_without_its_validation_points():
    trainer = kp.ReplicaTrainer(linear.model(), WEIGHTS)
    given = {"points": linear.POINTS, "validation_data": (X, Y), "monitor": "val_pde_loss"}
    with pytest.raises(ValueError, match=r"'val_pde_loss'.*Give `validation_points` of its term"):
        trainer.fit(X, Y, verbose=0, **given)
