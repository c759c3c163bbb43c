import sys

import numpy as np
import padded_days as example
import pytest

REWRITTEN_GRAPHS = "slow"


def test_days_are_padded_with_zeros_after_their_hours():
    Z, x, there = example.load()
    assert Z.shape == x.shape == (365, 13, 2)
    assert there.sum() == len(example.ir.load("TMY3 Greensboro").Z)
    assert (np.diff(there.astype(int), axis=1) <= 0).all()
    assert (Z[~there] == 0).all()
    assert (x[~there] == 0).all()
    assert (Z[there] > 0).all()
    residual = np.asarray(example.closure(Z, x)["closure"])[there]
    assert np.sqrt(np.mean(residual**2)) < 2e-3


@pytest.mark.slow
def test_example_runs_and_the_logged_loss_is_the_mean_over_the_hours(monkeypatch, capsys):
    compare, found = example.compare, {}

    def noted(labelled, epochs):
        found.update(compare(labelled, epochs))
        return found

    monkeypatch.setattr(sys, "argv", ["padded_days.py", "--epochs", "2", "--labelled", "10"])
    monkeypatch.setattr(example, "compare", noted)
    example.main()
    printed = capsys.readouterr().out
    assert all(f"\n{name:14}" in printed for name in example.TERMS)
    for name in ("data only", "with the mask"):
        assert found[name]["logged"] == pytest.approx(found[name]["hours"], rel=1e-4)
    row = found["mask=False"]
    assert row["logged"] == pytest.approx(row["all steps"], rel=1e-4)
    assert row["hours"] != pytest.approx(row["all steps"], rel=0.01)
