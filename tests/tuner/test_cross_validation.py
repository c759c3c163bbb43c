"""Searches by cross-validation: the splits, the objective, the baseline."""

import csv
import json

import keras_tuner
import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, ShuffleSplit

import keras_physreg as kp
from keras_physreg.tuner.search.cross_validation import SPLITS as FILE
from keras_physreg.tuner.search.group_trainer import GroupTrainer
from tests import problems
from tests.tuner.replica_searches import DATA, VALIDATION, make_tuner, outcomes, random_oracle
from tests.tuner.split_searches import (
    COUNT,
    EPOCHS,
    SplitTrainer,
    invent,
    losses_of,
    search,
    split_tuner,
)


@pytest.fixture
def plans(monkeypatch):
    return invent(monkeypatch)


def results(folder, kind="trial"):
    paths = sorted(folder.glob(f"search/{kind}_*/result.json"))
    return {
        path.parent.name.removeprefix(f"{kind}_"): json.loads(path.read_text()) for path in paths
    }


def test_the_executions_of_a_trial_are_splits_and_seeds(plans, tmp_path):
    tuner = search(split_tuner(tmp_path, executions_per_trial=2, replicas=4))
    first, second = plans
    (weights, seeds, rows, held_out), each = first, COUNT * 2
    assert len(seeds) == len(rows) == (4 + 1) * each  # The baseline is trained along.
    assert len(second[1]) == 2 * each  # Once.
    trials = list(tuner.oracle.trials.values())
    for position, trial in enumerate(trials[:4]):
        own = slice(position * each, (position + 1) * each)
        assert set(weights["x"][own]) == {trial.hyperparameters.get("x_weight")}
        assert seeds[own] == seeds[:each] == second[1][:each]
        assert all(a is b for a, b in zip(rows[own], rows[:each], strict=True))
    assert set(weights["x"][4 * each :]) == set(weights["z"][4 * each :]) == {0.0}
    assert len(set(seeds[:each])) == each  # New seeds in every split.
    folds = [tuple(held_out[2 * split]) for split in range(COUNT)]
    for shuffle in (folds[:3], folds[3:]):
        assert sorted(sum(shuffle, ())) == list(range(12))
    for train, test in zip(rows, held_out, strict=True):
        assert sorted([*train, *test]) == list(range(12))


def test_the_objective_is_the_mean_log_loss_at_the_common_epoch(plans, tmp_path):
    tuner = search(split_tuner(tmp_path, replicas=6))
    for position, trial in enumerate(tuner.oracle.trials.values()):
        own = list(range(position * COUNT, (position + 1) * COUNT))
        curves = np.log(losses_of(plans[0], own)).mean(axis=0)
        assert curves.argmin() == 1
        assert trial.score == pytest.approx(np.exp(curves.min()), rel=1e-12)
        assert trial.best_step == 1
        at_epoch = losses_of(plans[0], own)[:, 1]
        assert trial.metrics.get_best_value("val_x_loss") == pytest.approx(at_epoch.mean() + 1)
        found = results(tmp_path)[trial.trial_id]
        np.testing.assert_allclose(np.ravel(found["scores"]), at_epoch, rtol=1e-12)
        with open(f"{tuner.get_trial_dir(trial.trial_id)}/history.csv") as file:
            assert len(list(csv.DictReader(file))) == COUNT * EPOCHS


def test_one_epoch_for_all_splits_where_each_has_another_best_one(monkeypatch, tmp_path):
    """By logarithms: the mean loss would choose the last epoch, the best ones of splits others."""

    class Crossing(SplitTrainer):
        @staticmethod
        def loss(x, z, rows, seeds, epochs):
            first = np.arange(len(x)) % 2 == 0
            large = np.array([8.0, 4.0, 3.0, 2.5])[epochs]
            small = np.array([0.1, 0.01, 0.02, 0.1])[epochs]
            return np.where(first, large, small)

    invent(monkeypatch, Crossing)
    tuner = search(split_tuner(tmp_path, oracle=random_oracle(1)))
    trial = tuner.oracle.trials["0"]
    assert trial.best_step == 1
    assert trial.score == pytest.approx(np.sqrt(4.0 * 0.01))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "engine"),
    [(None, "sequential"), (5, "auto")],
)
def test_equals_fit_on_the_rows_of_each_split(tmp_path, seed, engine):
    """Trained in earnest; `fit` starts from the weights that replicas had."""
    pairs = [(np.arange(8), np.arange(8, 12)), (np.arange(4, 12), np.arange(4))]
    settings = {"oracle": random_oracle(1), "cv": pairs, "repeats": None, "seed": seed}
    tuner = split_tuner(
        tmp_path, engine=engine, **settings, weights={"x": (0.1, 1.0), "z": (0.1, 1.0)}
    )
    given = {"batch_size": 8, "shuffle": False}
    search(tuner, epochs=3, **given)
    trial = tuner.oracle.trials["0"]
    curves = []
    for split, (train, held_out) in enumerate(pairs):
        model = tuner.hypermodel.build(trial.hyperparameters)
        if seed is not None:
            start_of_seed(model, seed + split * (seed + 1))
        z, x = DATA
        validation = (z[held_out], x[held_out])
        logs = model.fit(
            z[train], x[train], validation_data=validation, epochs=3, verbose=0, **given
        ).history
        curves.append(logs["val_data_loss"])
    logarithms = np.log(curves).mean(axis=0)
    assert trial.score == pytest.approx(np.exp(logarithms.min()), rel=1e-4)
    assert trial.best_step == logarithms.argmin()


def start_of_seed(model, seed):
    """Puts the weights into the model that a replica with this seed starts from."""
    trainer = kp.ReplicaTrainer(model, {"x": [kp.get_term_weights(model)["x"]]}, [seed])
    trainer.fit(*DATA, epochs=1, verbose=0)
    trainer.load_replica(0, "initial")
    model.compile("sgd", "mse")


def test_each_model_has_a_baseline(plans, tmp_path):
    def units(hp):
        model = problems.physics_model()
        model.compile("sgd", "mse")
        hp.Choice("units", [1, 2])
        return model

    tuner = search(split_tuner(tmp_path, build=units, oracle=random_oracle(8), replicas=4))
    baselines = results(tmp_path, "baseline")
    assert len(baselines) == 2
    names = {
        trial.hyperparameters.get("units"): results(tmp_path)[trial_id]["baseline"]
        for trial_id, trial in tuner.oracle.trials.items()
    }
    assert set(names.values()) == set(baselines)
    off = sum(weights["x"].count(0.0) for weights, _, _, _ in plans)
    assert off == 2 * COUNT


def test_a_trial_fails_where_one_split_diverges(monkeypatch, tmp_path):
    class Diverging(SplitTrainer):
        @staticmethod
        def loss(x, z, rows, seeds, epochs):
            losses = SplitTrainer.loss(x, z, rows, seeds, epochs)
            bad = (np.arange(len(x)) % COUNT == 2) & (x > 0.1)
            return np.where(bad & (epochs == 3), np.nan, losses)

        def _trained(self, rows, held_out):
            history = super()._trained(rows, held_out)
            history.history["val_loss"] = history.history["val_data_loss"]
            return history

    invent(monkeypatch, Diverging)
    tuner = search(split_tuner(tmp_path))
    for trial_id, trial in tuner.oracle.trials.items():
        bad = trial.hyperparameters.get("x_weight") > 0.1
        assert trial.status == ("FAILED" if bad else "COMPLETED")
        scores = np.array(results(tmp_path)[trial_id]["scores"], float).ravel()
        assert np.flatnonzero(np.isnan(scores)).tolist() == ([2] if bad else [])
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"FAILED", "COMPLETED"}


def curves_of(plan, tuner):
    """The curves that `SplitTrainer` made up, by trial id, of shape `(splits, epochs)`."""
    return {
        trial_id: losses_of(plan, list(range(position * COUNT, (position + 1) * COUNT)))
        for position, trial_id in enumerate(tuner.oracle.trials)
    }


def test_losses_that_have_no_logarithm_have_the_plain_mean(monkeypatch, tmp_path):
    """Such as a likelihood; the trial says so, for others may have the mean of logarithms."""

    class Signed(SplitTrainer):
        @staticmethod
        def loss(x, z, rows, seeds, epochs):
            return SplitTrainer.loss(x, z, rows, seeds, epochs) - 20.0

    plans = invent(monkeypatch, Signed)
    tuner = search(split_tuner(tmp_path, replicas=6))
    for trial_id, losses in curves_of(plans[0], tuner).items():
        trial, shifted = tuner.oracle.trials[trial_id], losses - 20.0
        assert trial.score == pytest.approx(shifted.mean(axis=0).min())
        assert "Scored by the plain mean of its losses" in trial.message
    assert tuner.report().against_baseline is not None


def test_an_objective_that_is_to_be_large(plans, tmp_path):
    objective = keras_tuner.Objective("val_x_loss", "max")
    tuner = search(split_tuner(tmp_path, oracle=random_oracle(6, objective=objective), replicas=6))
    for trial_id, losses in curves_of(plans[0], tuner).items():
        trial = tuner.oracle.trials[trial_id]
        assert trial.score == pytest.approx((losses + 1).mean(axis=0).max())
        assert (trial.best_step, trial.message) == (3, None)
    report = tuner.report()
    assert report.winner.score == max(trial.score for trial in tuner.oracle.trials.values())
    gain = report.winner.values.mean() - report.baseline.values.mean()
    assert report.against_baseline.gain == pytest.approx(100 * gain / report.baseline.values.mean())


def test_a_search_that_is_killed_goes_on(plans, tmp_path, monkeypatch):
    expected = outcomes(search(split_tuner(tmp_path / "undisturbed")))
    train, calls = GroupTrainer.train, []

    def deadly(self, structure, trials):
        calls.append(trials)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(self, structure, trials)

    with monkeypatch.context() as patch:
        patch.setattr(GroupTrainer, "train", deadly)
        with pytest.raises(KeyboardInterrupt):
            search(split_tuner(tmp_path))
    plans.clear()
    tuner = search(split_tuner(tmp_path))
    assert outcomes(tuner) == expected
    assert [set(weights["x"]) & {0.0} for weights, _, _, _ in plans] == [set()]
    again = split_tuner(tmp_path)  # The report needs neither data nor a search.
    assert again.report().to_dict() == tuner.report().to_dict()


@pytest.mark.slow
def test_unlabelled_rows_and_weights_of_rows(tmp_path):
    """Rows with a weight have it in training and held out; unlabelled ones join all splits."""
    trust = np.linspace(0.5, 1.5, 12)
    more = problems.data(9, seed=2)[0]
    tuner = split_tuner(tmp_path, oracle=random_oracle(1), engine="sequential", cv=2, repeats=1)
    search(tuner, epochs=2, sample_weight=trust, unlabelled=more)
    assert tuner.oracle.trials["0"].status == "COMPLETED"


def test_groups_are_kept_together(plans, tmp_path):
    groups = np.repeat(np.arange(6), 2)
    tuner = split_tuner(tmp_path, cv=GroupKFold(3), repeats=None)
    search(tuner, groups=groups)
    _, _, rows, held_out = plans[0]
    for train, test in zip(rows, held_out, strict=True):
        assert not set(groups[train]) & set(groups[test])
    assert "GroupKFold(3)" in str(tuner.report())


@pytest.mark.parametrize(
    ("settings", "given", "told"),
    [
        ({}, {"validation_data": VALIDATION}, "leave `validation_data` out"),
        ({"cv": None, "repeats": None}, {}, r"needs `validation_data=\(x, y\)`.*cv=5"),
        (
            {"cv": None, "repeats": None},
            {"groups": np.zeros(12), "validation_data": VALIDATION},
            "`groups` are for cross-validation",
        ),
        ({"cv": 13}, {}, "13 folds of 12 labelled rows"),
        ({"cv": GroupKFold(3)}, {}, "`repeats` goes with an integer `cv` only"),
        ({"cv": GroupKFold(3), "repeats": None}, {}, r"Give the group of each row: `groups=`"),
    ],
)
def test_splits_that_cannot_be(plans, tmp_path, settings, given, told):
    tuner = split_tuner(tmp_path, **settings)
    with pytest.raises(ValueError, match=told):
        search(tuner, **given)
    assert tuner.oracle.trials == {}


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"cv": None}, ValueError, "`repeats` is the number of shuffles"),
        ({"repeats": 0}, ValueError, "`repeats` must be an integer >= 1"),
        ({"repeats": "4"}, TypeError, "`repeats` must be an integer >= 1"),
    ],
)
def test_arguments_of_the_tuner(tmp_path, settings, error, told):
    with pytest.raises(error, match=told):
        split_tuner(tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cv": 4}, "3 folds x 2 shuffles there, 4 folds x 2 shuffles now"),
        ({"repeats": 1}, "3 folds x 2 shuffles there, 3 folds x 1 shuffle now"),
        (
            {"cv": ShuffleSplit(6, test_size=4), "repeats": None},
            r".*ShuffleSplit\(6\) now.*random_st",
        ),
    ],
)
def test_other_splits_are_another_search(plans, tmp_path, settings, told):
    search(split_tuner(tmp_path, oracle=random_oracle(2)))
    with pytest.raises(ValueError, match=rf"splits the rows in another way: ({told})"):
        search(split_tuner(tmp_path, oracle=random_oracle(4), **settings))


def test_a_search_without_splits_is_another_one(plans, tmp_path):
    search(split_tuner(tmp_path, oracle=random_oracle(2)))
    tuner = make_tuner(tmp_path, oracle=random_oracle(4))
    with pytest.raises(ValueError, match=r"validation_rows is None there|no cross-validation now"):
        search(tuner, validation_data=VALIDATION)


def test_a_search_that_trained_nothing_fixes_no_splits(plans, monkeypatch, tmp_path):
    def fails(self, structure, trials):
        raise OSError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(GroupTrainer, "train", fails)
        with pytest.raises(OSError, match="out of order"):
            search(split_tuner(tmp_path))
        with pytest.raises(OSError, match="out of order"):
            search(make_tuner(tmp_path), validation_data=VALIDATION)
    assert not (tmp_path / "search" / FILE).exists()
    search(split_tuner(tmp_path, cv=4, repeats=1))
    assert "4 folds x 1 shuffle" in str(split_tuner(tmp_path, cv=4, repeats=1).report())


def test_no_report_without_splits_or_trials(plans, tmp_path):
    with pytest.raises(ValueError, match=r"no splits to compare trials on.*cv=5"):
        make_tuner(tmp_path).report()
    tuner = search(split_tuner(tmp_path))
    (tmp_path / "search" / FILE).write_text("[")
    with pytest.raises(ValueError, match=rf"{FILE} is no description of the splits"):
        tuner.report()


def test_a_crafted_baseline_is_refused(plans, tmp_path):
    tuner = search(split_tuner(tmp_path))
    path = tmp_path / "search" / f"trial_{tuner.report().winner.trial_id}" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"baseline": "../../outside"}))
    with pytest.raises(ValueError, match="`baseline` must be of hexadecimal digits"):
        tuner.report()
