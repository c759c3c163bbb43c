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


SAMPLER = kp.UniformSampler([-1.0] * 3, [1.0] * 3, seed=7)
ALONE = {
    "points": {"pde": SAMPLER, "wall": linear.POINTS["wall"]},
    "points_batch_size": {"pde": 6, "wall": 2},
    "validation_points": HELD_OUT,
    "steps_per_epoch": 3,
    "epochs": 2,
    "verbose": 0,
}


def made_of_points(hp):
    return linear.model(linear.OF_POINTS, loss=None)


def make_tuner_of_points(folder, objective="val_pde_loss", **given):
    hypermodel = kp.PhysicsHyperModel(made_of_points, {"pde": (1e-2, 1.0)}, include_zero=False)
    objective = keras_tuner.Objective(objective, "min")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=objective, max_trials=2, seed=1)
    return kp.ReplicaTuner(hypermodel, oracle, 2, directory=folder, project_name="s", **given)


def test_a_search_on_points_alone(tmp_path):
    tuner = make_tuner_of_points(tmp_path, seed=3)
    tuner.search(**ALONE)
    trials = tuner.oracle.get_best_trials(2)
    weights = [trial.hyperparameters.get("pde_weight") for trial in trials]
    trainer = kp.ReplicaTrainer(made_of_points(None), {"pde": weights}, seeds=[3, 3])
    history = trainer.fit(**ALONE, monitor="val_pde_loss")
    expected = history.at_best("val_pde_loss")
    assert [trial.score for trial in trials] == pytest.approx(expected.tolist(), rel=1e-5)
    found = linear.at_the_points(*linear.values(tuner.load_model(trials[0])), HELD_OUT)[0]
    assert trials[0].score == pytest.approx(found["pde_loss"], rel=1e-4)
    with pytest.raises(ValueError, match="points_batch_size"):
        make_tuner_of_points(tmp_path, seed=3).search(**{**ALONE, "points_batch_size": 2})


@pytest.mark.slow
def test_samplers_beside_labelled_rows(tmp_path):
    tuner = make_tuner(tmp_path)
    names = ("points", "points_batch_size", "validation_points")
    tuner.search(X, Y, **GIVEN, **{name: ALONE[name] for name in names})
    assert tuner.oracle.get_best_trials(1)[0].status == "COMPLETED"


@pytest.mark.slow
def test_the_tuners_of_keras_tuner_search_on_points_alone(tmp_path):
    hypermodel = kp.PhysicsHyperModel(made_of_points, {"pde": (1e-2, 1.0)}, include_zero=False)
    objective = keras_tuner.Objective("val_pde_loss", "min")
    tuner = keras_tuner.RandomSearch(
        hypermodel, objective, max_trials=1, directory=tmp_path, project_name="own"
    )
    tuner.search(**ALONE)
    assert tuner.oracle.get_best_trials(1)[0].status == "COMPLETED"


WRONG = {
    "no dict": ({"points": X}, "must be a dict of"),
    "size of nothing": ({"points": None}, "arguments need `points`"),
    "nothing": ({"epochs": 1, **dict.fromkeys(ALONE)}, "needs rows to train on"),
    "labels": ({"y": Y}, "`y` is for labelled rows, but `x` is None"),
    "held-out rows": ({"validation_data": (X, Y)}, "`validation_data` is for labelled rows"),
    "groups": ({"groups": X[:, 0]}, "`groups` is for labelled rows"),
    "no held-out points": ({"validation_points": None}, r"Terms with `validation_points`: \[\]"),
    "other held-out points": (
        {"validation_points": {"wall": linear.POINTS["wall"]}},
        r"Terms with `validation_points`: \['wall'\]. Received: objective='val_pde_loss'",
    ),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_points(tmp_path, case):
    given, message = WRONG[case]
    given = {name: value for name, value in {**ALONE, **given}.items() if value is not None}
    with pytest.raises((TypeError, ValueError), match=message):
        make_tuner_of_points(tmp_path).search(**given)


def test_splits_need_labelled_rows(tmp_path):
    with pytest.raises(ValueError, match="splits labelled rows, but `x` is None"):
        make_tuner_of_points(tmp_path, cv=5).search(**ALONE)
