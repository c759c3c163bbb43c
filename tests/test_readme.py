"""The README: its blocks run as they stand, its models are healthy, its versions are true."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import keras_physreg as kp
from tests.healthy import assert_no_error

REWRITTEN_GRAPHS = True
ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the blocks leave behind, run in order in one namespace and a folder of their own."""
    page = Sybil([PythonCodeBlockParser()]).parse(README)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(tmp_path_factory.mktemp("readme"))
        for block in page.examples():
            block.evaluate()
    return page.namespace


def test_blocks_run(names):
    assert kp.get_term_weights(names["model"]) == pytest.approx({"x": 0.001, "z": 1.0})
    assert {"data_loss", "physics_loss", "val_x_loss"} <= set(names["history"].history)
    assert names["serving"].predict(names["Z_train"], verbose=0).shape == (64, 2)
    assert_no_error(names["model"], names["Z_train"], names["x_train"])


def test_an_estimate_from_the_input_alone_is_what_the_readme_says_it_is(names):
    """Its second rule: no gradient, a dead term."""

    def from_input_alone(Z, x_pred):
        return {"x": keras.ops.matmul(Z, np.linalg.pinv(names["mixture"]))}

    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(from_input_alone, [kp.PhysicsTerm("x", "target")])
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile("adam", "mse")
    report = kp.diagnose(model, names["Z_train"], names["x_train"])
    assert [(f.code, f.severity) for f in report.findings] == [("disconnected", "error")]


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 200


def test_the_command_that_runs_the_tests_is_there():
    """A clone is tested by this line of the README."""
    (command,) = re.findall(r"^python3 -m venv \.venv-test .*$", TEXT, re.MULTILINE)
    assert command.endswith("-m pytest -n auto")


def test_lowest_versions_are_those_of_the_package():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("Keras", "TensorFlow", "KerasTuner", "NumPy"):
        lowest = re.search(rf"\| {name} \| [\d.]+ \| ([\d.]+) \|", TEXT).group(1)
        package = {"KerasTuner": "keras-tuner"}.get(name, name.lower())
        bound = re.search(rf'"{package}>=([\d.]+)"', project).group(1)
        assert lowest.startswith(bound)
