"""No example of ours has a term or constant that does not work, by our own diagnosis."""

from pathlib import Path

import irradiance as ir
import pv_module_parameters
import pv_modules as pv
import pytest
import sanity_sweep
import sensor_offset
import unlabelled_modules

from tests.healthy import errors

EXAMPLES = Path(pv.__file__).parent
NO_MODELS = {"irradiance", "pv_modules"}  # Data and physics for the others.
# Five setups that do nothing or harm, to be diagnosed: see test_why_did_my_physics_hurt.py.
BROKEN_BY_DESIGN = {"why_did_my_physics_hurt"}


def modules(model):
    model.compile("adam", "mse")
    return model, *pv.split(*pv.load_modules()).labelled


def sunlight(physics, name):
    data, _ = ir.split(ir.load(name))
    return sensor_offset.build(physics), sensor_offset.inputs_of(data), data.x


MODELS = {
    "pv_module_parameters": lambda: modules(pv_module_parameters.build_model(100.0, 100.0)),
    "weight_ramp": lambda: modules(pv_module_parameters.build_model(1e-10, 0.0)),
    "sanity_sweep": lambda: modules(sanity_sweep.build_model()),
    "tune_weights": lambda: modules(sanity_sweep.build_model()),
    "unlabelled_modules": lambda: modules(unlabelled_modules.build_model(100)),
    **{
        f"sensor_offset, {name}, {when}": lambda physics=physics, name=name: sunlight(
            physics(), name
        )
        for name in ir.FILES
        for when, physics in (
            ("before", lambda: sensor_offset.uncalibrated),
            ("after", sensor_offset.Calibrated),
        )
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_no_finding_of_severity_error_before_and_after_some_training(name):
    model, inputs, labels = MODELS[name]()
    assert errors(model, inputs, labels) == []
    model.fit(inputs, labels, epochs=1, batch_size=50, verbose=0)
    assert errors(model, inputs, labels) == []


def test_every_example_is_among_them():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    diagnosed = {name.split(",")[0] for name in MODELS}
    assert scripts == diagnosed | NO_MODELS | BROKEN_BY_DESIGN
