import sys

import burgers
import burgers_inverse as example
import numpy as np
import pytest

REWRITTEN_GRAPHS = "slow"


def test_residual():
    """With the first guesses of both constants."""
    derivatives = {"u": 2.0, "u_x": -3.0, "u_t": 0.5, "u_xx": 10.0}
    given = {name: np.float32(value) for name, value in derivatives.items()}
    layer = example.Burgers()
    wanted = 0.5 + layer.speed.value * 2.0 * -3.0 - layer.viscosity.value * 10.0
    assert float(layer(np.zeros(2, "float32"), given)) == pytest.approx(wanted, rel=1e-6)
    assert layer.viscosity.value > 2 * burgers.VISCOSITY  # The guess is far from the truth.


def test_measurements_are_rows_of_the_reference():
    z, exact = burgers.reference()
    known = dict(zip(map(tuple, z.reshape(-1, 2)), exact.ravel(), strict=True))
    at, u = example.measure(50, 0.0, seed=0)
    assert len({tuple(row) for row in at}) == 50
    assert [known[tuple(row)] for row in at] == u[:, 0].tolist()
    noisy = example.measure(2000, 0.01, seed=1)[1] - example.measure(2000, 0.0, seed=1)[1]
    assert noisy.std() == pytest.approx(0.01 * exact.std(), rel=0.1)


def test_errors_are_shares_of_the_truth():
    found = example.errors({"lambda": 0.98, "nu": 1.5 * burgers.VISCOSITY})
    assert found == pytest.approx([-0.02, 0.5])


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(example, "ROWS", 200)
    monkeypatch.setattr(example, "STEPS_PER_EPOCH", 10)
    options = ["--epochs", "2", "--iterations", "5", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["burgers_inverse.py", *options])
    example.main()
    lines = capsys.readouterr().out.splitlines()
    for noise in ("0%", "1%"):
        rows = [line for line in lines if line.startswith(noise)]
        assert [row.split()[2] for row in rows] == ["Adam", "refined", "size"]
    assert (tmp_path / "burgers_inverse.png").stat().st_size > 10_000
