"""One chief and two workers share a search; one worker is killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import keras_physreg as kp

ROOT = Path(__file__).parents[2]
PATIENCE = 180  # Seconds; nothing here may hang.


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path):
    """Starts processes of one search on 127.0.0.1; none of them outlives the test."""
    processes, port = [], free_port()

    def start_process(tuner_id, *arguments):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": "-1",
            "KERASTUNER_TUNER_ID": tuner_id,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": port,
        }
        command = [sys.executable, "-m", "tests.tuner.distributed_search", str(tmp_path)]
        with (tmp_path / f"{tuner_id}.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        process.kill()
        process.wait()


def wait_for(path, process):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, f"The process ended with {process.returncode}."
        assert time.monotonic() < end, f"{path.name} did not appear."
        time.sleep(0.2)


@pytest.mark.slow
def test_a_worker_is_killed_and_the_search_loses_nothing(start, tmp_path, monkeypatch):
    from tests.tuner.distributed_search import MAX_TRIALS, make_tuner

    chief = start("chief")
    steady = start("worker-a")
    killed = start("worker-b", "--pause")
    wait_for(tmp_path / "paused", killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    again = start("worker-b")
    for process in (steady, again, chief):
        assert process.wait(PATIENCE) == 0

    events = Counter()
    for name in ("worker-a", "worker-b"):
        events.update((tmp_path / f"{name}.txt").read_text().splitlines())
    trials = [str(k) for k in range(MAX_TRIALS)]
    assert {e.split()[1] for e in events if e.startswith("end")} == set(trials)
    assert all(events[f"end {trial}"] == 1 for trial in trials)
    interrupted = [trial for trial in trials if events[f"begin {trial}"] != 1]
    assert len(interrupted) == 1
    assert events[f"begin {interrupted[0]}"] == 2

    assert f"Pareto front of {MAX_TRIALS} completed" in (tmp_path / "chief.log").read_text()
    # Without address and port the same script reads what the chief has left.
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    tuner = make_tuner(tmp_path)
    assert sorted(tuner.oracle.trials) == trials
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    best = tuner.get_best_hyperparameters()[0]
    ends = {name: getattr(s, "end", s) for name, s in tuner.hypermodel.schedules(best).items()}
    assert kp.get_term_weights(tuner.hypermodel.build(best)) == pytest.approx(ends, rel=1e-6)
    assert tuner.get_best_models(1)[0].compiled


def test_a_worker_does_not_know_all_trials(monkeypatch, tmp_path):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-a")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", free_port())
    import keras_tuner

    from tests.tuner.test_pareto import nothing

    worker = keras_tuner.RandomSearch(
        nothing, objective=keras_tuner.Objective("val_data_loss", "min"), directory=tmp_path
    )
    with pytest.raises(ValueError, match="the chief"):
        kp.pareto_front(worker, "z")
