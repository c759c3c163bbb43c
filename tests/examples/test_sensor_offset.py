import sys

import irradiance as ir
import keras
import numpy as np
import pytest
import sensor_offset as example

import keras_physreg as kp

REWRITTEN_GRAPHS = "slow"


def made(gain=1.1, offset=-15.0, noise=0.0, rows=600, seed=0):
    """Sunlight that equation (1) holds for; offset and noise in W/m2."""
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


def test_the_layer_is_equation_1():
    data, physics = made(noise=20), example.Sensors()
    physics.gain.raw.assign(0.3)
    physics.offset.raw.assign(-0.2)
    right = physics.gain.value * example.sums(*data) + physics.offset.value
    outputs = physics(*data)
    for term in ("closure", "calibration"):
        np.testing.assert_allclose(outputs[term] * ir.KW, right - ir.KW * data.Z[:, 0], atol=1e-3)


@pytest.mark.parametrize("name", ir.FILES)
def test_constants_of_least_squares_take_the_mean_residual_away(name):
    data = ir.load(name)
    gain, offset = example.least_squares(data)
    after = gain * example.sums(*data) + offset - ir.KW * data.Z[:, 0]
    before = example.sums(*data) - ir.KW * data.Z[:, 0]
    assert np.mean(after) == pytest.approx(0.0, abs=1e-3)
    assert np.std(after) <= np.std(before)


RATES = [5e-4, 0.1]  # That of the example is 1e-2.


def printed(constants):
    """Gain and offset as the table shows them."""
    return [f"{constants[0]:.4f}", f"{constants[1]:.3f}"]


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
def test_constants_are_least_squares_at_any_learning_rate_of_the_network(rate):
    data, steps = ir.split(ir.load("RMIS 2022"))[0], 1500
    many = [np.tile(part, (steps, 1)) for part in data]
    model = example.build()
    decay = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(keras.optimizers.Adam(decay), "mse", steps_per_execution=100)
    model.fit(*many, batch_size=len(data.Z), shuffle=False, verbose=0)
    found = list(kp.get_constants(model).values())
    assert printed(found) == printed(example.least_squares(data))


@pytest.mark.slow
def test_constants_of_eight_seeds_are_least_squares_in_every_printed_digit():
    data, steps = ir.split(ir.load("RMIS 2019"))[0], 1500
    trainer = kp.ReplicaTrainer(example.build(steps=steps), {}, seeds=range(8))
    trainer.fit(*data, batch_size=len(data.Z), epochs=steps, verbose=0)
    for replica in range(8):
        trainer.load_replica(replica, "last")
        found = list(kp.get_constants(trainer.model).values())
        assert printed(found) == printed(example.least_squares(data))


@pytest.mark.slow
def test_before_any_training_the_diagnosis_tells_gain_and_offset_apart():
    report = kp.diagnose(example.build(), *ir.load("RMIS 2019"))
    assert [row.constant for row in report.constants] == ["gain", "offset"]
    assert report.constants[1].unit == "W/m2"
    codes = {finding.code for finding in report.findings}
    assert not codes & {"collinear", "unidentified", "near-bound", "trivial", "disconnected"}


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "new"
    monkeypatch.setattr(ir, "FILES", {"RMIS 2022": ir.FILES["RMIS 2022"]})
    options = ["--steps", "40", "--seeds", "2", "--out", str(folder)]
    monkeypatch.setattr(sys, "argv", ["sensor_offset.py", *options])
    example.main()
    printed = capsys.readouterr().out
    for name in ir.FILES:
        assert printed.count(f"\n{name:17}") == 4
    assert f"Saved in {folder}: sensor_offset.png" in printed
    assert (folder / "sensor_offset.png").stat().st_size > 10_000
    keras.backend.clear_session()
