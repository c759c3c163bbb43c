"""What importing the package loads, and which imports between its rooms are allowed."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import keras_physreg

ROOT = Path(keras_physreg.__file__).parent


def test_importing_loads_neither_keras_tuner_nor_matplotlib():
    """Keras itself loads matplotlib where it is installed, so it is hidden here."""
    program = (
        "import sys; sys.modules['matplotlib'] = None; import keras; before = set(sys.modules);"
        "import keras_physreg; new = set(sys.modules) - before;"
        "print([n for n in new if n.split('.')[0] in ('keras_tuner', 'matplotlib', 'pandas')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_private_imports():
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            for module in modules:
                parts = module.split(".")
                if parts[0] in ("keras", "keras_tuner", "tensorflow"):
                    assert "src" not in parts, (path, module)
                    assert not any(part.startswith("_") for part in parts), (path, module)


def test_the_class_of_functional_models_is_what_keras_builds():
    import keras

    from keras_physreg.models.functional import Functional

    z = keras.Input((1,))
    assert type(keras.Model(z, z)) is Functional


def test_the_tuner_loads_on_first_use():
    assert keras_physreg.PhysicsHyperModel.__module__ == "keras_physreg.tuner.hypermodel"
    assert {"PhysicsHyperModel", "pareto_front", "diagnose"} <= set(dir(keras_physreg))
    with pytest.raises(AttributeError, match="no attribute 'PhysicsHyperModels'"):
        _ = keras_physreg.PhysicsHyperModels


def test_a_missing_tensorboard_is_told_with_its_cure(monkeypatch):
    import keras_physreg.tuner

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"keras_physreg\[tuner\]"):
        importlib.reload(keras_physreg.tuner)
