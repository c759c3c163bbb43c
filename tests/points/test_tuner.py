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


OF_POINTS = {
    "points": {
        "pde": kp.UniformSampler([-1.0] * 3, [1.0] * 3, seed=7),
        "wall": linear.POINTS["wall"],
    },
    "points_batch_size": {"pde": 6, "wall": 2},
    "validation_points": HELD_OUT,
}


@pytest.mark.slow
def test_samplers_and_batches_of_points(tmp_path):
    tuner = make_tuner(tmp_path)
    tuner.search(X, Y, **GIVEN, **OF_POINTS)
    assert tuner.oracle.get_best_trials(1)[0].status == "COMPLETED"
    with pytest.raises(ValueError, match="points_batch_size"):
        make_tuner(tmp_path).search(X, Y, **GIVEN, **{**OF_POINTS, "points_batch_size": 2})


@pytest.mark.slow
def test_points_beside_labelled_rows_need_no_validation_data(tmp_path):
    tuner = make_tuner(tmp_path)
    given = {**GIVEN, "validation_data": None, "points": linear.POINTS}
    tuner.search(X, Y, validation_points=HELD_OUT, **given)
    trial = tuner.oracle.get_best_trials(1)[0]
    found = linear.at_the_points(*linear.values(tuner.load_model(trial)), HELD_OUT)[0]
    assert trial.score == pytest.approx(found["pde_loss"], rel=1e-4)


ALONE = {"points": linear.POINTS, "epochs": 2, "steps_per_epoch": 3, "verbose": 0}


def of_points(hp=None):
    return linear.model(linear.OF_POINTS, loss=None)


def tuner_of_points_alone(folder, objective):
    hypermodel = kp.PhysicsHyperModel(of_points, {"pde": (1e-2, 1.0)}, include_zero=False)
    objective = keras_tuner.Objective(objective, "min")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=objective, max_trials=2, seed=1)
    return kp.ReplicaTuner(hypermodel, oracle, 2, seed=None, directory=folder)


def trained_by_hand(trial):
    """Kernel and bias after each epoch."""
    start = linear.values(of_points())
    weight = {**linear.WEIGHTS, "pde": trial.hyperparameters.get("pde_weight")}
    return linear.train_on_points(start, 6, linear.whole, weight)[0][2::3]


def test_points_alone_are_scored_by_a_term_that_is_not_searched(tmp_path):
    tuner = tuner_of_points_alone(tmp_path, "val_wall_loss")
    held_out = {"wall": linear.points(6, 8)}
    tuner.search(**ALONE, validation_points=held_out)
    for trial in tuner.oracle.get_best_trials(2):
        course = [linear.at_the_points(*each, held_out)[0] for each in trained_by_hand(trial)]
        assert trial.score == pytest.approx(min(each["wall_loss"] for each in course), rel=1e-4)


@pytest.mark.slow
def test_another_tuner_scores_by_validation_points(tmp_path):
    hypermodel = kp.PhysicsHyperModel(of_points, {"pde": (1e-2, 1.0)}, include_zero=False)
    objective = keras_tuner.Objective("val_wall_loss", "min")
    tuner = keras_tuner.RandomSearch(hypermodel, objective, 1, directory=tmp_path)
    held_out = {"wall": linear.points(6, 8)}
    tuner.search(**ALONE, validation_points=held_out)
    (trial,) = tuner.oracle.get_best_trials(1)
    course = [linear.at_the_points(*each, held_out)[0] for each in trained_by_hand(trial)]
    assert trial.score == pytest.approx(min(each["wall_loss"] for each in course), rel=1e-4)


WRONG = {
    "no dict": ({"points": X}, "must be a dict of"),
    "size of nothing": ({"points": None}, "arguments need `points`"),
    "no rows": ({"x": None, "y": None, "points": None, "points_batch_size": None}, "needs rows to"),
    "a searched term": (
        {"x": None, "y": None},
        "the loss of a searched term falls as the weights of the others",
    ),
    "no held-out points": (
        {"validation_data": None, "validation_points": None},
        r"give `validation_points` of that term. Received: .*val_pde_loss",
    ),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_points(tmp_path, case):
    given, message = WRONG[case]
    given = {"x": X, "y": Y, **GIVEN, **OF_POINTS, **given}
    given = {name: value for name, value in given.items() if value is not None}
    with pytest.raises((TypeError, ValueError), match=message):
        make_tuner(tmp_path).search(**given)
