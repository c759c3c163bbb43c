"""No example of ours has a term or constant that does not work, by our own diagnosis."""

from functools import partial
from pathlib import Path

import burgers
import burgers_inverse
import damped_oscillator
import irradiance as ir
import padded_days
import pv_module_parameters
import pv_modules as pv
import pytest
import sanity_sweep
import sensor_offset
import unlabelled_modules

import keras_physreg as kp
from tests.healthy import errors

REWRITTEN_GRAPHS = "slow"

EXAMPLES = Path(pv.__file__).parent
NO_MODELS = {"irradiance", "pv_modules"}  # Data and physics for the others.
# Setups that do nothing or harm, to be diagnosed: see test_why_did_my_physics_hurt.py.
BROKEN_BY_DESIGN = {"why_did_my_physics_hurt"}
ON_POINTS = {"burgers", "burgers_inverse", "damped_oscillator"}
CLOSING_BEST_AND_WORST = ["TMY3 Greensboro", "RMIS 2019"]


def modules(build, *arguments):
    model = build(*arguments)
    model.compile("adam", "mse")
    return model, *pv.split(*pv.load_modules()).labelled


def sunlight(when, name):
    data, _ = ir.split(ir.load(name))
    return sensor_offset.build(when == "after"), data.Z, data.x


def days():
    inputs, labels, _ = padded_days.load()
    term = kp.PhysicsTerm("closure", weight=1.0)
    return padded_days.build(inputs.shape[1], term), inputs[:100], labels[:100]


# By the scripts that train them, and what they are.
MODELS = {
    ("pv_module_parameters weight_ramp", "both terms on"): partial(
        modules, pv_module_parameters.build_model, 100.0, 100.0
    ),
    ("sanity_sweep tune_weights", "terms off"): partial(modules, sanity_sweep.build_model),
    ("unlabelled_modules", "terms off"): partial(modules, unlabelled_modules.build_model, 100),
    ("padded_days", "with the mask"): days,
    **{
        ("sensor_offset", f"{name}, {when}"): partial(sunlight, when, name)
        for when, names in (("before", ["RMIS 2019"]), ("after", CLOSING_BEST_AND_WORST))
        for name in names
    },
}
DEFAULT = [*list(MODELS)[:1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=", ".join(name), marks=[] if name in DEFAULT else pytest.mark.slow)
        for name in MODELS
    ],
)
def test_no_finding_of_severity_error_after_some_training(name):
    model, inputs, labels = MODELS[name]()
    model.fit(inputs, labels, epochs=1, batch_size=50, verbose=0)
    assert errors(model, inputs, labels) == []


@pytest.mark.slow
def test_no_finding_of_severity_error_on_points():
    model, points = burgers.build(epochs=1), burgers.make_points(256)
    model.fit(points=points, epochs=1, steps_per_epoch=burgers.STEPS_PER_EPOCH, verbose=0)
    assert errors(model, None, None, points=points) == []


@pytest.mark.slow
@pytest.mark.parametrize("example", [burgers_inverse, damped_oscillator], ids=lambda e: e.__name__)
def test_no_finding_of_severity_error_on_points_beside_measurements(example):
    if example is damped_oscillator:
        model, rows, points = example.build(1.0, epochs=1), example.measure(0), example.POINTS
    else:
        rows, points = example.measure(200, 0.0, 0), {"pde": burgers.make_points(256)["pde"]}
        model = example.build(epochs=1)
    model.fit(*rows, points=points, batch_size=len(rows[0]), steps_per_epoch=100, verbose=0)
    assert errors(model, *rows, points=points) == []


def test_every_example_is_among_them():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    diagnosed = {script for scripts, _ in MODELS for script in scripts.split()}
    assert scripts == diagnosed | NO_MODELS | BROKEN_BY_DESIGN | ON_POINTS
