"""Replicas with point sets train as `fit` does."""

import numpy as np
import pytest

import keras_physreg as kp
from tests.points import linear
from tests.unlabelled.linear import data, more_inputs
from tests.variants import slow_but

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("quick")]
X, Y, TRUST = data()
HELD_OUT = {"pde": linear.points(6, 8)}
WEIGHTS = {"pde": [0.0, 0.3, 2.0]}
ENGINES = ["stacked", "sequential"]


def assert_same_as_fit(trainer, history, make, **fit):
    for replica, weight in enumerate(WEIGHTS["pde"]):
        model = make()
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
    "steps": (
        {"x": X, "points": linear.POINTS, "steps_per_epoch": 3},
        "`steps_per_epoch` is for a training on points alone",
    ),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_points(case):
    given, message = WRONG[case]
    trainer = kp.ReplicaTrainer(linear.model(linear.OF_POINTS, loss=None), WEIGHTS)
    with pytest.raises(ValueError, match=message):
        trainer.fit(verbose=0, **given)


def test_samplers_are_refused():
    trainer = kp.ReplicaTrainer(linear.model(linear.OF_POINTS, loss=None), WEIGHTS)
    sampler = kp.UniformSampler([0.0] * 3, [1.0] * 3)
    with pytest.raises(TypeError, match=r"must be arrays\. Draw points from a sampler once"):
        trainer.fit(points={"wall": linear.POINTS["wall"], "pde": sampler}, verbose=0)
