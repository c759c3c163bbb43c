"""Files of a search that were cut off, replaced or crafted: the path and the cure."""

import json
import re

import pytest

from keras_physreg.tuner.search.project import STATE
from keras_physreg.tuner.search.trial_result import RESULT
from tests.tuner.replica_searches import invent, make_tuner, random_oracle, record_training, search
from tests.variants import slow_but, slow_but_rows


@pytest.fixture(autouse=True)
def _invented(monkeypatch):
    invent(monkeypatch)


def tuner_in(folder, **settings):
    return make_tuner(folder, oracle=random_oracle(2), **settings)


@pytest.fixture
def state_path(tmp_path):
    search(tuner_in(tmp_path))
    return tmp_path / "search" / STATE


def change(path, **entries):
    """Sets entries of a JSON file, by keys that are joined by `__`."""
    state = json.loads(path.read_text())
    for name, value in entries.items():
        place, keys = state, [int(k) if k.isdigit() else k for k in name.split("__")]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
    path.write_text(json.dumps(state))


def remove(path, key):
    state = json.loads(path.read_text())
    del state[key]
    path.write_text(json.dumps(state))


def files(folder):
    """All of them but KerasTuner's `tuner0.json`, which holds nothing."""
    return sorted(path for path in folder.rglob("*") if path.name != "tuner0.json")


def cut(path):
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])


FILES = {  # Of a state and of a result alike.
    "cut": (cut, "cut off, or no JSON file"),
    "empty": (lambda path: path.write_text(""), "cut off, or no JSON file"),
    "binary": (lambda path: path.write_bytes(bytes(range(128, 256))), "cut off, or no JSON file"),
    "list": (lambda path: path.write_text("[1, 2]"), "it holds a list"),
    "number": (lambda path: path.write_text("3"), "it holds a int"),
    "extra": (lambda path: change(path, colour="red"), r"does not know \['colour'\]"),
}
STATES = {
    **FILES,
    "lacks": (lambda path: remove(path, "trials"), r"lacks \['trials'\]"),
    "type": (lambda path: change(path, trials="all"), "`trials` holds 'all'"),
    "no dicts": (lambda path: change(path, trials=["0", "1"]), "not what it should be"),
    "status": (
        lambda path: change(path, trials__0__status="DONE"),
        r"status of a trial must be one of .* but there are \['DONE'\]",
    ),
    "no such trial": (
        lambda path: change(path, oracle__end_order=["0", "7"]),
        r"names the trials \['7'\]",
    ),
    "hyperparameters": (
        lambda path: change(path, trials__0__hyperparameters=3),
        r"damaged state.*TypeError",
    ),
    "oracle": (lambda path: change(path, oracle__display=[]), "damaged state"),
}


@pytest.mark.parametrize(
    ("damage", "told"), slow_but_rows((0, 5, 9, 10), STATES.values()), ids=STATES
)
def test_state(state_path, tmp_path, damage, told):
    damage(state_path)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=rf"{re.escape(str(state_path))}.*{told}.*`project_name`"):
        tuner_in(tmp_path)
    assert files(tmp_path) == before


CRAFTED = ["../../outside", "/outside", "a/b", "", "..", "0\n", "trial", 3, None, "²"]


@pytest.mark.slow
@pytest.mark.parametrize("trial_id", slow_but(("../../outside", "0\n", 3), CRAFTED), ids=repr)
def test_crafted_ids_are_refused(state_path, tmp_path, trial_id):
    change(state_path, trials__1__trial_id=trial_id)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=r"a trial id must be of digits.*`project_name`"):
        tuner_in(tmp_path)
    assert files(tmp_path) == before


RESULTS = {
    **FILES,
    "lacks": (lambda path: remove(path, "status"), r"lacks \['status'\]"),
    "status": (lambda path: change(path, status="DONE"), "its status must be .*it is 'DONE'"),
    "running": (lambda path: change(path, status="RUNNING"), "must be .*it is 'RUNNING'"),
    "type": (lambda path: change(path, step="3"), "`step` holds '3'"),
    "text": (lambda path: change(path, metrics__val_data_loss="0.1"), "finite numbers"),
    "NaN": (lambda path: change(path, metrics__val_data_loss=float("nan")), "finite numbers"),
    "objective": (lambda path: change(path, metrics={"loss": 1.0}), "no `val_data_loss`"),
}


@pytest.mark.parametrize(
    ("damage", "told"), slow_but_rows((0, 5, 11, 12), RESULTS.values()), ids=RESULTS
)
def test_result(tmp_path, monkeypatch, damage, told):
    """It is read where a search was killed after a trial was trained, before it was told."""
    tuner = tuner_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(tuner, "on_trial_end", lambda trial: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            search(tuner)
    path = tmp_path / "search" / "trial_1" / RESULT
    damage(path)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}.*{told}.*Delete the file"):
        search(tuner_in(tmp_path))
    path.unlink()  # As it says.
    trained = record_training(monkeypatch)
    search(tuner_in(tmp_path))
    assert trained == ["1"]
