"""The README's quickstart runs, and its numbers of versions are those of the package."""

import re
from pathlib import Path

import keras_physreg as kp

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_quickstart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"## Quickstart\n\n```python\n(.*?)```", README, re.DOTALL).group(1)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert kp.get_term_weights(names["model"]) == {"x": 0.001, "z": 1.0}
    assert {"data_loss", "physics_loss", "val_x_loss"} <= set(names["history"].history)
    assert names["serving"].predict(names["Z_train"], verbose=0).shape == (64, 2)


def test_lowest_versions_are_those_of_the_package():
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("Keras", "TensorFlow", "KerasTuner", "NumPy"):
        lowest = re.search(rf"\| {name} \| [\d.]+ \| ([\d.]+) \|", README).group(1)
        package = {"KerasTuner": "keras-tuner"}.get(name, name.lower())
        bound = re.search(rf'"{package}>=([\d.]+)"', project).group(1)
        assert lowest.startswith(bound)
