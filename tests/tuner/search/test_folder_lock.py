"""Two processes, or two tuners of one process, in one project folder."""

import os
import signal
import subprocess
import sys

import pytest

from keras_physreg.tuner.search import folder_lock
from tests.tuner.replica_searches import invent, make_tuner, outcomes, random_oracle, search

HOLD = """
import pathlib, runpy, sys, time
locked = runpy.run_path(sys.argv[1])["locked"]
with locked(pathlib.Path(sys.argv[2])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of the project folder; it takes no time to start."""
    command = [sys.executable, "-c", HOLD, folder_lock.__file__, str(tmp_path / "search")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def tuner_in(folder):
    return make_tuner(folder, oracle=random_oracle(2))


def test_the_folder_of_another_process_is_refused(tmp_path, holder, monkeypatch):
    invent(monkeypatch)
    told = rf"search in {tmp_path / 'search'} is in use by process {holder.pid} on .*, since 20.*"
    for overwrite in (False, True):
        with pytest.raises(RuntimeError, match=f"{told}Wait until that ends.*`project_name`"):
            make_tuner(tmp_path, overwrite=overwrite)
    assert [path.name for path in (tmp_path / "search").iterdir()] == [folder_lock.LOCK]


def test_a_dead_process_holds_nothing(tmp_path, holder, monkeypatch):
    invent(monkeypatch)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "search" / folder_lock.LOCK).exists()
    search(tuner_in(tmp_path))
    assert not (tmp_path / "search" / folder_lock.LOCK).exists()


def test_a_search_begins_under_the_lock(tmp_path, monkeypatch):
    invent(monkeypatch)
    tuner = tuner_in(tmp_path)
    with folder_lock.locked(tmp_path / "search"), pytest.raises(RuntimeError, match="in use by"):
        search(tuner)
    assert tuner.oracle.trials == {}
    search(tuner)


def test_the_lock_is_held_while_the_search_runs(tmp_path, monkeypatch):
    """Also against this process, and let go of where the search ends with an error."""
    invent(monkeypatch)
    tuner = tuner_in(tmp_path)
    told = []

    def on_trial_begin(trial):
        with pytest.raises(RuntimeError, match=f"process {os.getpid()}") as caught:
            tuner_in(tmp_path)
        told.append(caught.value)
        raise OSError("out of order")

    monkeypatch.setattr(tuner, "on_trial_begin", on_trial_begin)
    with pytest.raises(OSError, match="out of order"):
        search(tuner)
    assert told
    assert len(outcomes(search(tuner_in(tmp_path)))) == 2


def test_a_tuner_that_another_one_has_overtaken(tmp_path, monkeypatch):
    invent(monkeypatch)
    first, second = tuner_in(tmp_path), tuner_in(tmp_path)
    expected = outcomes(search(first))
    with pytest.raises(ValueError, match=r"continued the search.*Create this one again"):
        search(second)
    assert outcomes(search(first)) == expected  # It knows the newest state itself.
    assert outcomes(tuner_in(tmp_path)) == expected


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def unsupported(file):
        raise OSError(95, "not supported")

    monkeypatch.setattr(folder_lock, "_lock", unsupported)
    with pytest.warns(UserWarning, match="has no locks"), folder_lock.locked(tmp_path):
        pass


def test_a_lock_file_that_was_deleted_since_it_was_opened(tmp_path, monkeypatch):
    """The holder deletes it: who has opened it before must not take the deleted one for it."""
    lock, calls = folder_lock._lock, []

    def deleting(file):
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / folder_lock.LOCK).unlink()
        lock(file)

    monkeypatch.setattr(folder_lock, "_lock", deleting)
    with folder_lock.locked(tmp_path):
        assert len(calls) == 2
        with pytest.raises(RuntimeError, match="in use by"), folder_lock.locked(tmp_path):
            pass
