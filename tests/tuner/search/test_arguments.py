"""What a ReplicaTuner and its search refuse, and why."""

import keras
import keras_tuner
import pytest
import tensorflow as tf

import keras_physreg as kp
from tests import problems
from tests.tuner.replica_searches import build, invent, make_tuner, random_oracle, search

Objective = keras_tuner.Objective
HYPERMODEL = kp.PhysicsHyperModel(build, {"x": (1e-2, 10.0), "z": (1e-2, 10.0)})


class OwnFit(keras_tuner.HyperModel):
    def build(self, hp):
        return build(hp)

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)


def with_objective(objective):
    return random_oracle(objective=objective)


def other_space():
    space = keras_tuner.HyperParameters()
    space.Choice("units", [1, 2])
    return space


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"hypermodel": build}, TypeError, r"PhysicsHyperModel.*Received: hypermodel=<function"),
        (
            {"hypermodel": kp.PhysicsHyperModel(OwnFit(), {"x": (1.0, 2.0)})},
            ValueError,
            r"`fit` of its own.*RandomSearch.*Received: hypermodel=<.*OwnFit",
        ),
        (
            {"oracle": "random"},
            TypeError,
            r"must be a KerasTuner oracle.*Received: oracle='random'",
        ),
        (
            {"oracle": keras_tuner.oracles.HyperbandOracle()},
            ValueError,
            r"does not take a `HyperbandOracle`.*keras_tuner\.Hyperband\(hypermodel",
        ),
        ({"oracle": with_objective("val_loss")}, ValueError, "'val_loss' contains the weighted"),
        ({"oracle": with_objective("loss")}, ValueError, "'loss' contains the weighted"),
        (
            {"oracle": with_objective([Objective("val_data_loss", "min"), "val_mse"])},
            ValueError,
            r"takes one objective; `keras_physreg.pareto_front`",
        ),
        (
            {"oracle": random_oracle(hyperparameters=other_space(), tune_new_entries=False)},
            ValueError,
            r"does not search over \['x_on', 'x_weight', 'z_on', 'z_weight'\].*tune_new_entries",
        ),
        ({"replicas": 0}, ValueError, r"`replicas` must be an integer >= 1.*replicas=0"),
        ({"replicas": 2.0}, TypeError, r"`replicas` must be .* replicas=2.0 \(of type"),
        ({"replicas": True}, TypeError, "`replicas` must be .* replicas=True"),
        ({"executions_per_trial": 0}, ValueError, "`executions_per_trial` must be .*=0"),
        ({"seed": -1}, ValueError, "`seed` must be an integer >= 0"),
        ({"seed": None, "executions_per_trial": 2}, ValueError, "With `seed=None` all executions"),
        ({"max_consecutive_failed_trials": 0}, ValueError, "must be an integer >= 1"),
        ({"engine": "fast"}, ValueError, "`engine` must be one of"),
        ({"replicas_per_program": 0}, ValueError, "`replicas_per_program` must be"),
        ({"optimizer": "adam"}, TypeError, r"no argument `optimizer`: compile the model in"),
        ({"loss": "mae"}, TypeError, r"no argument `loss`: compile the model in `build\(hp\)`"),
        ({"metrics": ["mae"]}, TypeError, r"no argument `metrics`: compile the model in"),
        ({"distribution_strategy": 1}, TypeError, "no argument `distribution_strategy`: the repl"),
        ({"max_trials": 3}, TypeError, r"no argument `max_trials`: give it to the oracle.*=3"),
        ({"replicaz": 3}, TypeError, r"no argument `replicaz`\. Received: replicaz=3"),
    ],
)
def test_constructor(tmp_path, arguments, error, message):
    given = {"hypermodel": HYPERMODEL, "oracle": random_oracle(), "directory": tmp_path}
    with pytest.raises(error, match=message):
        kp.ReplicaTuner(**{**given, **arguments})
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"validation_data": None}, ValueError, r"needs `validation_data=\(x, y\)`"),
        ({"validation_split": 0.2}, TypeError, r"no argument `validation_split`: split the data"),
        (
            {"class_weight": {0: 1.0}},
            TypeError,
            r"no argument `class_weight`: give `sample_weight`",
        ),
        (
            {"validation_freq": 2},
            TypeError,
            "no argument `validation_freq`: the objective is needed",
        ),
        ({"initial_epoch": 2}, TypeError, "no argument `initial_epoch`: every trial begins"),
        ({"steps_per_epoch": 2}, ValueError, "`steps_per_epoch` is for a training on points alone"),
        ({"epoch": 2}, TypeError, r"no argument `epoch`\. Received: epoch=2"),
        ({"epochs": 0}, ValueError, "`epochs` must be an integer >= 1"),
        ({"batch_size": -1}, ValueError, "`batch_size` must be an integer >= 1.*-1"),
        (
            {"callbacks": [keras.callbacks.EarlyStopping("val_data_loss", mode="min")]},
            ValueError,
            r"cannot run the callback EarlyStopping.*It takes TensorBoard and CSVLogger",
        ),
        (
            {"callbacks": [kp.WeightScheduler({"x": kp.GeometricRamp(1e-3, 1.0, 2)})]},
            ValueError,
            r"cannot run the callback WeightScheduler.*`ramps` of `PhysicsHyperModel`",
        ),
        (
            {"callbacks": keras.callbacks.TensorBoard(histogram_freq=1)},
            ValueError,
            "without histograms.*histogram_freq=1",
        ),
    ],
)
def test_search(tmp_path, arguments, error, message):
    tuner = make_tuner(tmp_path)
    with pytest.raises(error, match=message):
        search(tuner, **arguments)
    assert tuner.oracle.trials == {}


@pytest.mark.parametrize("name", ["val_mae", "val_dataloss"])
def test_objective_that_is_not_logged(tmp_path, name):
    tuner = make_tuner(tmp_path, oracle=with_objective(Objective(name, "min")))
    with pytest.raises(
        ValueError, match=rf"no log named '{name}' to monitor. The logs are: \[.*'val_data_loss'"
    ):
        search(tuner)
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"RUNNING"}


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (problems.data(11)[0], problems.data(12)[1], r"same number of rows.*\(11, 3\), \(12, 2\)"),
        (problems.data(12)[0], None, "needs labels: give `y`"),
        (tf.data.Dataset.from_tensors(problems.data(12)), None, "arrays in memory.*Dataset"),
    ],
)
def test_data_that_do_not_fit(tmp_path, x, y, message):
    with pytest.raises(ValueError, match=message):
        make_tuner(tmp_path).search(x, y, validation_data=problems.data(12), verbose=0)


@pytest.mark.parametrize(
    "name", ["KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"]
)
def test_neither_chief_nor_worker(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(RuntimeError, match=f"cannot be a chief or a worker, but {name} is set"):
        make_tuner(tmp_path)


def test_objective_of_a_compiled_metric(tmp_path, monkeypatch):
    invent(monkeypatch)
    tuner = make_tuner(tmp_path, oracle=with_objective(Objective("val_mae", "min")))
    assert tuner.oracle.objective.name == "val_mae"
    assert make_tuner(tmp_path).oracle.objective == HYPERMODEL.objective


def test_the_oracle_stays_as_it_is_where_the_tuner_is_refused(tmp_path):
    oracle = random_oracle()
    for wrong in ({"replicas": 0}, {"seed": -1}, {"overwrite": "no"}, {"engine": "fast"}):
        with pytest.raises((TypeError, ValueError)):
            make_tuner(tmp_path, oracle=oracle, **wrong)
        assert oracle.objective.name == "default_objective"
        assert oracle.max_consecutive_failed_trials == 3


def test_the_limit_of_failures_stays_the_oracles(tmp_path, monkeypatch):
    """The tuner counts failures itself; it suspends the check of the oracle, and no more."""
    invent(monkeypatch)
    oracle = random_oracle(max_consecutive_failed_trials=2)
    tuner = make_tuner(tmp_path, oracle=oracle)
    assert oracle.max_consecutive_failed_trials == 2
    search(tuner)
    assert oracle.max_consecutive_failed_trials == 2
