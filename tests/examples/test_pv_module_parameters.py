import sys

import keras
import numpy as np
import pv_module_parameters as example
import pv_modules as pv
import pytest

import keras_physreg as kp

REWRITTEN_GRAPHS = "slow"


@pytest.mark.slow
def test_model_logs_the_term_losses_and_survives_saving(tmp_path):
    Z, x = pv.split(*pv.load_modules()).labelled
    model = example.build_model(2.0, 3.0)
    model.compile("adam", loss="mse")
    model.train_on_batch(Z, x)
    logs = model.evaluate(Z, x, batch_size=len(Z), return_dict=True, verbose=0)
    expected = pv.term_losses(Z, x, model.predict(Z, batch_size=len(Z), verbose=0))
    assert [logs["x_loss"], logs["z_loss"]] == pytest.approx(list(expected.values()), rel=1e-5)

    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert reloaded.evaluate(Z, x, batch_size=len(Z), return_dict=True, verbose=0) == pytest.approx(
        logs, rel=1e-6
    )
    assert kp.get_term_weights(reloaded) == {"x": 2.0, "z": 3.0}
    np.testing.assert_array_equal(kp.strip_physics(reloaded)(Z), kp.strip_physics(model)(Z))


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "new"
    monkeypatch.setattr(example, "STEPS", 5)
    monkeypatch.delitem(example.SETTINGS, "term x")
    monkeypatch.delitem(example.SETTINGS, "term z")
    options = ["--epochs", "2", "--seeds", "2", "--out", str(folder)]
    monkeypatch.setattr(sys, "argv", ["pv_module_parameters.py", *options])
    example.main()
    printed = capsys.readouterr().out
    for name in example.SETTINGS:
        assert printed.count(f"\n{name:14}") == 2  # one row in each of the two tables
    assert "predictions differ by 0" in printed
    assert (folder / "pv_module_parameters.png").stat().st_size > 10_000
    assert (folder / "pv_module_parameters.keras").exists()
