"""Searches of the ReplicaTuner under KerasTuner's oracles, trained in earnest."""

import csv

import keras
import keras_tuner
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.replicas import compiled
from keras_physreg.tuner.search import group_trainer
from keras_physreg.tuner.search.group_trainer import GroupTrainer
from tests import problems
from tests.tuner.replica_searches import (
    DATA,
    VALIDATION,
    build,
    invent,
    make_tuner,
    outcomes,
    random_oracle,
    record_training,
    search,
)
from tests.variants import slow_but

oracles = keras_tuner.oracles


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    callbacks = [
        keras.callbacks.TensorBoard(folder / "board"),
        keras.callbacks.CSVLogger(folder / "logs.csv"),
    ]
    with pytest.MonkeyPatch.context() as monkeypatch:
        programs = []
        make = compiled.Program
        monkeypatch.setattr(compiled, "Program", lambda *args: programs.append(1) or make(*args))
        tuner = make_tuner(folder, oracle=random_oracle(5), executions_per_trial=2)
        search(tuner, callbacks=callbacks)
    return tuner, folder, programs


@pytest.mark.slow
def test_every_trial_is_reported(searched, capsys):
    tuner = searched[0]
    trials = list(tuner.oracle.trials.values())
    assert [trial.status for trial in trials] == ["COMPLETED"] * 5
    assert tuner.remaining_trials == 0
    assert tuner.oracle.ongoing_trials == {}
    best = min(trials, key=lambda trial: trial.score)
    assert tuner.get_best_hyperparameters()[0].values == best.hyperparameters.values
    assert set(best.metrics.metrics) > {"val_data_loss", "val_x_loss", "data_loss", "x_loss"}
    tuner.results_summary(1)
    printed = capsys.readouterr().out
    assert f"Trial {best.trial_id} summary" in printed
    assert f"Score: {best.score}" in printed


@pytest.mark.slow
def test_objective_is_the_mean_of_the_executions_best_epochs(searched):
    tuner, _, _ = searched
    for trial in tuner.oracle.trials.values():
        folder = tuner.get_trial_dir(trial.trial_id)
        with open(f"{folder}/history.csv") as file:
            rows = list(csv.DictReader(file))
        assert [(r["execution"], r["epoch"]) for r in rows] == [
            ("0", "0"),
            ("0", "1"),
            ("1", "0"),
            ("1", "1"),
        ]
        losses = np.array([float(r["val_data_loss"]) for r in rows]).reshape(2, 2)
        assert trial.score == pytest.approx(losses.min(axis=1).mean())
        assert trial.best_step == int(losses.argmin(axis=1).mean())
        assert losses[0, 0] != losses[1, 0]


@pytest.mark.slow
def test_models_are_those_of_the_best_epoch_and_execution(searched):
    folder = searched[1]
    again = make_tuner(folder, oracle=random_oracle(5), executions_per_trial=2)
    trials = again.oracle.get_best_trials(2)
    for trial, model in zip(trials, again.get_best_models(2), strict=True):
        with open(f"{again.get_trial_dir(trial.trial_id)}/history.csv") as file:
            best = min(float(row["val_data_loss"]) for row in csv.DictReader(file))
        found = model.evaluate(*VALIDATION, verbose=0, return_dict=True)
        assert found["data_loss"] == pytest.approx(best, rel=1e-5)
        assert kp.get_term_weights(model)["x"] == pytest.approx(
            trial.hyperparameters.get("x_weight")
        )


@pytest.mark.slow
def test_rounds_share_one_program(searched):
    assert searched[2] == [1]


@pytest.mark.slow
def test_logs_of_each_execution(searched):
    _, folder, _ = searched
    for trial in "01234":
        for execution in ("execution0", "execution1"):
            lines = (folder / trial / execution / "logs.csv").read_text().splitlines()
            assert lines[0].startswith("epoch,data_loss,loss,")
            assert [line.split(",")[0] for line in lines[1:]] == ["0", "1"]
            for kind in ("train", "validation"):
                assert list((folder / "board" / trial / execution / kind).glob("events*"))


@pytest.mark.parametrize("programs", slow_but({"quick"}, ["quick", "as shipped"]))
def test_equals_random_search(programs, tmp_path, request):
    if programs == "as shipped":
        request.getfixturevalue("as_shipped")

    eagerly = False

    def seeded(hp):
        keras.utils.set_random_seed(3)
        model = build(hp)
        model.run_eagerly = eagerly
        return model

    tuner = make_tuner(tmp_path, seeded, random_oracle(2), seed=None)
    search(tuner, shuffle=False, batch_size=5)
    eagerly = True
    plain = keras_tuner.RandomSearch(
        tuner.hypermodel, tuner.hypermodel.objective, 2, seed=1, directory=tmp_path
    )
    search(plain, shuffle=False, batch_size=5)
    for trial_id, (values, status, score) in outcomes(plain).items():
        assert outcomes(tuner)[trial_id] == (values, status, pytest.approx(score, rel=1e-4))
        assert tuner.oracle.trials[trial_id].best_step == plain.oracle.trials[trial_id].best_step


def units(hp):
    model = build(hp)
    hp.Choice("units", [1, 2])
    return model


SEARCHES = {
    "random": (lambda: random_oracle(7), 7),
    "bayesian": (
        lambda: oracles.BayesianOptimizationOracle(max_trials=7, num_initial_points=3, seed=1),
        7,
    ),
    "grid": (lambda: oracles.GridSearchOracle(), 4),
}


@pytest.mark.parametrize("kind", slow_but({"random", "grid"}, SEARCHES))
def test_whole_search(tmp_path, monkeypatch, kind):
    invent(monkeypatch)
    trained = record_training(monkeypatch)
    make, count = SEARCHES[kind]
    weights = {"x": (1.0, 1.0), "z": (1.0, 1.0)} if kind == "grid" else None
    settings = {"weights": weights} if weights else {}
    tuner = make_tuner(tmp_path, oracle=make(), replicas=4, **settings)
    if kind == "grid":
        tuner = make_tuner(tmp_path / "grid", grid_build, make(), 4, **settings)
    search(tuner)
    assert len(trained) == len(set(trained)) == len(tuner.oracle.trials) == count
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    values = [tuple(t.hyperparameters.values.items()) for t in tuner.oracle.trials.values()]
    assert len(set(values)) == count
    assert tuner.oracle.objective.name == "val_data_loss"


def grid_build(hp):
    hp.Choice("a", [1, 2])
    hp.Choice("b", [1, 2])
    return build(hp)


def test_trials_of_one_model_are_trained_together(tmp_path, monkeypatch):
    invent(monkeypatch)
    groups = []
    train = GroupTrainer.train
    monkeypatch.setattr(
        GroupTrainer,
        "train",
        lambda self, structure, trials: (
            groups.append((structure, {t.hyperparameters.get("units") for t in trials})),
            train(self, structure, trials),
        )[1],
    )
    search(make_tuner(tmp_path, units, random_oracle(12), replicas=6))
    assert (
        sorted(structure for structure, _ in groups) == ['{"units": 1}'] * 2 + ['{"units": 2}'] * 2
    )
    assert all(len(values) == 1 for _, values in groups)


def test_hyperparameters_that_a_build_finds_are_those_of_every_trial(tmp_path, monkeypatch):
    def deep(hp):
        if hp.Boolean("deep"):
            hp.Int("layers", 2, 2)
        return build(hp)

    invent(monkeypatch)
    tuner = search(make_tuner(tmp_path, deep, random_oracle(6), replicas=4))
    found = [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
    assert {values["deep"] for values in found} == {True, False}
    assert all(values["layers"] == 2 for values in found if values["deep"])


@pytest.mark.slow
def test_ramps_move_the_weights(tmp_path):
    hypermodel = kp.PhysicsHyperModel(
        build, {"x": (1.0, 1.0), "z": (10.0, 10.0)}, ramps={"z": (3, 3)}, include_zero=False
    )
    tuner = kp.ReplicaTuner(hypermodel, random_oracle(1), directory=tmp_path, seed=None)
    search(tuner, epochs=2)
    with open(f"{tuner.get_trial_dir('0')}/history.csv") as file:
        rows = list(csv.DictReader(file))
    for epoch, row in enumerate(rows):
        weight = hypermodel.schedules(tuner.oracle.trials["0"].hyperparameters)["z"](epoch)
        physics = float(row["x_loss"]) + weight * float(row["z_loss"])
        assert float(row["physics_loss"]) == pytest.approx(physics, rel=1e-5)


def test_subclassed_model_is_loaded(tmp_path):
    def build_subclassed(hp):
        model = problems.Subclassed()
        model.compile("sgd", "mse", run_eagerly=True)
        return model

    tuner = make_tuner(tmp_path, build_subclassed, random_oracle(1), seed=None)
    search(tuner)
    model = make_tuner(tmp_path, build_subclassed, random_oracle(1), seed=None).get_best_models()[0]
    assert model.evaluate(*VALIDATION, verbose=0, return_dict=True)["data_loss"] == pytest.approx(
        tuner.oracle.get_best_trials()[0].score, rel=1e-5
    )


def test_interrupted_search_keeps_what_was_finished(tmp_path, monkeypatch, capsys):
    invent(monkeypatch)
    trainer = group_trainer.ReplicaTrainer
    finish = trainer._history
    calls = []

    def interrupted(self):
        calls.append(1)
        history = finish(self)
        if len(calls) == 2:
            history.epochs_done[1:] = 1
            object.__setattr__(history, "interrupted", True)
        return history

    monkeypatch.setattr(trainer, "_history", interrupted)
    tuner = make_tuner(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        search(tuner)
    assert "Interrupted. 4 trials done and kept in" in capsys.readouterr().out
    trained = record_training(monkeypatch)
    search(tuner)  # In a notebook the tuner is still there.
    assert trained == ["4", "5"]
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 6


@pytest.mark.slow
def test_trials_train_on_unlabelled_rows(tmp_path):
    """As a fit with the trial's weights does, and a search on other rows is another one."""
    more = problems.data(9, seed=2)[0]
    options = {"unlabelled": more, "unlabelled_batch_size": 3, "unlabelled_share": 0.7}
    given = {**options, "shuffle": False}
    tuner = search(make_tuner(tmp_path, oracle=random_oracle(2), seed=None), **given)
    for trial in tuner.oracle.trials.values():
        keras.utils.set_random_seed(0)
        model = tuner.hypermodel.build(trial.hyperparameters)
        validation = {"validation_data": VALIDATION, "epochs": 2, "verbose": 0}
        logs = model.fit(*DATA, **given, **validation).history
        assert trial.score == pytest.approx(min(logs["val_data_loss"]), rel=1e-4)
    again = make_tuner(tmp_path, oracle=random_oracle(2), seed=None)
    with pytest.raises(ValueError, match=r"unlabelled_share is 0\.7 there, 'missing' now"):
        search(again, unlabelled=more, unlabelled_batch_size=3, shuffle=False)
    with pytest.raises(ValueError, match="arguments need `unlabelled`"):
        search(again, unlabelled_share=0.5)
