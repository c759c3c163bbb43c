import sys

import irradiance as ir
import keras
import numpy as np
import pytest
import sensor_offset as example

import keras_physreg as kp


def made(gain=1.1, offset=-15.0, noise=0.0, rows=600, seed=0):
    """Sunlight that equation (2) holds for; offset and noise in W/m2."""
    rng = np.random.default_rng(seed)
    cosz = rng.uniform(0.1, 1.0, rows)
    x = np.stack([rng.uniform(0, 0.9, rows), rng.uniform(0.02, 0.3, rows)], axis=-1)
    total = x[:, 0] * cosz + x[:, 1]
    ghi = gain * total + (offset + noise * rng.normal(size=rows)) / ir.KW
    return ir.Irradiance(np.stack([ghi, cosz], axis=-1).astype("float32"), x.astype("float32"))


def test_least_squares_and_bootstrap_find_what_was_put_in():
    np.testing.assert_allclose(example.least_squares(made()), [1.1, -15.0], rtol=1e-4)
    low, high = example.bootstrap(made(noise=20), 12, 200)
    found = example.least_squares(made(noise=20))
    assert ((low < found) & (found < high)).all()
    assert ((low < [1.1, -15.0]) & (high > [1.1, -15.0])).all()


def test_residual_is_that_of_the_layer():
    data, physics = made(noise=20), example.Calibrated()
    physics.gain.raw.assign(0.3)
    physics.offset.raw.assign(-0.2)
    expected = example.residual(data, physics.gain.value, physics.offset.value)
    elsewhere = example.inputs_of(made(seed=1))["label"]
    outputs = physics({"Z": data.Z, "label": data.x}, elsewhere)
    np.testing.assert_allclose(outputs["calibration"] * ir.KW, expected, atol=1e-3)
    at_prediction = example.residual(
        ir.Irradiance(data.Z, elsewhere), physics.gain.value, physics.offset.value
    )
    np.testing.assert_allclose(outputs["closure"] * ir.KW, at_prediction, atol=1e-3)
    plain = example.uncalibrated(example.inputs_of(data), data.x)["closure"]
    np.testing.assert_allclose(plain * ir.KW, example.residual(data, 1.0, 0.0), atol=1e-3)


@pytest.mark.parametrize("name", ir.FILES)
def test_constants_of_least_squares_take_the_mean_residual_away(name):
    data = ir.load(name)
    gain, offset = example.least_squares(data)
    after = example.residual(data, gain, offset)
    assert np.mean(after) == pytest.approx(0.0, abs=1e-3)
    assert np.std(after) <= np.std(example.residual(data, 1.0, 0.0))


def test_before_any_training_the_diagnosis_tells_gain_and_offset_apart():
    model = example.build(example.Calibrated())
    data = ir.load("RMIS 2019")
    report = kp.diagnose(model, example.inputs_of(data), data.x)
    assert [row.constant for row in report.constants] == ["gain", "offset"]
    assert report.constants[1].unit == "W/m2"
    codes = {finding.code for finding in report.findings}
    assert not codes & {"collinear", "unidentified", "near-bound", "trivial", "disconnected"}


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "new"
    options = ["--steps", "40", "--seeds", "2", "--draws", "20", "--out", str(folder)]
    monkeypatch.setattr(sys, "argv", ["sensor_offset.py", *options])
    example.main()
    printed = capsys.readouterr().out
    for name in ir.FILES:
        assert printed.count(f"\n{name:17}") == 4
    assert "constant     value  unit" in printed
    assert f"Saved to {folder}: sensor_offset.png" in printed
    assert (folder / "sensor_offset.png").stat().st_size > 10_000
    keras.backend.clear_session()
