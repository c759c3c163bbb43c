import sys

import numpy as np
import pv_modules as pv
import pytest
import unlabelled_modules as example

import keras_physreg as kp

REWRITTEN_GRAPHS = "slow"


def test_learning_curves_are_read_off_what_was_trained(tmp_path, capsys):
    """Errors that fall with labels and with unlabelled modules, without any training."""
    results = {
        (labelled, unlabelled): np.array([1.0, 3.0]) / labelled / (1 + (unlabelled or 0))
        for labelled in example.LABELLED
        for unlabelled in (None, *example.UNLABELLED)
    }
    example.print_table(results)
    printed = capsys.readouterr().out
    assert f"\n{'data only':18}   0.040 ± 0.028   0.020 ± 0.014" in printed
    assert "400 labels, 3000 unlabelled modules: -100 % error" in printed
    assert "lower in 2 of 2 trainings" in printed
    example.draw_curves(results, tmp_path / "new" / "figure.png")
    assert (tmp_path / "new" / "figure.png").stat().st_size > 10_000


@pytest.mark.slow
def test_weights_differ_between_replicas(monkeypatch):
    data = pv.split(*pv.load_modules(), labelled=50, unlabelled=300)
    monkeypatch.setattr(example, "STEPS", 4)
    validation, test = example.train(data, [0.0, 100.0], seeds=2, epochs=2)
    assert validation.shape == test.shape == (2, 2)
    assert len(np.unique(test)) == 4


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(example, "LABELLED", (50, 100))
    monkeypatch.setattr(example, "UNLABELLED", (0, 300))
    options = ["--epochs", "2", "--seeds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["unlabelled_modules.py", *options])
    example.main()
    printed = capsys.readouterr().out
    assert "RMSE / sd on 3000 test modules" in printed
    assert all(printed.count(f"\n{example.name_of(u):18}") == 1 for u in (None, 0, 300))
    assert f"Saved in {tmp_path}: unlabelled_modules.png" in printed
    assert (tmp_path / "unlabelled_modules.png").stat().st_size > 10_000


def test_model_starts_without_physics():
    assert kp.get_term_weights(example.build_model(10)) == {"x": 0.0, "z": 0.0}
