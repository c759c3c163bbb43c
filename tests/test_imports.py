"""What importing the package loads, and which imports between its rooms are allowed."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import keras_physreg

ROOT = Path(keras_physreg.__file__).parent


# Keras itself loads matplotlib and TensorFlow where they are installed: they are hidden from us.
PROGRAM = """
import sys
sys.modules["matplotlib"] = None
import keras
sys.modules["tensorflow"] = None
before = set(sys.modules)
import keras_physreg as kp, keras_physreg.plotting
tuner = {"ParetoFront", "PhysicsHyperModel", "ReplicaTuner", "pareto_front"}
assert len([getattr(kp, name) for name in set(kp.__all__) - tuner]) > 20
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new & {"keras_tuner", "matplotlib", "pandas", "scipy", "tensorflow"}))
"""


@pytest.mark.slow
def test_importing_loads_nothing_that_is_not_used_yet():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# Bottom to top: a room imports from rooms of lower rank, and from itself.
RANKS = {
    room: rank
    for rank, rooms in enumerate(
        [
            "_utils",
            "constants residuals",
            "terms",
            "layers schedules",
            "inspection unlabelled plotting derivatives",
            "models diagnosis",
            "callbacks replicas refinement",
            "executors",
            "sweep",
            "tuner",
            "__init__",
        ]
    )
    for room in rooms.split()
}


def _imports():
    """Pairs of files: which imports which, for its types only or not."""
    known = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in ROOT.rglob("*.py")}
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_physreg"):
                module = node.module.removeprefix("keras_physreg").lstrip(".")
                for alias in node.names:
                    for there in (
                        f"{module}.{alias.name}".lstrip("."),
                        module,
                        f"{module}.__init__",
                    ):
                        if there in known:
                            yield name, there
                            break


def test_nothing_imports_upwards():
    upwards = [
        f"{here} imports {there}"
        for here, there in _imports()
        if (a := here.split(".")[0]) != (b := there.split(".")[0]) and RANKS[b] >= RANKS[a]
    ]
    assert upwards == []


def test_every_room_has_a_rank():
    rooms = {path.relative_to(ROOT).with_suffix("").parts[0] for path in ROOT.rglob("*.py")}
    assert rooms == set(RANKS)


def test_no_file_imports_itself_by_way_of_others():
    graph = {}
    for here, there in _imports():
        if not here.endswith("__init__"):
            graph.setdefault(here, set()).add(there)
    while leaves := {there for part in graph.values() for there in part} - set(graph):
        graph = {h: t - leaves for h, t in graph.items()}
        graph = {h: t for h, t in graph.items() if t}
    assert graph == {}


FORMER = "terms layers models inspection schedules plotting constants sweep.replicas"


@pytest.mark.parametrize("module", [*FORMER.split(), "diagnosis.gradients", "unlabelled"])
def test_module_paths_given_to_users_still_import(module):
    found = importlib.import_module(f"keras_physreg.{module}")
    public = {name: getattr(keras_physreg, name) for name in keras_physreg.__all__}
    assert module == "diagnosis.gradients" or any(
        getattr(found, name, None) is value for name, value in public.items()
    )


def test_only_public_names_are_listed():
    assert set(dir(keras_physreg)) == {*keras_physreg.__all__, "__version__"}
    assert all(getattr(keras_physreg, name) is not None for name in keras_physreg.__all__)
    assert len([*ROOT.glob("*.py")]) <= 5


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
