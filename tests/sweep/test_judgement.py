"""Verdicts on arrays whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_physreg.sweep.judgement import judge
from keras_physreg.sweep.result import SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.text import sentence

FLOORLESS = TermSweep(
    np.array([0.0, 1e-4, 1e-3]),
    dict.fromkeys(("score", "train_score", "term_loss", "val_term_loss"), np.ones((3, 8))),
    np.zeros((3, 8), bool),
    None,
    None,
    {},
    1,
)

WEIGHTS = 10.0 ** np.arange(-4, 2)
SEEDS = 8


def scores(factors, noise=0.01, seed=0, seeds=SEEDS):
    """A baseline, and scores that are `factors` of it on average, with noise seed by seed."""
    rng = np.random.default_rng(seed)
    baseline = np.exp(rng.normal(scale=0.3, size=seeds))
    paired = np.exp(rng.normal(scale=noise, size=(len(factors), seeds)))
    return baseline, np.array(factors)[:, None] * baseline * paired


def verdict(factors, noise=0.01, seed=0, seeds=SEEDS, diverged=()):
    baseline, values = scores(factors, noise, seed, seeds)
    bad = np.zeros((len(factors), seeds), bool)
    for i in diverged:
        bad[i, 0], values[i, 0] = True, np.nan
    return judge("z", WEIGHTS[: len(factors)], baseline, values, bad)


@pytest.mark.parametrize(
    ("factors", "diverged", "expected", "onset", "best", "hurts_from", "search_range"),
    [
        ([1, 1, 1, 1, 0.9, 0.7], (), "helps", 1.0, 10.0, None, (0.1, 10.0)),
        ([1, 1, 1, 0.8, 0.7, 2], (), "helps-then-hurts", 0.1, 1.0, 10.0, (0.01, 1.0)),
        ([1, 1, 1, 1, 1.2, 1.5], (), "hurts", 1.0, 0.001, 1.0, None),
        ([1, 1, 1, 0.8, 0.7, 1], (5,), "helps-then-hurts", 0.1, 1.0, 10.0, (0.01, 1.0)),
        ([1, 1, 1, 1, 1, 1], (5,), "diverges", 10.0, 0.0001, 10.0, None),
        ([1, 1, 1, 1, 1, 1], (), "inert", None, 0.001, None, None),
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
    if expected.startswith("helps"):
        assert found.best_weight == best
        assert found.gain == pytest.approx(100 * (1 - min(factors)), abs=0.5)
        assert found.gain_interval[0] < found.gain < found.gain_interval[1]


def test_noise_cannot_tell_and_says_how_many_seeds_would():
    found = verdict([1, 1, 1, 1, 1, 0.9], noise=0.08)
    assert found.verdict == "cannot tell"
    assert SEEDS < found.seeds_needed < 100
    enough = [
        verdict([1, 1, 1, 1, 1, 0.9], 0.08, seed, 2 * found.seeds_needed).verdict
        for seed in range(5)
    ]
    assert enough.count("helps") >= 3


def test_few_seeds_cannot_tell():
    found = verdict([0.5] * 6, noise=0.001, seeds=5)
    assert found.verdict == "cannot tell"
    assert found.seeds_needed == 8


def test_a_false_verdict_in_at_most_five_percent():
    repeats = 300
    found = [verdict([1] * 6, noise=0.05, seed=seed).verdict for seed in range(repeats)]
    false = np.mean([v not in ("inert", "cannot tell") for v in found])
    assert false <= 0.075  # 5 % and the upper end of what 300 repeats may show.


def test_scores_below_zero_are_compared_relatively():
    baseline = -1.0 + 0.01 * np.arange(8)
    values = np.stack([baseline - 0.5 + 0.001 * np.sin(np.arange(8))])
    found = judge("z", np.array([1.0]), baseline, values, np.zeros((1, 8), bool))
    assert found.verdict == "helps"
    assert found.gain == pytest.approx(52, abs=1)


def test_a_seed_without_a_baseline_is_left_out():
    baseline, values = scores([0.5, 0.5])
    baseline[0] = np.nan
    found = judge("z", WEIGHTS[:2], baseline, values, np.zeros((2, 8), bool))
    rest = judge("z", WEIGHTS[:2], baseline[1:], values[:, 1:], np.zeros((2, 7), bool))
    assert (found.verdict, found.seeds) == ("helps", 7)
    assert found.gain_interval == rest.gain_interval


def test_without_any_baseline_it_cannot_tell():
    _, values = scores([0.5, 0.5])
    found = judge("z", WEIGHTS[:2], np.full(8, np.nan), values, np.zeros((2, 8), bool))
    assert found.verdict == "cannot tell"
    assert found.seeds_needed is None
    assert found.best_weight is None


@pytest.mark.parametrize(("confidence", "fewest"), [(0.95, 6), (0.99, 8), (0.999, 11)])
def test_as_many_seeds_as_it_asks_for_decide(confidence, fewest):
    baseline, values = scores([0.5], noise=0.001, seeds=fewest - 1)
    arguments = {"confidence": confidence}
    found = judge("z", WEIGHTS[:1], baseline, values, np.zeros((1, fewest - 1), bool), **arguments)
    assert (found.verdict, found.seeds_needed) == ("cannot tell", fewest + 2)
    baseline, values = scores([0.5], noise=0.001, seeds=found.seeds_needed)
    none = np.zeros((1, found.seeds_needed), bool)
    assert judge("z", WEIGHTS[:1], baseline, values, none, **arguments).verdict == "helps"


def test_unclear_weights_below_a_harmful_one_are_named():
    baseline, values = scores([0.97, 2.0], noise=0.002)
    values[0] *= np.exp(0.1 * np.sin(np.arange(8)))
    found = judge("z", WEIGHTS[:2], baseline, values, np.zeros((2, 8), bool))
    assert found.verdict == "hurts"
    assert found.undecided == [WEIGHTS[0]]
    assert found.seeds_needed > 8
    settings = SweepSettings(
        "val_data_loss", "best", 1, ["z"], list(range(8)), 0.01, 0.95, "", 0.0, False
    )
    text = sentence(
        SimpleNamespace(verdicts={"z": found}, terms={"z": FLOORLESS}, settings=settings), "z"
    )
    assert f"about {found.seeds_needed} seeds below 0.001 may" in text
    assert "no smaller weight" not in text


def test_min_effect_separates_inert_from_helps():
    baseline, values = scores([0.995], noise=0.0005)
    diverged = np.zeros((1, 8), bool)
    arguments = ("z", WEIGHTS[:1], baseline, values, diverged)
    assert judge(*arguments, min_effect=0.01).verdict == "inert"
    assert judge(*arguments, min_effect=0.001).verdict == "helps"
