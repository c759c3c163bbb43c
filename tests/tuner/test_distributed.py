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
PATIENCE = 600  # Seconds after which something hangs, however busy the machine.


@pytest.fixture
def port():
    """A port of 127.0.0.1 that no other process is given while the test runs.

    A server of gRPC shares it with this socket, to which nobody can connect.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield str(holder.getsockname()[1])


@pytest.fixture
def start(tmp_path, port):
    """Starts processes of one search on 127.0.0.1; none of them outlives the test."""
    processes = []

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
                [*command, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()


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
    for worker in (steady, again):
        assert worker.wait(PATIENCE) == 0
    chief.stdin.close()
    assert chief.wait(PATIENCE) == 0

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


def test_a_worker_does_not_know_all_trials(monkeypatch, tmp_path, port):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-a")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", port)
    import keras_tuner

    from tests.tuner.test_pareto import nothing

    worker = keras_tuner.RandomSearch(
        nothing, objective=keras_tuner.Objective("val_data_loss", "min"), directory=tmp_path
    )
    with pytest.raises(ValueError, match="the chief"):
        kp.pareto_front(worker, "z")
