import sys

import pytest
import weight_ramp as example

import keras_physreg as kp

REWRITTEN_GRAPHS = "slow"


def test_one_ramp_after_the_other():
    schedules = example.ramps(1e-10, epochs=30)
    assert [schedules["x"](t) for t in (0, 10, 29)] == pytest.approx([1e-10, 100, 100])
    assert [schedules["z"](t) for t in (0, 9, 10, 20, 29)] == pytest.approx([0, 0, 1e-10, 100, 100])


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "new"
    monkeypatch.setattr(example.example, "STEPS", 5)
    options = ["--epochs", "6", "--seeds", "1", "--out", str(folder)]
    monkeypatch.setattr(sys, "argv", ["weight_ramp.py", *options])
    example.main()
    printed = capsys.readouterr().out
    for name in example.settings(6):
        assert printed.count(f"\n{name:28}") == 1
    assert "\n    0          1e-10              0" in printed
    assert "\n    5            100            100" in printed
    assert (folder / "weight_ramp.png").stat().st_size > 10_000
    assert kp.GeometricRamp(1e-10, 100, duration=2) == example.ramps(1e-10, 6)["x"]
