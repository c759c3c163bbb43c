"""Trials that diverge or raise, and what comes of the search."""

import keras_tuner
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.tuner.search import group_trainer
from tests import problems
from tests.tuner.replica_searches import (
    InventingTrainer,
    build,
    make_tuner,
    random_oracle,
    record_training,
    search,
)
from tests.variants import slow_but, slow_but_rows


class DivergingTrainer(InventingTrainer):
    """Diverges in the last epoch where the weight of x is above `limit`."""

    limit = 0.1

    def _history(self):
        history = super()._history()
        bad = history.weights["x"] > self.limit
        history.history["loss"] = np.where(bad, np.nan, history.history["loss"])
        return history


class RaisingTrainer(InventingTrainer):
    def __init__(self, model, weights, seeds, **settings):
        raise ValueError("no such data")


def statuses(tuner):
    return {trial_id: trial.status for trial_id, trial in tuner.oracle.trials.items()}


@pytest.fixture
def diverging(monkeypatch):
    monkeypatch.setattr(group_trainer, "ReplicaTrainer", DivergingTrainer)


@pytest.mark.usefixtures("diverging")
def test_diverged_trials_fail_alone(tmp_path, capsys):
    tuner = search(make_tuner(tmp_path, oracle=random_oracle(12), replicas=12), verbose=2)
    trials = tuner.oracle.trials.values()
    expected = [
        "FAILED" if t.hyperparameters.get("x_weight") > 0.1 else "COMPLETED" for t in trials
    ]
    assert list(statuses(tuner).values()) == expected
    assert {"FAILED", "COMPLETED"} <= set(expected)
    failed = [trial for trial in trials if trial.status == "FAILED"]
    assert len(failed) > 3  # KerasTuner would have raised.
    assert {trial.message for trial in failed} == {
        "Diverged: the loss of execution 0 (seed 0) is not finite in epoch 1 of 2."
    }
    assert f"Failed: {failed[0].trial_id}, " in capsys.readouterr().out
    best = tuner.get_best_hyperparameters(12)
    assert len(best) == len(tuner.get_best_models(12)) == expected.count("COMPLETED")


@pytest.mark.slow
def test_a_trial_diverges_in_earnest(tmp_path):
    weights = {"x": (1e-2, 1.0), "z": (1e-2, 1e30)}
    tuner = search(make_tuner(tmp_path, weights=weights, engine="sequential"))
    found = {"FAILED": [], "COMPLETED": []}
    for trial in tuner.oracle.trials.values():
        found[trial.status].append(trial.hyperparameters.get("z_weight"))
    assert min(found["FAILED"]) > max(found["COMPLETED"])


@pytest.mark.usefixtures("diverging")
def test_no_trial_completed(tmp_path, monkeypatch):
    monkeypatch.setattr(DivergingTrainer, "limit", 0.0)
    for _ in range(2):  # A search that is finished says the same again.
        with pytest.raises(
            RuntimeError, match=r"None of the 6 trials completed. Reasons: 6 x Diverged: .*epoch 1"
        ):
            search(make_tuner(tmp_path))


@pytest.mark.usefixtures("diverging")
@pytest.mark.parametrize("where", slow_but({"tuner"}, ["tuner", "oracle"]))
def test_limit_of_failures_in_a_row_if_asked(tmp_path, monkeypatch, where):
    monkeypatch.setattr(DivergingTrainer, "limit", 0.0)
    limit = {"max_consecutive_failed_trials": 2}
    oracle = random_oracle(6, **(limit if where == "oracle" else {}))
    tuner = make_tuner(tmp_path, oracle=oracle, **(limit if where == "tuner" else {}))
    with pytest.raises(RuntimeError, match=r"2 trials failed in a row.*Reasons: 3 x Diverged"):
        search(tuner)
    assert list(statuses(tuner).values()) == ["FAILED"] * 3  # The round was told and saved.
    with pytest.raises(RuntimeError, match="2 trials failed in a row"):
        search(
            make_tuner(
                tmp_path, oracle=random_oracle(6), replicas=1, max_consecutive_failed_trials=2
            )
        )
    monkeypatch.setattr(DivergingTrainer, "limit", 1e3)
    tuner = search(make_tuner(tmp_path, oracle=random_oracle(6)))
    assert list(statuses(tuner).values()) == ["FAILED"] * 4 + ["COMPLETED"] * 2


def build_some(hp):
    if hp.Choice("units", [1, 2]) == 2:
        raise ValueError("no room for 2 units")
    return build(hp)


def test_models_that_cannot_be_built_are_failures(tmp_path, monkeypatch):
    monkeypatch.setattr(group_trainer, "ReplicaTrainer", InventingTrainer)
    oracle = random_oracle(8, max_retries_per_trial=1)
    trained = record_training(monkeypatch)
    tuner = search(make_tuner(tmp_path, build_some, oracle, replicas=8))
    for trial_id, trial in tuner.oracle.trials.items():
        bad = trial.hyperparameters.get("units") == 2
        assert trial.status == ("FAILED" if bad else "COMPLETED")
        assert trained.count(trial_id) == (2 if bad else 1)
        assert not bad or trial.message.endswith("ValueError: no room for 2 units\n")


def test_a_model_that_is_skipped_is_a_failure(tmp_path, monkeypatch):
    def skip_some(hp):
        if hp.Choice("units", [1, 2, 3, 4]) > 1:
            raise keras_tuner.errors.FailedTrialError("too large")
        return build(hp)

    monkeypatch.setattr(group_trainer, "ReplicaTrainer", InventingTrainer)
    oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=9, seed=2)
    tuner = search(make_tuner(tmp_path, skip_some, oracle, replicas=1))
    units = [trial.hyperparameters.get("units") for trial in tuner.oracle.trials.values()]
    assert units[0] > 1  # At first there is nothing but failures.
    assert 1 in units
    assert list(statuses(tuner).values()) == ["FAILED" if u > 1 else "COMPLETED" for u in units]


def test_what_always_raises_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(group_trainer, "ReplicaTrainer", RaisingTrainer)
    with pytest.raises(ValueError, match="no such data"):
        search(make_tuner(tmp_path))
    monkeypatch.setattr(group_trainer, "ReplicaTrainer", InventingTrainer)
    tuner = search(make_tuner(tmp_path))  # Once it is mended, nothing is lost.
    assert list(statuses(tuner).values()) == ["COMPLETED"] * 6


@pytest.mark.parametrize(("replicas", "lost"), slow_but_rows((1,), [(1, 2), (3, 0)]))
def test_a_search_that_goes_on_with_wrong_data_ends(tmp_path, monkeypatch, replicas, lost):
    monkeypatch.setattr(group_trainer, "ReplicaTrainer", InventingTrainer)
    search(make_tuner(tmp_path, oracle=random_oracle(3)))
    monkeypatch.setattr(group_trainer, "ReplicaTrainer", RaisingTrainer)
    tuner = make_tuner(tmp_path, oracle=random_oracle(9), replicas=replicas)
    with pytest.raises(ValueError, match="no such data"):
        search(tuner)
    found = list(statuses(tuner).values())
    assert found == ["COMPLETED"] * 3 + ["FAILED"] * lost + ["RUNNING"] * replicas


def test_fatal_errors_end_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(group_trainer, "ReplicaTrainer", InventingTrainer)
    search(make_tuner(tmp_path, oracle=random_oracle(3)))

    def uncompiled(hp):
        return problems.physics_model()

    hypermodel = kp.PhysicsHyperModel(build, {"x": (1e-2, 10.0), "z": (1e-2, 10.0)}, None, False)
    tuner = kp.ReplicaTuner(hypermodel, random_oracle(4), directory=tmp_path, project_name="search")
    hypermodel.inner.build = uncompiled
    with pytest.raises(keras_tuner.errors.FatalValueError, match="uncompiled"):
        search(tuner)
