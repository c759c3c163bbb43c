"""From logs to the result of a trial, for objectives that are to be small, and to be large."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_physreg.replicas.plan import Plan
from keras_physreg.sweep import ReplicaHistory
from keras_physreg.tuner.search.arguments import execution_seeds
from keras_physreg.tuner.search.execution_results import result_of, result_of_splits
from keras_physreg.tuner.search.failures import check_run

# By epoch, of two executions.
SCORES = np.array([[3.0, 5.0], [2.0, 4.0], [4.0, 1.0]])


def history(best_epoch, scores=SCORES, loss=1.0):
    shape = np.shape(scores)
    return ReplicaHistory(
        history={"loss": np.full(shape, loss), "score": np.array(scores)},
        weights={},
        seeds=[7, 8],
        engine="",
        monitor="score",
        best_epoch=np.array(best_epoch),
        epochs_done=np.full(shape[1], shape[0]),
    )


def objective(direction):
    return SimpleNamespace(name="score", direction=direction)


@pytest.mark.parametrize(
    ("direction", "best_epoch", "score", "best_execution"),
    [("min", [1, 2], 1.5, 1), ("max", [2, 0], 4.5, 1), ("max", [2, 2], 2.5, 0)],
    ids=["small", "large", "large, the first execution"],
)
def test_the_mean_of_executions_at_their_best_epochs(direction, best_epoch, score, best_execution):
    result = result_of(history(best_epoch), [0, 1], objective(direction))
    assert result.status == "COMPLETED"
    assert result.metrics["score"] == score
    assert result.best_execution == best_execution
    assert result.step == int(np.mean(best_epoch))


def test_one_execution_that_is_never_finite_fails_the_trial():
    result = result_of(history([1, -1]), [0, 1], objective("min"))
    assert result.status == "FAILED"
    assert "'score' is not finite in any epoch" in result.message


@pytest.mark.parametrize(
    ("scores", "direction", "step", "score", "best_execution"),
    [
        # Means of logarithms: 1.35, 1.04 and 0.69.
        pytest.param(SCORES, "min", 2, 2.0, 1, id="small"),
        # Means: 4, 3 and 2.5, not 3.87 of the logarithms.
        pytest.param(SCORES, "max", 0, 4.0, 1, id="large"),
        pytest.param(SCORES - 3, "min", 2, -0.5, 1, id="small, below 0"),
    ],
)
def test_splits_count_at_one_epoch(scores, direction, step, score, best_execution):
    plan = Plan.of([{"z": 1.0}], [[7], [8]], [([0], [1]), ([1], [0])])
    result = result_of_splits(history([0, 0], scores), plan, 0, objective(direction))
    assert result.status == "COMPLETED"
    assert result.step == step
    assert result.metrics["score"] == pytest.approx(score)
    assert result.best_execution == best_execution
    assert result.scores == [[scores[step, 0]], [scores[step, 1]]]
    assert (result.message is None) == (direction == "max" or scores.min() > 0)


def test_seeds_of_executions():
    assert execution_seeds(5, 3) == [5, 6, 7]
    assert execution_seeds(None, 1) is None


def oracle(*statuses):
    trials = {str(i): SimpleNamespace(status=s, message="why") for i, s in enumerate(statuses)}
    return SimpleNamespace(end_order=list(trials), trials=trials)


def test_a_run_of_failures_that_had_ended_before_does_not_end_the_search():
    run = oracle("FAILED", "FAILED", "COMPLETED", "FAILED")
    check_run(run, limit=2, since=2)
    with pytest.raises(RuntimeError, match="2 trials failed in a row"):
        check_run(run, limit=2, since=1)
    with pytest.raises(RuntimeError, match="2 trials failed in a row"):
        check_run(oracle("FAILED", "FAILED"), limit=2, since=1)
