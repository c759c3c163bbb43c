"""Simultaneous intervals: they hold as often as they say, and eight seeds can decide."""

import numpy as np
import pytest

from keras_physreg.sweep.intervals import simultaneous_intervals

WEIGHTS, SEEDS, REPEATS = 11, 8, 400


def null(rng, kind, seeds=SEEDS):
    """Differences to a shared baseline when no weight changes anything."""
    draw = {
        "normal": lambda shape: rng.normal(size=shape),
        "heavy tails": lambda shape: rng.standard_t(3, size=shape),
        "skewed": lambda shape: rng.lognormal(sigma=0.5, size=shape),
    }[kind]
    return draw((seeds, WEIGHTS)) - draw((seeds, 1))


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "skewed"])
def test_no_effect_is_found_where_there_is_none(kind):
    rng = np.random.default_rng(0)
    found = [simultaneous_intervals(null(rng, kind)) for _ in range(REPEATS)]
    false = np.mean([np.any((f.low > 0) | (f.high < 0)) for f in found])
    # Exactly 5 % would lie below 0.072 in 97.5 % of runs of 400.
    assert false <= 0.072


def test_eight_seeds_decide():
    rng = np.random.default_rng(0)
    effect = np.zeros(WEIGHTS)
    effect[-1] = -3.0
    found = [simultaneous_intervals(null(rng, "normal") + effect) for _ in range(100)]
    assert np.mean([f.high[-1] < 0 for f in found]) > 0.6


def test_equals_all_patterns_by_hand():
    differences = np.random.default_rng(1).normal(size=(6, 3))
    residuals = differences - differences.mean(axis=0)
    largest = []
    for pattern in range(2**6):
        signs = np.array([1 if pattern >> i & 1 else -1 for i in range(6)])[:, None]
        flipped = signs * residuals
        t = flipped.mean(axis=0) / (flipped.std(axis=0, ddof=1) / np.sqrt(6))
        largest.append(np.abs(t).max())
    found = simultaneous_intervals(differences, 0.95)
    # 64 patterns are 32 values, each twice.
    assert found.critical == pytest.approx(np.quantile(largest[:32], 0.95, method="higher"))
    np.testing.assert_allclose(found.high - found.mean, found.critical * found.error)


def test_scale_and_order_do_not_matter():
    differences = np.random.default_rng(2).normal(size=(8, 4))
    found = simultaneous_intervals(differences)
    scaled = simultaneous_intervals(1e6 * differences[:, ::-1])
    np.testing.assert_allclose(scaled.low[::-1], 1e6 * found.low)


def test_more_settings_widen_the_intervals():
    differences = np.random.default_rng(3).normal(size=(8, 11))
    assert simultaneous_intervals(differences[:, :1]).critical < (
        simultaneous_intervals(differences).critical
    )


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_too_few_seeds_cannot_tell(seeds):
    found = simultaneous_intervals(np.full((seeds, 2), 0.5))
    assert np.all(found.low == -np.inf)
    assert np.all(found.high == np.inf)


def test_settings_with_nan_have_no_interval_and_harm_no_other():
    differences = np.random.default_rng(4).normal(size=(8, 3))
    alone = simultaneous_intervals(differences[:, [0, 2]])
    differences[3, 1] = np.nan
    found = simultaneous_intervals(differences)
    assert np.isnan(found.low[1])
    np.testing.assert_allclose(found.low[[0, 2]], alone.low)


def test_many_seeds_draw_patterns():
    found = simultaneous_intervals(np.random.default_rng(5).normal(size=(40, 2)))
    assert 2.0 < found.critical < 2.8


def test_equal_differences_are_certain():
    found = simultaneous_intervals(np.tile([0.0, -0.5], (8, 1)))
    assert list(found.low) == [0.0, -0.5]
    assert list(found.high) == [0.0, -0.5]
