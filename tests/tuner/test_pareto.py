"""The Pareto front of searches whose losses are known."""

import json
from dataclasses import replace

import keras_tuner
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.tuner.pareto import ParetoFront
from tests.tuner import replica_searches

HAND = [  # data loss, loss of z, on the front
    (1.0, 9.0, True),
    (2.0, 5.0, True),
    (2.0, 6.0, False),
    (3.0, 5.0, False),
    (4.0, 1.0, True),
    (4.0, 1.0, True),
    (5.0, 0.5, True),
]


def nothing(hp):
    hp.Float("z_weight", 1e-3, 10.0, sampling="log")


def tuner_with(losses, directory, status="COMPLETED", best_step=3):
    """A tuner as it is after a search: nothing is trained."""
    tuner = keras_tuner.RandomSearch(
        nothing,
        objective=keras_tuner.Objective("val_data_loss", "min"),
        max_trials=len(losses),
        max_consecutive_failed_trials=99,
        directory=directory,
    )
    tuner.oracle.verbose = 0
    for data, term in losses:
        trial = tuner.oracle.create_trial("tuner0")
        logs = {"val_data_loss": data, "val_z_loss": term, "val_loss": 0.0}
        tuner.oracle.update_trial(trial.trial_id, logs, step=best_step)
        trial.status = status
        tuner.oracle.end_trial(trial)
    tuner.save()
    return tuner


def brute_force(losses):
    return [not any(a <= x and b <= y and (a < x or b < y) for a, b in losses) for x, y in losses]


def test_by_hand(tmp_path):
    front = kp.pareto_front(tuner_with([row[:2] for row in HAND], tmp_path), "z")
    assert [(r.data_loss, r.term_loss, r.on_front) for r in front.rows] == HAND
    assert [row.trial_id for row in front.rows] == [str(k) for k in range(len(HAND))]
    assert [row.chosen for row in front.rows] == [True] + [False] * 6
    assert front.chosen.trial_id == "0"
    assert len(front.front) == 5
    assert all(1e-3 <= row.hyperparameters["z_weight"] <= 10 for row in front.rows)


@pytest.mark.parametrize("seed", range(5))
def test_no_trial_dominates_the_front(seed, tmp_path):
    losses = np.random.default_rng(seed).integers(1, 8, size=(12, 2)).astype(float).tolist()
    front = kp.pareto_front(tuner_with(losses, tmp_path), "z")
    rows = [(row.data_loss, row.term_loss) for row in front.rows]
    assert sorted(rows) == rows == sorted(map(tuple, losses))
    assert [row.on_front for row in front.rows] == brute_force(rows)


def test_a_tuner_made_anew_on_the_folder(tmp_path):
    losses = [row[:2] for row in HAND]
    before = kp.pareto_front(tuner_with(losses, tmp_path), "z")
    assert kp.pareto_front(tuner_with([], tmp_path), "z") == before


@pytest.mark.slow
def test_a_replica_tuner_and_one_made_anew_on_its_folder(tmp_path):
    tuner = replica_searches.search(replica_searches.make_tuner(tmp_path))
    front = kp.pareto_front(tuner, "z")
    assert len(front.rows) == 6
    assert front.chosen.trial_id == tuner.oracle.get_best_trials(1)[0].trial_id
    assert front.chosen.data_loss == tuner.oracle.get_best_trials(1)[0].score
    assert np.isfinite([row.term_loss for row in front.rows]).all()
    assert kp.pareto_front(replica_searches.make_tuner(tmp_path), "z") == front


def test_the_losses_are_those_of_the_best_step(tmp_path):
    tuner = tuner_with([(1.0, 2.0), (2.0, 1.0)], tmp_path, best_step=3)
    logs = {"val_data_loss": 0.5, "val_z_loss": 0.25}
    tuner.oracle.update_trial("0", logs, step=4)  # After the best step that was recorded.
    assert kp.pareto_front(tuner, "z").chosen.term_loss == 2.0


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_losses_that_are_not_finite_are_not_on_the_front(tmp_path):
    losses = [(1.0, np.nan), (2.0, 1.0), (3.0, np.inf), (4.0, 0.5)]
    front = kp.pareto_front(tuner_with(losses, tmp_path), "z")
    assert [row.data_loss for row in front.front] == [2.0, 4.0]
    assert "chosen trial 0 is not on the front: its val_data_loss or val_z_loss is missing" in str(
        front
    )
    none = kp.pareto_front(tuner_with([(1.0, np.nan)], tmp_path / "none"), "z")
    assert "No completed trial has a finite val_data_loss and val_z_loss" in none.summary()
    with pytest.raises(ValueError, match="nothing to draw"):
        none.plot()


def test_summary(tmp_path):
    front = kp.pareto_front(tuner_with([(1.0, 4.0), (1.5, 1.0), (2.0, 8.0)], tmp_path), "z")
    lines = str(front).splitlines()
    assert lines[0].startswith("Pareto front of 3 completed trials: val_data_loss against")
    assert [line.split()[0] for line in lines[4:6]] == ["0", "1"]
    assert lines[4].split()[1:5] == ["1", "4", "yes", "yes"]
    assert lines[-1].startswith("From trial 0 to trial 1, val_z_loss falls by 75.0% and")
    assert lines[-1].endswith("val_data_loss rises by 50.0%.")
    one = kp.pareto_front(tuner_with([(1.0, 1.0), (2.0, 2.0)], tmp_path / "one"), "z")
    assert one.summary().endswith(
        "There is nothing to trade off: trial 0 is the best in both losses."
    )


def test_says_why_the_chosen_trial_is_not_on_the_front(tmp_path):
    tie = kp.pareto_front(tuner_with([(1.0, 4.0), (1.0, 1.0), (2.0, 0.5)], tmp_path), "z")
    assert tie.summary().endswith("trial 1 has the same val_data_loss and a lower val_z_loss.")
    chosen = [replace(row, chosen=row.data_loss == 1.5) for row in tie.rows]
    chosen[0] = replace(chosen[0], data_loss=1.5, chosen=True, on_front=False)
    other = replace(tie, rows=tuple(chosen))
    assert other.summary().endswith("the objective of the search is not one of these two losses.")


def test_it_is_plain_data(tmp_path):
    front = kp.pareto_front(tuner_with([(1.0, 4.0), (1.5, 1.0)], tmp_path), "z")
    assert json.loads(json.dumps(front.to_dict()))["rows"][1]["term_loss"] == 1.0
    assert isinstance(front, ParetoFront)
    assert kp.ParetoFront is ParetoFront


@pytest.mark.parametrize(
    ("term", "given", "told"),
    [
        ("y", {}, r"term 'y'.*terms as `term`: \['z'\]"),
        ("data", {"data_loss": "val_loss"}, r"terms as `term`: \['z'\]"),
        ("z", {"data_loss": "val_mae"}, r"'val_mae'.*val_data_loss"),
    ],
)
def test_names_that_were_not_logged(term, given, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        kp.pareto_front(tuner_with([(1.0, 1.0)], tmp_path), term, **given)


def test_no_completed_trial(tmp_path):
    with pytest.raises(ValueError, match=r"No trial was completed.*FAILED"):
        kp.pareto_front(tuner_with([(1.0, 1.0)], tmp_path, status="FAILED"), "z")


def test_something_else_than_a_tuner():
    with pytest.raises(TypeError, match="Received: tuner=None"):
        kp.pareto_front(None, "z")
