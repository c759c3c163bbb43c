"""What `overwrite=True` deletes, and what it leaves alone."""

import keras_tuner
import pytest

from keras_physreg.tuner.search.project import STATE
from tests.tuner.replica_searches import (
    build,
    invent,
    make_tuner,
    random_oracle,
    record_training,
    search,
)
from tests.variants import slow_but


@pytest.fixture(autouse=True)
def _invented(monkeypatch):
    invent(monkeypatch)


def tuner_in(folder, **settings):
    return make_tuner(folder, oracle=random_oracle(2), **settings)


def test_overwrite_begins_anew(tmp_path, monkeypatch):
    search(tuner_in(tmp_path))
    (tmp_path / "search" / "board").mkdir()
    trained = record_training(monkeypatch)
    tuner = tuner_in(tmp_path, overwrite=True)
    assert list((tmp_path / "search").iterdir()) == []
    search(tuner)
    assert trained == ["0", "1"]


@pytest.mark.parametrize("overwrite", slow_but(("no",), ["no", "False", 0, None]))
def test_overwrite_is_a_boolean(tmp_path, overwrite):
    before = search(tuner_in(tmp_path)).oracle.trials
    with pytest.raises(TypeError, match=r"`overwrite` must be True or False\. Received"):
        tuner_in(tmp_path, overwrite=overwrite)
    assert set(tuner_in(tmp_path).oracle.trials) == set(before)


@pytest.mark.parametrize("state", [None, "{", "[]", "{}", '{"described": {}, "events": []}'])
def test_a_folder_that_holds_no_search_is_not_deleted(tmp_path, state):
    folder = tmp_path / "search"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    if state is not None:
        (folder / STATE).write_text(state)
    with pytest.raises(ValueError, match=r"no readable state of a search, but holds.*delete the "):
        tuner_in(tmp_path, overwrite=True)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_what_a_process_leaves_that_was_killed_at_once_is_no_obstacle(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / f"new.{STATE}").write_text("{")
    search(tuner_in(tmp_path, overwrite=True))


def test_a_search_of_kerastuner_is_overwritten(tmp_path):
    keras_tuner.RandomSearch(
        build, "val_loss", directory=tmp_path, project_name="search", max_trials=2
    ).save()
    with pytest.raises(ValueError, match="search of another tuner"):
        tuner_in(tmp_path)
    search(tuner_in(tmp_path, overwrite=True))


def test_a_link_is_removed_and_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "thesis.txt").write_text("mine")
    search(tuner_in(tmp_path))
    (tmp_path / "search" / "link").symlink_to(tmp_path / "elsewhere")
    tuner_in(tmp_path, overwrite=True)
    assert (tmp_path / "elsewhere" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "search" / "link").exists()
