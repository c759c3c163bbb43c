"""How sure the winner of a search is: the numbers by their formulas, and the words."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.splits import Splits
from keras_physreg.tuner.measured import Scored
from keras_physreg.tuner.search_report import SearchReport
from tests.tuner.replica_searches import random_oracle
from tests.tuner.split_searches import invent, search, split_tuner

ROWS, FOLDS, SHUFFLES, SEEDS = 20, 5, 4, 2
RNG = np.random.default_rng(0)
NOISE = np.exp(0.1 * RNG.normal(size=(FOLDS * SHUFFLES, SEEDS)))


def settings(folds=FOLDS, shuffles=SHUFFLES, epochs=100, batch_size=8):
    held_out = [np.arange(ROWS)[k::folds] for _ in range(shuffles) for k in range(folds)]
    train = [np.setdiff1d(np.arange(ROWS), rows) for rows in held_out]
    return SweepSettings(
        monitor="val_data_loss",
        score="best",
        epochs=epochs,
        terms=[],
        seeds=[0, 1],
        min_effect=0.01,
        confidence=0.95,
        engine="",
        seconds=0.0,
        interrupted=False,
        labelled=ROWS,
        splits=Splits(train, held_out, f"{folds} folds x {shuffles} shuffles", ROWS),
        batch_size=batch_size,
    )


def scored(trial_id, values, epoch=50, weight=1.0):
    values = np.asarray(values)
    hyperparameters = {} if trial_id is None else {"z_weight": weight}
    score = float(np.exp(np.log(values).mean()))
    return Scored(trial_id, hyperparameters, {"z": weight}, score, epoch, values)


def report(winner=0.7, second=0.72, spread=0.02, off=1.0, **given):
    """A report on losses that are these factors times one noise, with a spread of their own."""
    count = given.get("settings", settings()).splits.count
    noise = NOISE[:count]
    own = np.exp(spread * np.random.default_rng(1).normal(size=(2, *noise.shape)))
    parts = {
        "settings": settings(),
        "direction": "min",
        "completed": 12,
        "winner": scored("07", winner * noise * own[0]),
        "runner_up": scored("03", second * noise * own[1]),
        "baseline": scored(None, off * noise, epoch=40, weight=0.0),
    }
    return SearchReport(**{**parts, **given})


def probability_of_better(other, winner, ratio):
    """Nadeau and Bengio's variance, Corani and Benavoli's posterior, written out.

    Of two probabilities, for the mean logarithm and the mean loss, the smaller one.
    """
    logs = (np.log(winner) - np.log(other)).mean(axis=1)
    means = [values.mean(axis=1) for values in (winner, other)]
    relative = means[0] / means[0].mean() - means[1] / means[1].mean()
    count, found = len(logs), []
    change = np.log(means[0].mean() / means[1].mean())
    for mean, differences in ((logs.mean(), logs), (change, relative)):
        error = differences.std(ddof=1) * np.sqrt(1 / count + ratio)
        found.append(stats.t(count - 1).cdf((-np.log(1.01) - mean) / error))
    return min(found)


@pytest.mark.parametrize("winner", [0.7, 0.97, 1.0, 1.05])
def test_probabilities(winner):
    found = report(winner, spread=0.1)
    for other, verdict in (
        (found.baseline, found.against_baseline),
        (found.runner_up, found.against_runner_up),
    ):
        expected = probability_of_better(other.values, found.winner.values, 0.25)
        assert verdict.better[0] == pytest.approx(expected, abs=1e-6)


def test_a_winner_that_helps_is_recommended():
    found = report()
    assert found.helps
    assert found.recommended is found.winner
    # 16 of 20 rows in batches of 8 make 2 steps per epoch; all rows make 3.
    assert found.recommended_epochs == round(50 * 2 / 3)
    text = str(found)
    assert (
        "20 labelled rows: 5 folds x 4 shuffles x 2 seeds, trained on 16 rows each; 100 epochs"
        in text
    )
    assert "Best: trial 07, val_data_loss " in text
    assert "Against z off: helps. Held-out data loss falls by 3" in text
    assert "The probability that it falls by more than 1 % is 100 %. The true change lies" in text
    assert " % better (95 % interval). Expect less than 3" in text
    assert " %: the trial was chosen on the same rows." in text
    assert "To train on all 20 labelled rows:\n    hp = tuner.get_best_hyper" in text
    assert "    tuner.hypermodel.fit(hp, model, x, y, epochs=33, batch_size=8)\n" in text
    assert "These 33 epochs make as many steps as epoch 50 of the search" in text
    assert "advised" not in text


def test_an_objective_that_is_to_be_large():
    """The scores above 0 turned into scores below: no logarithms, and the signs of gains turn."""
    found = report(winner=1.2, direction="max")
    assert found.helps
    assert found.against_baseline.gain == pytest.approx(20.0, abs=2.0)
    assert not report(winner=0.7, direction="max").helps
    accuracy = replace(settings(epochs=50), monitor="val_accuracy")
    text = report(winner=1.2, direction="max", settings=accuracy).summary()
    assert " val_accuracy rises by " in text
    assert "The best epoch is the last one, 50: the score was still rising." in text


def test_how_sure_the_winner_is_against_the_second_best():
    close, clear = report(second=0.705, spread=0.1), report(second=0.9)
    assert "Either may be the better one" in str(close)
    sure = close.against_runner_up.better[0]
    said = "second best, trial 03: the probability that held-out data loss is better by more than"
    assert f"{said} 1 % is {100 * sure:.0f} %. Either" in str(close)
    assert f"{said} 1 % is 100 %.\n" in str(clear)
    assert "Either" not in str(clear)


def test_a_winner_that_may_not_help_is_not_recommended():
    found = report(winner=0.99, spread=0.2)
    assert not found.helps
    assert found.recommended is found.baseline
    assert found.recommended_epochs == round(40 * 2 / 3)
    text = str(found)
    assert "Against z off: cannot tell." in text
    assert "No term can be said to help. To train on all 20 labelled rows:\n" in text
    assert "    kp.set_term_weights(model, {'z': 0.0})\n    model.fit(x, y, epochs=27," in text


def test_a_winner_that_a_few_rows_make_worse_in_the_mean():
    """The interval of typical splits is far above 0, and the probability is small."""
    off, winner = NOISE.copy(), 0.7 * NOISE
    off[:2] *= 10.0
    winner[:2] *= 20.0
    found = report(winner=1.0, baseline=scored(None, off, weight=0.0))
    found = replace(found, winner=scored("07", winner))
    against = found.against_baseline
    assert against.low[0] > 1
    assert against.better[0] < 0.5
    change = 100 * (winner.mean() / off.mean() - 1)
    assert change > 2
    text = str(found)
    assert (
        "In the mean over all splits, which a few rows may dominate, held-out data loss rises by "
        f"{change:.1f} %: the smaller of the two probabilities counts."
    ) in text
    assert "Expect less" not in text
    assert "In the mean over all splits" not in str(report())


def test_splits_in_which_the_baseline_diverged_are_left_out():
    off = NOISE.copy()
    off[3, 1] = np.nan
    found = report(baseline=scored(None, off, weight=0.0))
    assert found.against_baseline.splits == FOLDS * SHUFFLES - 1
    kept = np.arange(FOLDS * SHUFFLES) != 3
    expected = probability_of_better(off[kept], found.winner.values[kept], 0.25)
    assert found.against_baseline.better[0] == pytest.approx(expected, abs=1e-6)
    none = report(baseline=scored(None, np.full_like(NOISE, np.nan), epoch=0, weight=0.0))
    assert "Against z off: cannot be told" in str(none)
    assert none.recommended is none.winner


def test_what_is_not_known_is_told():
    alone = report(runner_up=None, completed=1, baseline=None)
    assert "Against z off: unknown" in str(alone)
    assert "second best" not in str(alone)
    assert "1 completed trial;" in str(alone)
    few = report(settings=settings(folds=5, shuffles=1))
    assert "5 splits are fewer than the 20 advised" in str(few)
    last = report(winner=0.5, settings=settings(epochs=50))
    assert "The best epoch is the last one, 50" in str(last)


def test_it_is_plain_data():
    found = json.loads(json.dumps(report().to_dict()))
    assert found["winner"]["trial_id"] == "07"
    assert found["winner"]["terms"] == {"z": 1.0}
    assert found["against_baseline"]["verdict"] == "helps"
    assert found["recommended_epochs"] == 33
    assert np.shape(found["baseline"]["values"]) == (FOLDS * SHUFFLES, SEEDS)


def test_the_report_of_a_search(monkeypatch, tmp_path, capsys):
    invent(monkeypatch)
    tuner = search(split_tuner(tmp_path, oracle=random_oracle(6)), verbose=2)
    found = tuner.report()
    assert capsys.readouterr().out.endswith(f"\n{found}\n")
    best = tuner.oracle.get_best_trials(2)
    assert [found.winner.trial_id, found.runner_up.trial_id] == [t.trial_id for t in best]
    assert found.winner.score == best[0].score
    assert found.winner.epoch == best[0].best_step + 1 == 2
    assert found.baseline.terms == {"x": 0.0, "z": 0.0}
    expected = probability_of_better(found.baseline.values, found.winner.values, 0.5)
    assert found.against_baseline.better[0] == pytest.approx(expected, abs=1e-6)
    assert found.winner.terms == {
        n: found.winner.hyperparameters[f"{n}_weight"] for n in ("x", "z")
    }
