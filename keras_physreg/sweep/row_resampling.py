"""The bootstrap of held-out rows: how much mean losses depend on which rows were held out."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000
RESAMPLES_PER_BLOCK = 200  # drawn at once, which limits memory where there are many rows


def covariance_of_rows(losses: np.ndarray, logarithms: bool) -> np.ndarray:
    """Returns the covariance of differences of mean losses over resampled rows.

    Rows are drawn with replacement. All settings get the same rows, which keeps the correlation
    between settings.

    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7
    (1979) 1-26; the factor `rows / (rows - 1)` makes it unbiased for a mean.

    Args:
        losses: One loss per row, of shape `(settings, rows)`, baseline first.
        logarithms: Whether differences are of logarithms of means, else of means.

    Returns:
        An array of shape `(settings - 1, settings - 1)`.

    Example:
    >>> covariance_of_rows(np.array([[1.0, 1.0], [2.0, 2.0]]), logarithms=True).round(6)
    array([[0.]])
    """
    rng = np.random.default_rng(0)
    rows = losses.shape[1]
    blocks = [
        rng.multinomial(rows, np.full(rows, 1 / rows), RESAMPLES_PER_BLOCK) @ losses.T / rows
        for _ in range(RESAMPLES // RESAMPLES_PER_BLOCK)
    ]
    means = np.concatenate(blocks)
    values = np.log(means) if logarithms else means
    settings = len(losses) - 1
    found = np.cov((values[:, 1:] - values[:, :1]).T).reshape(settings, settings)
    return found * rows / max(rows - 1, 1)
