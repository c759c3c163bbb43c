"""At which epoch trainings are scored, and which weight is next: on curves by hand."""

import numpy as np
import pytest

from keras_physreg.sweep.row_resampling import covariance_of_rows
from keras_physreg.sweep.scoring import Curves, comparable, compared_epochs, measure, scored_epoch
from keras_physreg.sweep.term_sweep import TermSweep

BOTH = np.array([True, True])


@pytest.mark.parametrize(
    ("scores", "epoch"),
    [
        # Means of logarithms 1.10 and 1.39, means 5 and 4.
        pytest.param([[1.0, 4.0], [9.0, 4.0]], 1, id="logarithms"),
        # Of which one has no logarithm: means 4.5 and 4.
        pytest.param([[0.0, 4.0], [9.0, 4.0]], 2, id="a score of 0"),
        pytest.param([[3.0, 2.0, 2.0], [3.0, 2.0, 2.0]], 2, id="the first of equals"),
        pytest.param([[1.0, 2.0, 3.0], [np.nan, 2.0, 1.0]], 3, id="an epoch that is not finite"),
    ],
)
def test_the_epoch_of_the_least_mean(scores, epoch):
    assert scored_epoch(np.array(scores), BOTH) == epoch


def test_the_epoch_where_some_diverged():
    scores = np.array([[3.0, 1.0, 2.0], [np.nan, np.nan, np.nan]])
    assert scored_epoch(scores, np.array([True, False])) == 2
    assert scored_epoch(scores, np.array([True, False]), "last") == 3
    assert scored_epoch(scores, np.array([False, False])) == 0


@pytest.mark.parametrize(
    ("done", "epochs"),
    [
        pytest.param([[10, 10], [10, 10]], 10, id="all"),
        # After 10 epochs one pair counts, after 4 both.
        pytest.param([[10, 4], [10, 10]], 10, id="one pair for long"),
        pytest.param([[10, 6], [10, 10]], 6, id="two pairs for less long"),
        pytest.param([[0, 0], [0, 0]], 0, id="none"),
    ],
)
def test_after_how_many_epochs_they_are_compared(done, epochs):
    assert compared_epochs(np.array(done)) == epochs


def curves():
    """A baseline and a weight, on two splits with one seed, in three epochs.

    The second split's baseline diverges; it would have the weight scored at its third epoch.
    """
    score = np.array([[[2.0, 1.0, 3.0], [np.nan] * 3], [[4.0, 2.0, 3.0], [9.0, 9.0, 1e-6]]])
    logs = {"score": score[:, :, np.newaxis], "loss": score[:, :, np.newaxis]}
    logs |= dict.fromkeys(("train_score", "term_loss", "val_term_loss"), 10 * logs["score"])
    return Curves(logs, np.full((2, 2, 1), 3))


def test_a_split_without_a_baseline_does_not_choose_the_epoch():
    found = curves()
    kept = comparable(found.of([0]), 3, by_split=True)
    assert kept.tolist() == [[True], [False]]
    measured = measure(found, 3, "best", kept)
    assert measured.epochs.tolist() == [2, 2]
    assert measured.values["score"][:, 0, 0].tolist() == [1.0, 2.0]
    assert measured.values["val_term_loss"][:, 0, 0].tolist() == [10.0, 20.0]
    assert measured.diverged[:, :, 0].tolist() == [[False, True], [False, False]]
    assert measure(found, 3, "last", kept).epochs.tolist() == [3, 3]


def sweep(weights, scores, diverged=()):
    """Scores of shape `(weights, seeds)` on one held-out set."""
    scores = np.array(scores, float)
    bad = np.zeros(scores.shape, bool)
    for weight in diverged:
        bad[weight, 0] = True
    return TermSweep(np.array(weights), {"score": scores}, bad, None, None, {}, 1)


@pytest.mark.parametrize(
    ("scores", "diverged", "expected"),
    [
        pytest.param([[4, 4], [2, 2], [1, 1]], (), True, id="the last"),
        pytest.param([[4, 4], [1, 1], [2, 2]], (), False, id="another"),
        # Logarithms: 2.20 for the last, 2.77 for the other; means: 5 and 4.
        pytest.param([[9, 9], [4, 4], [1, 9]], (), True, id="by logarithms"),
        pytest.param([[9, 0], [4, 4], [1, 9]], (), False, id="by means, where one is 0"),
        pytest.param([[4, 4], [2, 2], [1, 1]], (2,), False, id="diverged"),
    ],
)
def test_whether_the_largest_weight_is_the_best_so_far(scores, diverged, expected):
    assert sweep([0.0, 0.1, 1.0], scores, diverged).best_is_last is expected


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([0.0, 0.1, 1.0], 10.0), ([0.0, 1.0, 2.0, 3.0], 6.0), ([0.0, 2.0], 20.0)],
    ids=["equal ratios", "equal differences", "one weight"],
)
def test_the_next_weight(weights, expected):
    assert sweep(weights, np.ones((len(weights), 1))).next_weight == expected


def test_the_covariance_of_few_rows_has_no_bias():
    """Of 4 rows the bootstrap's own variance is 3/4 of that of the mean."""
    losses = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 4.0, 9.0]])
    found = covariance_of_rows(losses, logarithms=False)
    assert found[0, 0] == pytest.approx(np.var(losses[1], ddof=1) / 4, rel=0.08)
