"""Verdicts on arrays whose answer is known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from keras_physreg._utils.student_t import student_t_cdf
from keras_physreg.sweep.judgement import Rules, Scores, judge
from keras_physreg.sweep.verdict import Verdict
from keras_physreg.sweep.wording import where_the_mean_differs

WEIGHTS = 10.0 ** np.arange(-4, 2)
SPLITS, SEEDS, RATIO = 20, 2, 0.25


def scores(factors, noise=0.01, seed=0, splits=SPLITS):
    """A baseline, and scores that are `factors` of it on average, with noise split by split."""
    rng = np.random.default_rng(seed)
    baseline = np.exp(rng.normal(scale=0.3, size=(1, splits, SEEDS)))
    paired = np.exp(rng.normal(scale=noise, size=(len(factors), splits, SEEDS)))
    return np.concatenate([baseline, np.array(factors)[:, None, None] * baseline * paired])


def judged(values, bad=None, rules=None, ratio=RATIO):
    bad = np.zeros(values.shape, bool) if bad is None else bad
    return judge("z", WEIGHTS[: len(values) - 1], Scores(values, bad, ratio), rules)


def verdict(factors, noise=0.01, diverged=(), **arguments):
    values = scores(factors, noise, **arguments)
    bad = np.zeros(values.shape, bool)
    for i in diverged:
        bad[1 + i, 0, 0], values[1 + i, 0, 0] = True, np.nan
    return judged(values, bad)


@pytest.mark.parametrize(
    ("factors", "diverged", "expected", "onset", "best", "hurts_from", "search_range"),
    [
        ([1, 1, 1, 1, 0.9, 0.7], (), "helps", 1.0, 10.0, None, (0.1, 10.0)),
        ([1, 1, 1, 0.8, 0.7, 2], (), "helps-then-hurts", 0.1, 1.0, 10.0, (0.01, 1.0)),
        ([1, 1, 1, 1, 1.2, 1.5], (), "hurts", 1.0, None, 1.0, None),
        ([1, 1, 1, 0.8, 0.7, 1], (5,), "helps-then-hurts", 0.1, 1.0, 10.0, (0.01, 1.0)),
        ([1, 1, 1, 1, 1, 1], (5,), "diverges", 10.0, None, 10.0, None),
        ([1, 1, 1, 1, 1, 1], (), "same", None, None, None, None),
        ([1.5, 1.5, 1.5, 0.8, 0.7, 1], (), "helps", 0.0001, 1.0, None, (0.1, 10.0)),
        ([1, 0.9, 2, 0.8, 0.7, 2], (), "helps-then-hurts", 0.001, 1.0, 10.0, (0.1, 1.0)),
        ([0.5, 2, 2, 2, 2, 2], (), "helps-then-hurts", 1e-4, 1e-4, 1e-3, (3.16e-5, 3.16e-4)),
        ([1, 1, 1, 1, 2, 0.5], (), "helps", 1.0, 10.0, None, (3.16, 31.6)),
    ],
)
def test_known_answers(factors, diverged, expected, onset, best, hurts_from, search_range):
    found = verdict(factors, 0.001, diverged=diverged)
    assert found.verdict == expected
    assert found.onset == onset
    assert found.hurts_from == hurts_from
    assert found.search_range == search_range
    assert found.recommended_weight == (best or 0.0)
    if best is not None:
        assert found.best_weight == best
        assert found.gain == pytest.approx(100 * (1 - min(factors)), abs=0.5)
        assert found.gain_interval[0] < found.gain < found.gain_interval[1]


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        (-0.20, "helps"),
        (-0.08, "probably helps"),
        (0.0, "cannot tell"),
        (0.08, "probably hurts"),
        (0.20, "hurts"),
    ],
)
def test_the_word_follows_from_the_probability(mean, expected):
    """Differences of mean `mean` and standard deviation 0.1: the standard error is 0.0548.

    Of a t distribution of 19 degrees of freedom 80 % lie below 0.861, 95 % below 1.729, so that the
    limits of the words are at 0.0099 + 0.0472 and 0.0099 + 0.0947.
    """
    d = np.tile([0.1, -0.1], 10) * np.sqrt(19 / 20) + mean
    values = np.exp(np.stack([np.zeros(20), d]))[..., np.newaxis]
    found = judged(values)
    assert str(found.changes[0]) == str(found.verdict) == expected


def test_same_needs_a_sure_absence():
    quiet, loud = verdict([1.0], noise=0.005), verdict([1.0], noise=0.05)
    assert (str(quiet.verdict), str(loud.verdict)) == ("same", "cannot tell")
    assert quiet.inert
    assert 1 - quiet.better[0] - quiet.worse[0] > 0.95


def test_min_effect_separates_same_from_helps():
    values = scores([0.995], noise=0.0005)
    assert judged(values, rules=Rules(min_effect=0.01)).verdict is Verdict.SAME
    assert judged(values, rules=Rules(min_effect=0.001)).verdict is Verdict.HELPS


def test_the_best_mean_of_those_that_help_is_recommended():
    """A weight with a larger mean gain that may be chance is not."""
    values = scores([0.9, 0.8], noise=0.01)
    values[2] *= np.exp(np.random.default_rng(1).normal(scale=0.8, size=values.shape[1:]))
    values[2] *= 0.85 * np.exp(-np.log(values[2] / values[0]).mean())
    found = judged(values)
    assert found.gains[1] > found.gains[0]
    assert found.changes == (Verdict.HELPS, Verdict.CANNOT_TELL)
    assert found.best_weight == WEIGHTS[0]


def test_seeds_of_a_split_are_averaged_and_splits_compared():
    """What differs between the seeds of a split alone adds nothing to the spread of splits."""
    values = scores([0.9], noise=0.0)
    values[1, :, 0] *= 2.0
    values[1, :, 1] /= 2.0
    found = judged(values)
    np.testing.assert_allclose(found.low, found.high, atol=1e-6)
    assert found.gain == pytest.approx(10)


def heavy_tailed(gain, harm, rare=4):
    """A weight lowers small losses in most splits, and raises the large ones of a few."""
    values = scores([gain], noise=0.01)
    values[0] = np.exp(np.random.default_rng(2).normal(scale=0.05, size=values.shape[1:]))
    values[0, :rare] *= 10.0
    values[1] *= values[0] / (values[1] / gain)
    values[1, rare:] *= np.exp(
        np.random.default_rng(3).normal(scale=0.01, size=values[1, rare:].shape)
    )
    values[1, :rare] *= harm / gain
    return values


def test_a_weight_that_helps_in_most_splits_and_raises_the_mean_loss_is_not_recommended():
    values = heavy_tailed(gain=0.5, harm=1.2)
    logs = np.log(values).mean(axis=2)
    assert np.log(values[1].mean() / values[0].mean()) > 0 > (logs[1] - logs[0]).mean()
    found = judged(values)
    assert found.gains[0] > 25
    assert found.changes == (Verdict.CANNOT_TELL,)
    assert found.recommended_weight == 0.0


def test_a_weight_that_raises_the_loss_in_most_splits_and_lowers_the_mean_does_not_surely_hurt():
    found = judged(heavy_tailed(gain=2.0, harm=0.8))
    assert found.gains[0] < -25
    assert found.changes == (Verdict.CANNOT_TELL,)


def test_the_probability_is_the_smaller_one_of_logs_and_means():
    values = scores([0.9, 1.1], noise=0.1, seed=4)
    found = judged(values)
    splits = values.mean(axis=2)
    error = np.sqrt(1 / SPLITS + RATIO)
    for i in (0, 1):
        logs = np.log(values[1 + i] / values[0]).mean(axis=1)
        relative = splits[1 + i] / splits[1 + i].mean() - splits[0] / splits[0].mean()
        change = np.log(splits[1 + i].mean() / splits[0].mean())
        readings = [(logs.mean(), logs.std(ddof=1)), (change, relative.std(ddof=1))]
        for sign, got in ((-1, found.better[i]), (1, found.worse[i])):
            expected = [
                student_t_cdf(
                    np.array([(sign * mean - np.log(1.01)) / (spread * error)]),
                    np.array([SPLITS - 1]),
                )[0]
                for mean, spread in readings
            ]
            assert got == pytest.approx(min(expected), abs=1e-6)


def test_the_gain_of_the_mean_stands_beside_that_of_the_logs():
    values = heavy_tailed(gain=0.5, harm=1.2)
    found = judged(values)
    assert found.mean_gains[0] == pytest.approx(100 * (1 - values[1].mean() / values[0].mean()))
    relative = judged(np.concatenate([values, np.zeros_like(values[:1])]))  # No logarithms.
    np.testing.assert_allclose(relative.mean_gains, relative.gains)


@pytest.mark.parametrize(
    ("gain", "harm", "expected"),
    [
        pytest.param(0.7, 1.2, "held-out data loss rises by 5.7 %", id="the mean is worse"),
        pytest.param(2.0, 0.8, "held-out data loss rises by 14 %", id="the mean is less worse"),
        pytest.param(0.5, 0.9, "held-out data loss falls by 21 %", id="the mean is less sure"),
    ],
)
def test_the_report_says_where_the_mean_differs(gain, harm, expected):
    values = heavy_tailed(gain, harm)
    change = abs(values[1].mean() / values[0].mean() - 1)
    assert f"{100 * change:.2g} %" in expected
    settings = SimpleNamespace(min_effect=0.01, confidence=0.95, monitor="val_data_loss")
    assert expected in where_the_mean_differs(judged(values), 0, settings)
    for steady in (judged(scores([0.9])), judged(scores([1.0])), judged(0.0 * values + 1.0)):
        assert where_the_mean_differs(steady, 0, settings) == ""


def test_the_verdict_does_not_depend_on_the_unit_of_the_loss():
    values = heavy_tailed(gain=0.5, harm=0.9)
    np.testing.assert_allclose(judged(1e-12 * values).better, judged(values).better)


def test_a_split_whose_baseline_diverged_is_left_out_everywhere():
    values = scores([0.5, 0.6])
    rest = judged(values[:, 1:])
    bad = np.zeros(values.shape, bool)
    bad[0, 0, 1], values[0, 0, 1] = True, np.nan
    bad[1, 0, 1] = True
    found = judged(values, bad)
    assert (found.verdict, found.splits, found.seeds) == ("helps", SPLITS - 1, SEEDS)
    np.testing.assert_allclose(found.low, rest.low)
    np.testing.assert_allclose(found.better, rest.better)


def test_a_diverged_weight_is_never_recommended():
    found = verdict([1, 1, 1, 1, 0.9, 0.5], 0.001, diverged=[5])
    assert found.changes[5] is Verdict.DIVERGES
    assert np.isnan(found.better[5])
    assert found.recommended_weight == 1.0


def test_a_weight_that_was_not_finished_cannot_be_told_and_harms_no_other():
    values = scores([0.5, 0.6])
    alone = judged(values[:2])
    values[2, 3, 0] = np.nan
    found = judged(values)
    assert found.changes == (Verdict.HELPS, Verdict.CANNOT_TELL)
    assert found.low[0] == alone.low[0]


@pytest.mark.parametrize("kept", [0, 1])
def test_without_two_baselines_it_cannot_tell(kept):
    values = scores([0.5, 0.5])
    values[0, kept:] = np.nan
    found = judged(values)
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.recommended_weight == 0.0
    assert np.isnan(found.better).all()


def test_one_split_alone_is_refused():
    with pytest.raises(ValueError, match=r"One split does not show .* give at least 2 splits"):
        judged(scores([0.5], splits=1))


def test_weight_0_alone():
    found = judged(scores([]))
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.best_weight is None
    assert found.recommended_weight == 0.0


def test_scores_below_zero_are_compared_relatively():
    baseline = -1.0 + 0.01 * np.arange(8).reshape(1, 4, 2)
    values = np.concatenate([baseline, baseline - 0.5 + 0.001 * np.sin(baseline)])
    found = judged(values)
    assert found.verdict == "helps"
    assert found.gain == pytest.approx(100 * 0.5 / 0.965, abs=1)


def test_a_loss_of_exactly_zero_is_a_gain_of_100_percent():
    values = scores([1.0], noise=0.001)
    values[1] = 0.0
    found = judged(values)
    assert found.verdict is Verdict.HELPS
    assert found.gain == pytest.approx(100)


def test_with_one_held_out_set_seeds_are_compared_and_rows_count():
    values = scores([0.8], noise=0.001)[:, 0].reshape(2, 1, SEEDS)
    values = np.concatenate([values, values * 1.01, values * 0.99, values * 1.02], axis=2)
    diverged = np.zeros(values.shape, bool)
    seeds_alone = judge("z", WEIGHTS[:1], Scores(values, diverged))
    assert (seeds_alone.verdict, seeds_alone.basis) == ("helps", "seeds")
    rows = np.ones((2, 20))
    rows[1] += np.tile([0.8, -0.8], 10)
    found = judge("z", WEIGHTS[:1], Scores(values, diverged, rows=rows))
    assert (found.verdict, found.basis, found.seeds) == ("probably helps", "rows", 8)
    assert found.gain == seeds_alone.gain


def test_words_equal_their_former_ones():
    assert Verdict.SAME == "same"
    assert Verdict.SAME == "inert"
    assert Verdict.SAME != "same "
    assert Verdict.HELPS == "better"
    assert Verdict.HELPS != "helps-then-hurts"
    assert Verdict.HELPS_THEN_HURTS == "helps-then-hurts"
    assert Verdict.HELPS_THEN_HURTS in {"helps", "probably helps"}
    assert Verdict.CANNOT_TELL == "unclear"
    assert Verdict.CANNOT_TELL != Verdict.PROBABLY_HELPS
    assert [Verdict(word) for word in ("inert", "worse", "unclear", "helps-then-hurts")] == [
        Verdict.SAME,
        Verdict.HURTS,
        Verdict.CANNOT_TELL,
        Verdict.HELPS_THEN_HURTS,
    ]
    assert f"{Verdict.HELPS_THEN_HURTS}, {Verdict.SAME}" == "helps, same"
    assert json.dumps([Verdict.PROBABLY_HURTS]) == '["probably hurts"]'
    with pytest.raises(ValueError, match="'perhaps' is not a valid Verdict"):
        Verdict("perhaps")


def test_a_verdict_is_json():
    plain = verdict([0.9, 1.0], diverged=[1]).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["verdict"] == "helps"
    assert plain["changes"] == ["helps", "diverges"]
    assert plain["better"][1] is None
