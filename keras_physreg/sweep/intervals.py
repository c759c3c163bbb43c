"""Probabilities and simultaneous intervals, from mean differences and their standard errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from keras_physreg._utils.errors import received
from keras_physreg._utils.student_t import student_t_cdf

DRAWS = 20_000  # of a multivariate t distribution, for a quantile with an error of about 1 %
SHRINKAGE = 0.05  # of estimated correlations towards 0, which keeps their matrix definite
MIN_ERROR = 1e-12  # for differences that are all equal, such as those of a term without gradient


@dataclass(frozen=True)
class Evidence:
    """Mean differences to a baseline, with the distribution of their errors.

    Args:
        mean: Mean differences, of shape `(settings,)`.
        error: Their standard errors, of shape `(settings,)`.
        correlation: Correlation between their errors, of shape `(settings, settings)`.
        freedom: Degrees of freedom of their errors, integers >= 1, of shape `(settings,)`.
    """

    mean: np.ndarray
    error: np.ndarray
    correlation: np.ndarray
    freedom: np.ndarray

    def probabilities(self, smallest: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probabilities of differences below `-smallest`, and above `smallest`.

        The posterior under a flat prior gives them: a t distribution around the mean.

        Source: Corani and Benavoli, "A Bayesian approach for comparing cross-validated algorithms
        on multiple data sets", Machine Learning 100 (2015) 285-304, section 3.

        Args:
            smallest: The smallest difference that matters.
        """
        error = np.maximum(self.error, MIN_ERROR)
        below = student_t_cdf((-smallest - self.mean) / error, self.freedom)
        above = student_t_cdf((self.mean - smallest) / error, self.freedom)
        return below, above

    def intervals(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ends of intervals that hold for all settings together.

        All half-widths are the same multiple of the standard errors: the quantile of the largest
        |t| of a multivariate t distribution with the measured correlations.

        Source: Hothorn, Bretz and Westfall, "Simultaneous Inference in General Parametric Models",
        Biometrical Journal 50 (2008) 346-363, equation 2.

        Args:
            confidence: Probability that all intervals contain the true differences.
        """
        width = self._critical(confidence) * self.error
        return self.mean - width, self.mean + width

    def _critical(self, confidence: float) -> float:
        settings = len(self.mean)
        if not settings:
            return 0.0
        rng = np.random.default_rng(0)
        known = np.nan_to_num(self.correlation)
        np.fill_diagonal(known, 1.0)
        shrunk = (1 - SHRINKAGE) * known + SHRINKAGE * np.eye(settings)
        values, vectors = np.linalg.eigh(shrunk)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        normal = rng.standard_normal((DRAWS, settings)) @ root.T
        freedom = int(self.freedom.min())
        t = normal / np.sqrt(rng.chisquare(freedom, (DRAWS, 1)) / freedom)
        return float(np.quantile(np.abs(t).max(axis=1), confidence))


def evidence_of_splits(differences: np.ndarray, ratio: float) -> Evidence:
    """Returns the evidence for other rows, from paired differences on splits of the same rows.

    The training sets of splits overlap, so their differences are correlated, and their variance
    divided by `splits` underestimates the variance of the mean. Instead, their variance is
    multiplied by `1 / splits + held-out rows / training rows`.

    Source: Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003)
    239-281, section 3 (corrected resampled t-test).

    Args:
        differences: Setting minus baseline, of shape `(settings, splits)`, at least 2 splits.
        ratio: Held-out rows per training row, the mean over splits; 0 for independent differences,
            such as those of seeds.

    Raises:
        ValueError: If there are fewer than 2 splits.

    Example:
    >>> found = evidence_of_splits(np.array([[-1.0, -2.0, -1.5, -1.5]]), ratio=0.25)
    >>> found.mean, found.error.round(4)
    (array([-1.5]), array([0.2887]))
    """
    settings, splits = differences.shape
    if splits < 2:
        raise ValueError(
            "At least 2 splits are needed, as one does not show how much splits differ. "
            f"{received('splits', splits)}"
        )
    spread = differences.std(axis=1, ddof=1)
    return Evidence(
        mean=differences.mean(axis=1),
        error=spread * np.sqrt(1 / splits + ratio),
        correlation=_correlation(np.cov(differences).reshape(settings, settings)),
        freedom=np.full(settings, splits - 1),
    )


def evidence_of_means(losses: np.ndarray, ratio: float) -> Evidence:
    """Returns the evidence of the mean losses over splits: logs of their ratios to the baseline's.

    New rows are scored by a mean of their losses. The mean over splits of the logs of the ratios,
    as in `evidence_of_splits`, is steadier, but it says less of losses that few rows dominate:
    splits without these rows outvote those with them.

    The error is that of the linear terms of the logs (the delta method), corrected as in
    `evidence_of_splits`.

    Args:
        losses: Losses above 0, the baseline first, of shape `(1 + settings, splits)`, at least 2
            splits.
        ratio: Held-out rows per training row, the mean over splits.

    Example:
    >>> found = evidence_of_means(np.array([[1.0, 1.0, 1.0, 9.0], [0.9, 0.9, 0.9, 11.7]]), 0.25)
    >>> found.mean.round(3), found.error.round(3)  # Sums 14.4 and 12; mean log -0.013.
    (array([0.182]), array([0.118]))
    """
    mean = losses.mean(axis=1, keepdims=True)
    relative = losses / mean
    found = evidence_of_splits(relative[1:] - relative[:1], ratio)
    return replace(found, mean=np.log(mean[1:, 0] / mean[0]))


def with_rows(seeds: Evidence, covariance: np.ndarray, rows: int) -> Evidence:
    """Returns the evidence of seeds on one held-out set, with the uncertainty of its rows added.

    Source: for the degrees of freedom of the sum of two variances, Satterthwaite, "An Approximate
    Distribution of Estimates of Variance Components", Biometrics Bulletin 2 (1946) 110-114.

    Args:
        seeds: The evidence that `evidence_of_splits` returns for seeds.
        covariance: The part of the covariance of the mean differences that is due to the rows.
        rows: Number of held-out rows.
    """
    own = np.outer(seeds.error, seeds.error) * seeds.correlation
    total = own + covariance
    variance, of_seeds, of_rows = (np.diagonal(each) for each in (total, own, covariance))
    parts = of_seeds**2 / seeds.freedom + of_rows**2 / max(rows - 1, 1)
    freedom = np.divide(variance**2, parts, out=seeds.freedom.astype(float), where=parts > 0)
    return Evidence(
        mean=seeds.mean,
        error=np.sqrt(variance),
        correlation=_correlation(total),
        freedom=np.maximum(freedom.astype(int), 1),
    )


def _correlation(covariance: np.ndarray) -> np.ndarray:
    spread = np.sqrt(np.diagonal(covariance))
    scale = np.outer(spread, spread)
    return np.divide(covariance, scale, out=np.eye(len(spread)), where=scale > 0)
