import sys

import burgers as example
import numpy as np
import pytest


def test_reference_solves_the_equation_before_the_shock():
    """By finite differences on its grid."""
    z, u = (array.astype("float64") for array in example.reference())
    u_x, u_t = np.gradient(u, z[:, 0, 0], z[0, :, 1])
    u_xx = np.gradient(u_x, z[:, 0, 0], axis=0)
    residual = u_t + u * u_x - example.VISCOSITY * u_xx
    assert np.median(np.abs(residual)) < 1e-3
    assert np.sqrt(np.mean(residual[1:-1, 1:30] ** 2)) < 0.02 * np.sqrt(np.mean(u_t**2))


def test_labels_are_those_of_the_reference():
    z, u = example.start_and_walls()
    at, exact = example.reference()
    start = z[:, 1] == 0
    np.testing.assert_allclose(
        np.interp(z[start, 0], at[:, 0, 0], exact[:, 0]), u[start, 0], atol=1e-3
    )
    np.testing.assert_allclose(u[~start], 0, atol=1e-6)
    assert set(np.abs(z[~start, 0])) == {1.0}


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["burgers.py", "--epochs", "4", "--out", str(tmp_path)])
    example.main()
    printed = capsys.readouterr().out
    error = float(printed.split("solution: ")[1].split()[0])
    assert 0 < error < 1.0
    assert (tmp_path / "burgers.png").stat().st_size > 10_000
