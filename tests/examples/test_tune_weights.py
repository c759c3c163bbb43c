import sys

import pytest
import tune_weights as example

from keras_physreg.plotting import pyplot

REWRITTEN_GRAPHS = "slow"


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    options = ["--epochs", "3", "--repeats", "1", "--trials", "4", "--seeds", "2", "--out"]
    monkeypatch.setattr(sys, "argv", ["tune_weights.py", *options, str(tmp_path)])
    example.main()
    printed = capsys.readouterr().out
    for part in ("Trials 0 to 3 in ", "Search by cross-validation: 4", "Pareto front of 4"):
        assert printed.count(part) == 1
    assert "data only                0         0" in printed
    assert "by the search" in printed
    assert f"Saved in {tmp_path}: tune_weights.png" in printed
    assert (tmp_path / "tune_weights.png").stat().st_size > 10_000
    pyplot().close("all")


def test_oracles_take_the_objective_of_the_hypermodel():
    for kind in ("random", "bayesian"):
        oracle = example.make_oracle(kind, 5)
        assert (oracle.max_trials, oracle.objective.name) == (5, "default_objective")
