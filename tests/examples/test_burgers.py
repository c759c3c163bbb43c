import sys

import burgers as example
import numpy as np
import pytest

REWRITTEN_GRAPHS = "slow"


def test_reference_solves_the_equation_before_the_shock():
    """By finite differences on its grid."""
    z, u = (array.astype("float64") for array in example.reference())
    u_x, u_t = np.gradient(u, z[:, 0, 0], z[0, :, 1])
    u_xx = np.gradient(u_x, z[:, 0, 0], axis=0)
    residual = u_t + u * u_x - example.VISCOSITY * u_xx
    assert np.median(np.abs(residual)) < 1e-3
    assert np.sqrt(np.mean(residual[1:-1, 1:30] ** 2)) < 0.02 * np.sqrt(np.mean(u_t**2))


def test_conditions_hold_for_the_reference():
    at, exact = example.reference()
    z = at[:, 0]
    np.testing.assert_allclose(example.start(z, {"u": exact[:, :1]}), 0, atol=1e-3)
    np.testing.assert_allclose(example.walls(at, {"u": exact[[0, -1]]}), 0, atol=1e-6)
    points = example.make_points(128)
    assert (points["start"][:, 1] == 0).all()
    assert set(np.abs(points["walls"][:, 0])) == {1.0}
    assert points["pde"].shape == (128, 2)


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    options = ["--epochs", "4", "--iterations", "20", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["burgers.py", *options])
    example.main()
    adam, refined = capsys.readouterr().out.splitlines()[1:3]
    assert float(refined.split()[1][:-1]) < float(adam.split()[2][:-1]) < 1.0
    assert (tmp_path / "burgers.png").stat().st_size > 10_000
