"""Nothing is lost, whenever the process is killed, and other searches are not mixed in."""

import functools
import json
import random

import keras
import keras_tuner
import numpy as np
import pytest

from keras_physreg.tuner.search import atomic_files
from keras_physreg.tuner.search.group_trainer import GroupTrainer
from keras_physreg.tuner.search.project import STATE
from keras_physreg.tuner.search.trial_result import TrialResult
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
from tests.variants import slow_but, slow_but_rows

# Of the Gaussian process of Bayesian optimization.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
COUNT = 6


class KilledError(BaseException):
    """Ends the search as SIGKILL would: nothing is written on the way out."""


def kill_at(monkeypatch, owner, name, call, after):
    """Ends the search before or after a call of a function."""
    function, calls = getattr(owner, name), [0]

    def deadly(*args, **kwargs):
        calls[0] += 1
        if calls[0] == call and not after:
            raise KilledError
        result = function(*args, **kwargs)
        if calls[0] == call:
            raise KilledError
        return result

    monkeypatch.setattr(owner, name, deadly)


def grid_oracle():
    return keras_tuner.oracles.GridSearchOracle(max_trials=COUNT)


def bayesian_oracle(max_trials=COUNT, **settings):
    """Three trials at random, then three by what came of them."""
    return keras_tuner.oracles.BayesianOptimizationOracle(
        max_trials=max_trials, num_initial_points=3, seed=1, **settings
    )


class Drawing(keras_tuner.Oracle):
    """Draws from a generator of its own, as Bayesian optimization does, but in no time.

    A proposal depends on all that it was told before, and on what is under way.
    """

    def __init__(self, make, **settings):
        super().__init__(max_trials=COUNT, seed=1, **settings)
        self.generator = make()

    def populate_space(self, trial_id):
        told = sum(trial.score for trial in self.trials.values() if trial.score is not None)
        shift = (told + len(self.ongoing_trials)) % 1
        values = {name: 0.02 + self.generator.random() + shift for name in ("x_weight", "z_weight")}
        return {"status": "RUNNING", "values": values}


ORACLES = {
    "random": random_oracle,
    "grid": grid_oracle,
    "bayesian": bayesian_oracle,
    "Random": lambda: Drawing(lambda: random.Random(1)),
    "RandomState": lambda: Drawing(lambda: np.random.RandomState(1)),
    "Generator": lambda: Drawing(lambda: np.random.default_rng(1)),
    "MT19937": lambda: Drawing(lambda: np.random.Generator(np.random.MT19937(1))),
}


@pytest.fixture(scope="module", autouse=True)
def _invented():
    with pytest.MonkeyPatch.context() as monkeypatch:
        invent(monkeypatch)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    @functools.cache
    def outcomes_of(name):
        folder = tmp_path_factory.mktemp(name)
        return outcomes(search(make_tuner(folder, oracle=ORACLES[name]())))

    return outcomes_of


Oracle = keras_tuner.Oracle
ROUNDS = [  # In the first round and the second, while asking, training and telling.
    (GroupTrainer, "train", 1, True),
    (Oracle, "create_trial", 5, True),
    (GroupTrainer, "train", 2, False),
    (TrialResult, "save", 5, True),
    (Oracle, "end_trial", 5, True),
]
POINTS = [
    ("random", atomic_files.os, "replace", 1, False),  # the first state of all
    ("random", Oracle, "create_trial", 1, True),  # a trial that no state knows
    ("random", Oracle, "create_trial", 3, True),
    ("random", Oracle, "create_trial", 5, True),
    ("random", GroupTrainer, "train", 1, False),
    ("random", GroupTrainer, "train", 2, True),
    ("random", keras.Model, "save_weights", 2, False),
    ("random", keras.Model, "save_weights", 2, True),  # a checkpoint that is not in its place
    ("random", TrialResult, "save", 1, False),
    ("random", TrialResult, "save", 2, True),
    ("random", Oracle, "update_trial", 2, True),
    ("random", Oracle, "end_trial", 3, True),
    ("random", Oracle, "save", 2, False),  # of the oracle, in the middle of asking
    ("grid", Oracle, "create_trial", 3, True),
    ("grid", TrialResult, "save", 3, True),
    ("grid", Oracle, "end_trial", 4, True),
    *[("RandomState", *point) for point in ROUNDS],
    ("Random", *ROUNDS[1]),
    ("Generator", *ROUNDS[1]),
    ("MT19937", *ROUNDS[1]),
    *[pytest.param("bayesian", *ROUNDS[k], marks=pytest.mark.slow) for k in (1, 3)],
]


@pytest.mark.parametrize(
    ("oracle", "owner", "name", "call", "after"),
    slow_but_rows((0, 5, 8, 12, 18), POINTS),
)
def test_killed_search_goes_on(tmp_path, undisturbed, oracle, owner, name, call, after):
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at(monkeypatch, owner, name, call, after)
        with pytest.raises(KilledError):
            search(make_tuner(tmp_path, oracle=ORACLES[oracle]()))
    done = {path.parent.name.removeprefix("trial_") for path in tmp_path.glob("*/*/result.json")}
    with pytest.MonkeyPatch.context() as monkeypatch:
        trained = record_training(monkeypatch)
        tuner = search(make_tuner(tmp_path, oracle=ORACLES[oracle]()))
    assert outcomes(tuner) == undisturbed(oracle)
    assert set(trained) == set(undisturbed(oracle)) - done
    assert len(trained) == len(set(trained))
    assert sorted(tuner.oracle.end_order) == sorted(undisturbed(oracle))
    assert tuner.get_best_models()[0].built


@pytest.mark.slow
@pytest.mark.parametrize("oracle", slow_but({"random"}, ["random", "grid"]))
def test_killed_again_and_again(tmp_path, undisturbed, oracle):
    for replicas in (2, 1, 2):
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill_at(monkeypatch, GroupTrainer, "train", 2, after=False)
            with pytest.raises(KilledError):
                search(make_tuner(tmp_path, oracle=ORACLES[oracle](), replicas=replicas))
    tuner = search(make_tuner(tmp_path, oracle=ORACLES[oracle](), replicas=2))
    assert outcomes(tuner) == undisturbed(oracle)


def test_full_disk_costs_no_trial(tmp_path, undisturbed, monkeypatch):
    def full(self, folder):
        raise OSError("no space left")

    save = TrialResult.save
    monkeypatch.setattr(TrialResult, "save", full)
    with pytest.raises(OSError, match="no space left"):
        search(make_tuner(tmp_path))
    monkeypatch.setattr(TrialResult, "save", save)
    assert outcomes(search(make_tuner(tmp_path))) == undisturbed("random")


def cut_off(path):
    path.write_text(path.read_text()[: len(path.read_text()) // 2])


def orphan(folder):
    (folder / "trial_9").mkdir()
    (folder / "trial_9" / "trial.json").write_text('{"trial_id": "9", "status": "RUNNING"}')


DAMAGES = {
    "oracle.json, cut off": lambda folder: cut_off(folder / "oracle.json"),
    "oracle.json, gone": lambda folder: (folder / "oracle.json").unlink(),
    "tuner0.json, gone": lambda folder: (folder / "tuner0.json").unlink(),
    "trial.json, cut off": lambda folder: cut_off(folder / "trial_1" / "trial.json"),
    "trial.json, gone": lambda folder: (folder / "trial_1" / "trial.json").unlink(),
    "a trial that is no one's": orphan,
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_files_of_kerastuner_are_mended(finished, kind, monkeypatch, capsys):
    folder, expected = finished
    DAMAGES[kind](folder / "search")
    trained = record_training(monkeypatch)
    tuner = make_tuner(folder)
    assert outcomes(tuner) == expected
    search(tuner, verbose=2)
    assert trained == []
    assert capsys.readouterr().out.startswith(
        f"There is nothing left to run: the search in {tuner.project_dir} has run all its 6 "
        "trials. Best val_data_loss: "
    )
    plain = keras_tuner.RandomSearch(
        build, "val_loss", directory=folder, project_name="search", max_trials=6
    )
    assert outcomes(plain) == expected


@pytest.fixture(scope="module")
def finished(tmp_path_factory, undisturbed):
    folder = tmp_path_factory.mktemp("finished")
    return folder, outcomes(search(make_tuner(folder)))


def test_more_trials_than_before(tmp_path, undisturbed):
    search(make_tuner(tmp_path, oracle=random_oracle(4)))
    tuner = search(make_tuner(tmp_path, oracle=random_oracle(6), replicas=5))
    assert outcomes(tuner) == undisturbed("random")


@pytest.mark.parametrize("more", slow_but({None}, [12, None]))
def test_more_trials_of_a_grid_than_before(tmp_path, more):
    grid = keras_tuner.oracles.GridSearchOracle
    before = outcomes(search(make_tuner(tmp_path, oracle=grid(max_trials=3))))
    if more:
        search(make_tuner(tmp_path, oracle=grid(max_trials=more)))
        tuner = search(make_tuner(tmp_path, oracle=grid(max_trials=more + 1)))
        assert len(tuner.oracle.trials) == more + 1
    else:
        tuner = make_tuner(tmp_path, oracle=grid())
        assert tuner.remaining_trials is None
    assert {i: o for i, o in outcomes(tuner).items() if i in before} == before
    values = [tuple(v.items()) for v, _, _ in outcomes(tuner).values()]
    assert len(set(values)) == len(values)


def test_a_search_that_trained_nothing_fixes_no_arguments(tmp_path):
    for wrong in ({"batch_size": 5, "sample_weight": [1.0]}, {"batch_size": 6}):
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill_at(monkeypatch, GroupTrainer, "train", 1, after=False)
            with pytest.raises(KilledError):
                search(make_tuner(tmp_path), **wrong)
    search(make_tuner(tmp_path), batch_size=np.int64(4), shuffle=np.bool_(False))
    with pytest.raises(ValueError, match="batch_size is 4 there, 5 now"):
        search(make_tuner(tmp_path), batch_size=5, shuffle=False)


def named(hp):
    hp.Choice("units", [1, 2])
    return build(hp)


@pytest.mark.parametrize(
    ("tuner", "training", "message"),
    [
        (
            {"weights": {"x": (1e-2, 1.0), "z": (1e-2, 10.0)}},
            {},
            r"another search space: x_weight is .*10\.0.* there, .*1\.0.* now.*overwrite=True",
        ),
        ({"build": named}, {}, "another search space: units is 'missing' there"),
        ({"oracle": grid_oracle()}, {}, "another oracle: 'RandomSearchOracle' there"),
        ({"seed": 1}, {}, r"another training: seeds is \[0\] there, \[1\] now"),
        ({}, {"epochs": 3}, "another training: epochs is 2 there, 3 now"),
        ({}, {"shuffle": False}, "another training: shuffle is True there, False now"),
        ({}, {"sample_weight": np.ones(12)}, "content of sample_weight is None there, '.*' now"),
        (
            {},
            {"validation_data": problems.data(12, seed=2)},
            "content of validation_data is '.*' there, '.*' now",
        ),
    ],
)
def test_another_search_is_refused(finished, tuner, training, message):
    with pytest.raises(ValueError, match=message):
        search(make_tuner(finished[0], **tuner), **training)


def test_other_labels_are_another_search(finished):
    """As many rows, such as after a change of their unit: the scores could not be compared."""
    (z, x), rest = DATA, {"validation_data": VALIDATION}
    with pytest.raises(ValueError, match=r"content of y is '.*' there, '.*' now.*overwrite=True"):
        make_tuner(finished[0]).search(z, 1000 * x, epochs=2, verbose=0, **rest)


def test_a_term_that_is_held_off_is_another_search(tmp_path):
    off = {"x": (1e-2, 10.0), "z": None}
    search(make_tuner(tmp_path, oracle=random_oracle(2), weights=off))
    with pytest.raises(ValueError, match=r"another terms: z is .TermSpace.* there, 'missing' now"):
        make_tuner(tmp_path, weights={"x": (1e-2, 10.0)})


def test_search_of_another_tuner_is_refused(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "oracle.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds the search of another tuner.*overwrite=True"):
        make_tuner(tmp_path)


def test_search_continued_by_another_tuner_is_refused(tmp_path):
    search(make_tuner(tmp_path, oracle=random_oracle(2)))
    folder = tmp_path / "search" / "trial_2"
    folder.mkdir()
    (folder / "trial.json").write_text(json.dumps({"trial_id": "2", "status": "COMPLETED"}))
    with pytest.raises(ValueError, match="continued by another tuner: trial 2 "):
        make_tuner(tmp_path)
    assert folder.exists()


def test_other_folders_are_left_alone(tmp_path):
    search(make_tuner(tmp_path, oracle=random_oracle(2)))
    notes = tmp_path / "search" / "trial_0_copy" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    make_tuner(tmp_path, oracle=random_oracle(2))
    assert notes.read_text() == "mine"


def test_damaged_state_is_refused(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / STATE).write_text("{")
    with pytest.raises(ValueError, match=r"is no state of a `ReplicaTuner`.*overwrite=True"):
        make_tuner(tmp_path)
