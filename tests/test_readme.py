"""Every block of the README runs as it stands; its models are healthy; its versions are true."""

import functools
import re
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pytest

import keras_physreg as kp
from tests.healthy import assert_no_error

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks():
    """The Python blocks by their heading and number under it, with the line they begin at."""
    found, heading = {}, ""
    for match in re.finditer(
        r"^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
    ):
        if match[1]:
            heading, count = match[1], 0
        elif match[2] == "python":
            count += 1
            found[f"{heading} {count}"] = (match[3], README[: match.start(3)].count("\n"))
    return found


BLOCKS = blocks()
# Blocks of one group run in one namespace, in order, after the quickstart.
GROUPS = {
    "quickstart": ["Quickstart 1"],
    "sweep": ["The sanity sweep: set a = 0 and b = 0, then raise one after the other 1"],
    "diagnosis": ["My physics made it worse 1"],
    "ramps": ["Moving the weights while the model trains 1"],
    "search": [
        "The hyperparameter search, with KerasTuner as you know it 1",
        "Many trials at once: ReplicaTuner 1",
        "What there is to choose: the Pareto front 1",
    ],
    "unlabelled": ["Unlabelled data 1"],
    "collocation": ["Unlabelled data 2"],
    "constants": ["Unknown physical constants 1", "Unknown physical constants 2"],
    "inequalities": ["Inequalities and conserved quantities 1"],
}
EPOCHS = 2


def test_every_block_belongs_to_one_group():
    assert sorted(BLOCKS) == sorted(key for keys in GROUPS.values() for key in keys)


def run(keys, names):
    for key in keys:
        code, line = BLOCKS[key]
        exec(compile("\n" * line + code, "README.md", "exec"), names)
    return names


def capped(function, **limits):
    """Returns the function with arguments that make it short, whatever it is given."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        epochs = {"epochs": min(kwargs["epochs"], EPOCHS)} if "epochs" in kwargs else {}
        return function(*args, **{**kwargs, **epochs, **limits})

    return call


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(tmp_path_factory.mktemp("quickstart"))
        return run(GROUPS["quickstart"], {})


@pytest.fixture
def names(quickstart, tmp_path, monkeypatch):
    """What the blocks use and do not define: the quickstart's names, rows, a network."""
    import keras_tuner

    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kp.PhysicsModel, "fit", capped(kp.PhysicsModel.fit))
    monkeypatch.setattr(kp, "sanity_sweep", capped(kp.sanity_sweep, weights=[1e-1, 1.0], seeds=2))
    monkeypatch.setattr(kp.ReplicaTuner, "search", capped(kp.ReplicaTuner.search))
    replicas = capped(kp.ReplicaTuner, replicas=3, executions_per_trial=1)
    monkeypatch.setattr(kp, "ReplicaTuner", replicas, raising=False)
    for tuners, name in (
        (keras_tuner, "BayesianOptimization"),
        (keras_tuner.oracles, "RandomSearchOracle"),
    ):
        monkeypatch.setattr(tuners, name, capped(getattr(tuners, name), max_trials=3))

    found = dict(quickstart)
    rng = np.random.default_rng(1)
    x_val = rng.normal(size=(32, 2)).astype("float32")
    z_measured = rng.normal(size=(64, 1)).astype("float32")
    found |= {
        "model": keras.models.clone_model(found["model"]),
        "Z_val": x_val @ found["mixture"],
        "x_val": x_val,
        "Z_more": rng.normal(size=(100, 3)).astype("float32"),
        "Z_all": found["Z_train"],
        "x_all": found["x_train"],
        "z_measured": z_measured,
        "x_measured": ((z_measured - 0.2) / 1.3).astype("float32"),
        "encoder": keras.Sequential([keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]),
        "make_model": lambda units: keras.models.clone_model(quickstart["model"]),
        "result": {"x": (0.1, 100.0), "z": (0.01, 100.0)},
    }
    found["model"].compile("adam", "mse")
    yield found
    from matplotlib import pyplot

    pyplot.close("all")


def test_quickstart(quickstart):
    names = quickstart
    assert kp.get_term_weights(names["model"]) == {"x": 0.001, "z": 1.0}
    assert {"data_loss", "physics_loss", "val_x_loss"} <= set(names["history"].history)
    assert names["serving"].predict(names["Z_train"], verbose=0).shape == (64, 2)
    assert_no_error(names["model"], names["Z_train"], names["x_train"])


def test_an_estimate_from_the_input_alone_is_what_the_quickstart_says_it_is(names):
    """A dead term: the first version of the quickstart had it."""

    def from_input_alone(Z, x_pred):
        return {"x": keras.ops.matmul(Z, np.linalg.pinv(names["mixture"]))}

    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(from_input_alone, [kp.PhysicsTerm("x", "target")])
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile("adam", "mse")
    report = kp.diagnose(model, names["Z_train"], names["x_train"])
    assert [(f.code, f.severity) for f in report.findings] == [("disconnected", "error")]


@pytest.mark.slow
def test_sweep(names):
    result = run(GROUPS["sweep"], names)["result"]
    assert list(result.verdicts) == ["x", "z"]


def test_diagnosis(names, capsys):
    run(GROUPS["diagnosis"], names)
    assert "Diagnosis of" in capsys.readouterr().out


def test_ramps(names):
    model = run(GROUPS["ramps"], names)["model"]
    assert model.history.history["x_weight"] == pytest.approx([1e-10, 1e-10 * 10 ** (1 / 8)])
    assert kp.get_term_weights(model)["z"] == 0.0


@pytest.mark.slow
def test_search(names, capsys):
    run(GROUPS["search"], names)
    assert type(names["serving"]).__name__ == "Functional"
    assert "Pareto front of 3 completed trials" in capsys.readouterr().out


def test_unlabelled(names):
    history = run(GROUPS["unlabelled"], names)["model"].history.history
    assert len(history["val_data_loss"]) == EPOCHS


def test_collocation(names):
    run(GROUPS["collocation"], names)
    assert_no_error(names["model"], names["ends"], np.zeros((2, 1)))


def test_constants(names):
    run(GROUPS["constants"][:1], names)
    assert list(kp.get_constants(names["model"])) == ["gain", "offset"]
    assert_no_error(names["model"], names["z_measured"], names["x_measured"])
    run(GROUPS["constants"][1:], names)
    given = {"z": names["z_measured"], "label": names["x_measured"]}
    assert_no_error(names["model"], given, names["x_measured"])
    assert [tensor.name for tensor in names["served"].inputs] == ["z"]


def test_inequalities(names):
    run(GROUPS["inequalities"], names)
    rng = np.random.default_rng(2)
    z, tank = rng.normal(size=(40, 4)), rng.uniform(0, 3, (40, 5))
    for physics, terms, x in (
        (names["limits"], {"level": 1.0, "filling": 1.0}, np.sort(tank)),
        (names["rising"], {"rising": 1.0}, z[:, 1:2]),
    ):
        given = keras.Input((4,))
        layer = kp.PhysicsRegularization(physics, terms)
        model = kp.PhysicsModel(given, layer(given, keras.layers.Dense(x.shape[1])(given)))
        model.compile("adam", "mse")
        model.fit(z, x, epochs=1, verbose=0)
        assert_no_error(model, z, x)


def test_every_group_has_a_test():
    for name in GROUPS:
        assert f"test_{name}" in globals()


def test_lowest_versions_are_those_of_the_package():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("Keras", "TensorFlow", "KerasTuner", "NumPy"):
        lowest = re.search(rf"\| {name} \| [\d.]+ \| ([\d.]+) \|", README).group(1)
        package = {"KerasTuner": "keras-tuner"}.get(name, name.lower())
        bound = re.search(rf'"{package}>=([\d.]+)"', project).group(1)
        assert lowest.startswith(bound)


def test_the_files_that_it_names_are_there():
    named = set(re.findall(r"`((?:examples|tests|keras_physreg)/[\w/.]+\.\w+)`", README))
    named |= set(re.findall(r"\]\((examples/[\w/.]+)\)", README))
    assert len(named) > 8
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
