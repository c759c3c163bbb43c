"""A training that is killed within a ramp and resumed ends like one that was never stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import keras_physreg

SCRIPT = Path(__file__).with_name("resumable_training.py")
PACKAGE = Path(keras_physreg.__file__).parents[1]
KILLED_IN = 4


def train(folder, *arguments):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        text=True,
    )


def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_killed_in_mid_ramp_and_resumed(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with train(whole), train(broken, "--wait-in", str(KILLED_IN)) as process:
        said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert (said, process.returncode) == ("ready\n", -signal.SIGKILL)
    assert not (broken / "result.json").exists()
    with train(broken):
        pass

    resumed, expected = result(broken), result(whole)
    assert resumed["epochs"] == expected["epochs"][KILLED_IN:]
    remaining = {name: values[KILLED_IN:] for name, values in expected["history"].items()}
    assert resumed["history"] == remaining
    for name in ("weights", "term_weights", "iterations"):
        assert resumed[name] == expected[name]
    assert 1e-3 < remaining["x_weight"][0] < 1.0
    assert 1e-3 < remaining["z_weight"][0] < 1.0
    assert expected["term_weights"] == {"x": 1.0, "z": 1.0}
