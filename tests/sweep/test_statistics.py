"""The statistics of a verdict: probabilities and intervals that mean what they say."""

import numpy as np
import pytest

from keras_physreg._utils.student_t import student_t_cdf
from keras_physreg.sweep.intervals import Evidence, evidence_of_splits, with_rows
from keras_physreg.sweep.row_resampling import covariance_of_rows

WEIGHTS, SPLITS, RATIO = 5, 20, 0.25
SMALLEST = np.log1p(0.01)


def random_effects(rng, gain, spread=0.1):
    """Differences on 20 splits of one labelled set, by the law that the correction assumes.

    What the splits share of their rows moves all of them: the share of the variance that is common
    to all splits is held-out rows / all rows. Neighbouring weights are alike.
    """
    shared = RATIO / (1 + RATIO)
    near = 0.8 ** np.abs(np.subtract.outer(np.arange(WEIGHTS), np.arange(WEIGHTS)))
    root = np.linalg.cholesky(near)
    common = root @ rng.normal(size=(WEIGHTS, 1)) * np.sqrt(shared)
    own = root @ rng.normal(size=(WEIGHTS, SPLITS)) * np.sqrt(1 - shared)
    return gain[:, np.newaxis] + spread * (common + own)


@pytest.mark.slow
def test_intervals_cover_the_truth_together_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        truth = rng.normal(scale=0.2, size=WEIGHTS)
        low, high = evidence_of_splits(random_effects(rng, truth), RATIO).intervals(0.95)
        covered.append(np.all((low <= truth) & (truth <= high)))
    # 95 % of 400 lie within 92.5 and 97.5 % in 98 % of such tests.
    assert 0.925 <= np.mean(covered) <= 0.975


def test_without_the_correction_they_would_not():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(100):
        low, high = evidence_of_splits(random_effects(rng, np.zeros(WEIGHTS)), 0.0).intervals(0.95)
        covered.append(np.all((low <= 0) & (high >= 0)))
    assert np.mean(covered) < 0.8


def test_probabilities_are_calibrated():
    """Of all weights said to help with a probability near p, a share p does."""
    rng = np.random.default_rng(1)
    said, true = [], []
    for _ in range(3000):
        truth = rng.uniform(-0.5, 0.5, WEIGHTS)  # Flat, and wide beside the error of about 0.05.
        better, _ = evidence_of_splits(random_effects(rng, truth), RATIO).probabilities(SMALLEST)
        said.append(better)
        true.append(truth < -SMALLEST)
    said, true = np.ravel(said), np.ravel(true)
    for low, high in [(0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 0.999)]:
        there = (said > low) & (said < high)
        assert there.sum() > 300
        error = np.sqrt(0.25 / there.sum()) if high < 0.95 else 0.01
        assert np.mean(true[there]) == pytest.approx(np.mean(said[there]), abs=3 * error)


def test_probabilities_by_hand():
    """The formulas of Nadeau and Bengio, and of Corani and Benavoli, written out."""
    stats = pytest.importorskip("scipy.stats")
    d = np.random.default_rng(2).normal(-0.05, 0.1, size=(3, 12))
    error = d.std(axis=1, ddof=1) * np.sqrt(1 / 12 + 1 / 3)
    better = stats.t.cdf((-SMALLEST - d.mean(axis=1)) / error, 11)
    worse = stats.t.sf((SMALLEST - d.mean(axis=1)) / error, 11)
    found = evidence_of_splits(d, 1 / 3)
    np.testing.assert_allclose(found.probabilities(SMALLEST), [better, worse], atol=1e-12)
    np.testing.assert_allclose(found.error, error)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 19, 20, 999])
def test_student_t_is_that_of_scipy(freedom):
    stats = pytest.importorskip("scipy.stats")
    t = np.linspace(-50, 50, 201)
    np.testing.assert_allclose(student_t_cdf(t, freedom), stats.t.cdf(t, freedom), atol=1e-12)


def test_student_t_of_a_table():
    """Quantiles at 0.975: 12.706 with 1 degree of freedom, 2.776 with 4, 2.093 with 19."""
    found = student_t_cdf(np.array([12.706, 2.776, 2.093]), np.array([1, 4, 19]))
    np.testing.assert_allclose(found, 0.975, atol=1e-4)


def test_one_interval_has_the_width_of_student_t():
    found = evidence_of_splits(np.random.default_rng(3).normal(size=(1, 20)), 0.25)
    low, high = found.intervals(0.95)
    assert (high - low) / 2 / found.error == pytest.approx(2.093, rel=0.02)


def test_independent_intervals_have_the_width_of_sidak():
    """Of 10 independent normal values the largest is below z with probability P(|Z| < z)**10."""
    many = Evidence(np.zeros(10), np.ones(10), np.eye(10), np.full(10, 1000))
    assert many.intervals(0.95)[1][0] == pytest.approx(2.80, abs=0.03)


def test_more_settings_widen_the_intervals_and_alike_ones_less():
    rng = np.random.default_rng(3)
    differences = rng.normal(size=(11, 20))
    alike = differences[:1] + 0.01 * rng.normal(size=(11, 20))

    def width(values):
        found = evidence_of_splits(values, 0.25)
        return (found.intervals(0.95)[1] - found.mean)[0] / found.error[0]

    assert width(differences[:1]) < width(alike) < width(differences)


def test_scale_does_not_matter():
    differences = np.random.default_rng(2).normal(size=(4, 8))
    low, _ = evidence_of_splits(differences, 0.25).intervals(0.95)
    scaled, _ = evidence_of_splits(1e6 * differences, 0.25).intervals(0.95)
    np.testing.assert_allclose(scaled, 1e6 * low)


def test_one_split_is_refused():
    with pytest.raises(ValueError, match="At least 2 splits are needed"):
        evidence_of_splits(np.zeros((3, 1)), 0.25)


def test_equal_differences_are_certain():
    found = evidence_of_splits(np.tile([[0.0], [-0.5]], 8), 0.25)
    np.testing.assert_array_equal(found.intervals(0.95), [[0.0, -0.5], [0.0, -0.5]])
    np.testing.assert_array_equal(found.probabilities(SMALLEST), [[0.0, 1.0], [0.0, 0.0]])


def test_resampled_rows_vary_as_their_mean_does():
    """With small differences the covariance is that of the rows over their number."""
    rng = np.random.default_rng(4)
    losses = 1 + 0.1 * rng.normal(size=(3, 200))
    losses[2] += 0.2 * (losses[1] - 1)
    d = losses[1:] - losses[:1]
    for logarithms in (False, True):
        found = covariance_of_rows(losses, logarithms)
        np.testing.assert_allclose(found, np.cov(d) / 200, rtol=0.15)


def test_rows_add_to_the_uncertainty_of_seeds():
    seeds = evidence_of_splits(np.random.default_rng(5).normal(size=(2, 8)), 0.0)
    none = with_rows(seeds, np.zeros((2, 2)), 50)
    np.testing.assert_allclose(none.error, seeds.error)
    np.testing.assert_allclose(none.correlation, seeds.correlation)
    np.testing.assert_array_equal(none.freedom, [7, 7])
    rows = np.array([[4.0, 2.0], [2.0, 4.0]])
    both = with_rows(seeds, rows, 50)
    np.testing.assert_allclose(both.error**2, seeds.error**2 + 4.0)
    own = seeds.error**2
    satterthwaite = (own + 4) ** 2 / (own**2 / 7 + 16 / 49)
    np.testing.assert_array_equal(both.freedom, satterthwaite.astype(int))


@pytest.mark.slow
def test_held_out_rows_cover_the_truth():
    """One held-out set of 30 rows and 8 seeds: intervals hold for other rows of the same law."""
    rng = np.random.default_rng(6)
    truth = np.array([0.0, -0.1, 0.2])
    covered = []
    for _ in range(300):
        row = rng.gamma(4.0, 0.25, size=(1, 30))
        losses = np.exp(np.r_[0.0, truth])[:, np.newaxis] * row * rng.gamma(16, 1 / 16, (4, 30))
        noise = 0.03 * rng.normal(size=(4, 8))
        scores = np.log(losses.mean(axis=1))[:, np.newaxis] + noise
        seeds = evidence_of_splits(scores[1:] - scores[:1], 0.0)
        relative = losses / losses.mean(axis=1, keepdims=True)
        low, high = with_rows(seeds, covariance_of_rows(relative, True), 30).intervals(0.95)
        covered.append(np.all((low <= truth) & (truth <= high)))
    assert 0.91 <= np.mean(covered) <= 0.985
