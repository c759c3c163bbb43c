"""Sweeps and searches whose replicas are trained by workers."""

import concurrent.futures
import json

import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.executors.trainer import LostReplicasError
from tests.executors.setups import Here, make
from tests.sweep.linear import data, linear
from tests.tuner.replica_searches import (
    make_tuner,
    outcomes,
    random_oracle,
    record_training,
    search,
)
from tests.variants import slow_but_rows

ROWS = data(20, 1.0, seed=1)
HELD_OUT = data(32, 0.0, seed=2)
LAST = {"seeds": 4, "score": "last"}


def sweep(model=None, **settings):
    settings = {
        "weights": [0.1, 1.0],
        "epochs": 10,
        "seeds": 2,
        "batch_size": 5,
        "extend_to": 0,
        "verbose": 0,
    } | settings
    return kp.sanity_sweep(linear() if model is None else model, *ROWS, **settings)


def content(result):
    """All that a sweep found, without the seconds and the division into groups."""
    found = json.loads(json.dumps(result.to_dict(), default=str))
    for key in ("seconds", "engine"):
        found["settings"].pop(key)
    return found


@pytest.mark.parametrize(
    "settings",
    slow_but_rows(
        [],
        [
            ({"cv": 3, "repeats": 1, "extend_to": 10.0},),
            ({"validation_data": HELD_OUT, "others": "best", "monitor": "val_mae", **LAST},),
        ],
    ),
    ids=["folds, extended", "by row, one term after the other"],
)
def test_a_sweep_by_workers_finds_the_same(settings):
    model = linear(terms=("law", "again"))
    model.compile(model.optimizer, "mse", metrics=["mae"])
    here = content(sweep(model, **settings))
    far = content(sweep(model, **settings, executor=Here(), workers=3))
    assert here.keys() == far.keys()
    approx(far, here)
    assert here["terms"]


def approx(found, expected):
    """Equal, up to the rounding of means over numbers of rows that differ."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            approx(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            approx(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)
    else:
        assert found == expected


@pytest.mark.slow
def test_a_function_that_builds_the_model():
    """The quick one: a few replicas, kept and joined to an ensemble."""
    kept = {"cv": 2, "repeats": 1, "weights": [10.0], "keep": "recommended", "epochs": 4}
    executor = Here()
    found = sweep(linear, **kept, executor=executor, workers=2)
    assert executor.tasks >= 3
    assert found.settings.engine.endswith("groups for workers")
    assert found.ensemble().predict(ROWS[0], verbose=0).shape == (20, 2)


def test_a_function_that_returns_no_model_is_refused():
    with pytest.raises(TypeError, match="function that returned 3"):
        sweep(lambda: 3)
    with pytest.raises(TypeError, match="must be a Keras model"):
        sweep(3)


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_with_what_is_finished():
    def interrupts():
        raise KeyboardInterrupt

    found = sweep(make(), cv=2, repeats=1, extend_to=0, executor=Here(2, interrupts), workers=2)
    assert found.settings.interrupted
    found = sweep(make(), cv=2, repeats=1, extend_to=0, executor=Here(1, interrupts), workers=2)
    assert "compared after 0 of 10 epochs" in found.summary()


def breaks():
    raise concurrent.futures.BrokenExecutor("died")


@pytest.mark.slow
def test_a_sweep_whose_workers_died_says_so():
    with pytest.raises(LostReplicasError, match="could not be trained"):
        sweep(executor=Here(2, breaks), workers=2)


# Searches.


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"executions_per_trial": 2}, {"cv": 3, "repeats": 1}])
def test_a_search_by_workers_finds_the_same(tmp_path, settings):
    data = {"validation_data": None} if "cv" in settings else {}
    here = search(make_tuner(tmp_path / "here", **settings), **data)
    far = make_tuner(tmp_path / "far", **settings, executor=Here(), workers=2)
    far = search(far, **data)
    approx(json.loads(json.dumps(outcomes(far))), json.loads(json.dumps(outcomes(here))))
    best = [tuner.get_best_models()[0].get_weights() for tuner in (here, far)]
    for one, other in zip(*best, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.slow
def test_a_search_keeps_the_trials_that_were_finished_when_workers_died(tmp_path, monkeypatch):
    executor = Here(2, breaks)
    tuner = make_tuner(tmp_path, oracle=random_oracle(4), replicas=4, executor=executor, workers=2)
    with pytest.raises(LostReplicasError, match="2 of 4 replicas"):
        search(tuner)
    again = make_tuner(tmp_path, oracle=random_oracle(4), replicas=4)
    trained = record_training(monkeypatch)
    search(again)
    assert len(trained) == 2  # The other two were finished.
    assert [t.status for t in again.oracle.trials.values()] == ["COMPLETED"] * 4


@pytest.mark.slow
def test_only_the_trials_fail_whose_group_killed_its_workers(tmp_path, monkeypatch):
    """As with Dask, whose cluster goes on."""
    from keras_physreg.executors.futures_pool import FuturesPool
    from keras_physreg.executors.pool import LostWorkersError

    run = FuturesPool.run

    def killing(self, program, data, groups):
        for position, found in run(self, program, data, groups):
            yield position, LostWorkersError("it killed 4 workers") if position else found

    monkeypatch.setattr(FuturesPool, "run", killing)
    tuner = make_tuner(tmp_path, oracle=random_oracle(4), replicas=4, executor=Here(), workers=2)
    search(tuner)
    trials = list(tuner.oracle.trials.values())
    assert [t.status for t in trials] == ["COMPLETED"] * 2 + ["FAILED"] * 2
    assert "it killed 4 workers" in trials[-1].message
