import sys

import damped_oscillator as example
import numpy as np
import pytest

REWRITTEN_GRAPHS = "slow"


def test_closed_form_solves_the_equation():
    """By finite differences, with a start and a speed of its own, too."""
    t = np.linspace(0, 12, 4001)
    for start in ({}, {"start": 0.3, "speed": -1.1}):
        u = example.displacement(t, 0.15, 2.0, **start)
        slope = np.gradient(u, t, edge_order=2)
        residual = np.gradient(slope, t, edge_order=2) + 2 * 0.15 * slope + 4.0 * u
        assert np.abs(residual[2:-2]).max() < 1e-4
        wanted = [start.get("start", 1.0), start.get("speed", 0.0)]
        assert [u[0], slope[0]] == pytest.approx(wanted, abs=1e-4)


def test_residual():
    derivatives = {"u": np.float32(3.0), "u_t": np.float32(-2.0), "u_tt": np.float32(0.25)}
    wanted = 0.25 + 2 * 0.5 * -2.0 + 1.5**2 * 3.0
    assert float(example.Oscillator()(np.float32(1.0), derivatives)) == pytest.approx(wanted)


def test_measurements_end_in_the_middle():
    t, u = example.measure(0)
    assert t.shape == u.shape == (30, 1)
    assert 0 < t.min() < t.max() < example.MEASURED < example.END
    noise = u - example.displacement(t, **example.TRUTH)
    assert 0.03 < noise.std() < 0.07


@pytest.mark.slow
def test_example_runs_and_the_equation_carries_beyond_the_measurements(
    tmp_path, monkeypatch, capsys
):
    train, found = example.train, {}

    def noted(weight, *arguments):
        found[weight] = train(weight, *arguments)
        return found[weight]

    options = ["--seeds", "1", "--epochs", "8", "--iterations", "200", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["damped_oscillator.py", *options])
    monkeypatch.setattr(example, "train", noted)
    example.main()
    (constants, u), (_, alone) = found[1.0], found[0.0]
    assert constants == pytest.approx(example.TRUTH, rel=0.1)
    assert example.errors(u)[1] < 0.1 < example.errors(alone)[1]
    printed = capsys.readouterr().out
    assert all(printed.count(f"\n{name:22}") == 1 for name in (*example.WEIGHTS, "closed form"))
    assert (tmp_path / "damped_oscillator.png").stat().st_size > 10_000
