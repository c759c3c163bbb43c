"""A search of replicas with point sets."""

import keras_tuner
import pytest

import keras_physreg as kp
from tests.points import linear
from tests.unlabelled.linear import data

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("quick")]
X, Y, _ = data()
HELD_OUT = {"pde": linear.points(6, 8)}
GIVEN = {"validation_data": (X[:9], Y[:9]), "epochs": 1, "shuffle": False, "verbose": 0}


def make_tuner(folder):
    hypermodel = kp.PhysicsHyperModel(
        lambda hp: linear.model(), {"pde": (1e-2, 1.0)}, include_zero=False
    )
    objective = keras_tuner.Objective("val_pde_loss", "min")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=objective, max_trials=2, seed=1)
    return kp.ReplicaTuner(hypermodel, oracle, 2, directory=folder, project_name="search")


@pytest.mark.slow
def test_trials_train_on_points_and_are_scored_there(tmp_path):
    tuner = make_tuner(tmp_path)
    given = {"points": linear.POINTS, "validation_points": HELD_OUT}
    tuner.search(X, Y, **GIVEN, **given)
    trial = tuner.oracle.get_best_trials(1)[0]
    found = linear.at_the_points(*linear.values(tuner.load_model(trial)), HELD_OUT)[0]
    assert trial.score == pytest.approx(found["pde_loss"], rel=1e-4)
    fewer = {**given, "points": {name: rows[:2] for name, rows in linear.POINTS.items()}}
    with pytest.raises(ValueError, match="points of pde"):
        make_tuner(tmp_path).search(X, Y, **GIVEN, **fewer)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": X, "points": X}, "`points` must be a dict of arrays by term"),
        ({"x": None, "points": linear.POINTS}, "needs labelled rows beside `points`: give `x`"),
    ],
    ids=["no dict", "no rows"],
)
def test_wrong_points(tmp_path, given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make_tuner(tmp_path).search(**{"y": Y, **GIVEN, **given})
