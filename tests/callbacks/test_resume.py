"""A training that is killed within a ramp and resumed ends like one that was never stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import keras_physreg
from tests.callbacks.resumable_training import train

REWRITTEN_GRAPHS = True  # As in the process that is killed.
SCRIPT = Path(__file__).with_name("resumable_training.py")
PACKAGE = Path(keras_physreg.__file__).parents[1]
KILLED_IN = 4


def start(folder, *arguments):
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        text=True,
    )


@pytest.mark.slow
def test_killed_in_mid_ramp_and_resumed(tmp_path):
    """Resumed in another process than the one that was killed: in this one."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    with start(broken, "--wait-in", str(KILLED_IN)) as process:
        expected = train(whole)
        said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert (said, process.returncode) == ("ready\n", -signal.SIGKILL)
    assert not (broken / "result.json").exists()
    resumed = train(broken)

    assert resumed["epochs"] == expected["epochs"][KILLED_IN:]
    remaining = {name: values[KILLED_IN:] for name, values in expected["history"].items()}
    assert resumed["history"] == remaining
    for name in ("weights", "term_weights", "iterations"):
        assert resumed[name] == expected[name]
    assert 1e-3 < remaining["x_weight"][0] < 1.0
    assert 1e-3 < remaining["z_weight"][0] < 1.0
    assert expected["term_weights"] == {"x": 1.0, "z": 1.0}
