import sys

import irradiance as ir
import keras
import numpy as np
import pytest
import why_did_my_physics_hurt as example

import keras_physreg as kp

REWRITTEN_GRAPHS = "slow"

# Root mean square residual over mean GHI, and mean residual (W/m2), of the source files.
LADDER = {
    "TMY3 Greensboro": (0.003, 0.18),
    "SURFRAD Alamosa": (0.021, 5.2),
    "RMIS 2022": (0.067, 12.9),
    "RMIS 2019": (0.113, 25.4),
}


@pytest.mark.parametrize("name", LADDER)
def test_closure_of_each_file(name):
    data = ir.load(name)
    error, mean = LADDER[name]
    assert ir.relative_error(data) == pytest.approx(error, abs=6e-4)
    residual = data.x[:, 0] * data.Z[:, 1] + data.x[:, 1] - data.Z[:, 0]
    assert np.mean(residual) * ir.KW == pytest.approx(mean, abs=0.06)
    np.testing.assert_allclose(ir.closure(data.Z, data.x)["closure"], residual, atol=1e-6)


@pytest.mark.slow
def test_the_ladder_is_ranked_rightly_before_any_training():
    reports = {}
    for name in LADDER:
        model = example.build(ir.closure, {"closure": 1.0})
        model.compile("sgd", "mse")
        reports[name] = kp.diagnose(model, *ir.load(name), max_samples=None, batch_size=512)
    floors = [report["closure"].floor for report in reports.values()]
    means = [report["closure"].labels.mean[0] for report in reports.values()]
    assert floors == sorted(floors)
    assert means == sorted(means)
    biased = [name for name, r in reports.items() if "biased" in [f.code for f in r.findings]]
    assert biased == ["SURFRAD Alamosa", "RMIS 2022", "RMIS 2019"]


def test_splits_share_no_row():
    data = ir.load("RMIS 2019")
    train, held_out = ir.split(data)
    assert len(train.Z) + len(held_out.Z) == len(data.Z)
    rows = {tuple(row) for row in np.concatenate([train.Z, train.x], axis=-1)}
    assert not rows & {tuple(row) for row in np.concatenate([held_out.Z, held_out.x], axis=-1)}


@pytest.mark.slow
def test_the_sun_is_hidden_in_a_few_rows():
    """In these rows DNI is 0, and GHI and DHI differ by what the instruments do."""
    report, _ = example.hidden_sun(example.sun_height, 50)
    few = report["height"].few_rows
    data, _ = ir.split(ir.load("RMIS 2022"))
    assert (data.x[list(few.numbers), 0] <= 0).all()
    assert few.share > 0.9
    assert "few-rows" in [f.code for f in report.findings]


@pytest.mark.slow
def test_example_runs_and_finds_what_it_shows(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "new"
    options = ["--steps", "600", "--out", str(folder)]
    monkeypatch.setattr(sys, "argv", ["why_did_my_physics_hurt.py", *options])
    memorised = example.memorised  # It takes longer than the other cases to show.
    monkeypatch.setattr(example, "memorised", lambda steps: memorised(2000))
    with pytest.warns(UserWarning, match="trains nothing"):
        example.main()
    printed = capsys.readouterr().out
    cases = [part for part in printed.split("\n\n\n") if part.strip()]
    expected = [["disconnected"], ["NumPy", "disconnected"], ["biased", "below-floor"]]
    expected += [["memorised: 'x'", "memorised: 'z'"], ["conflict: 'end' pulls against 'middle'"]]
    expected += [["few-rows"], ["unrelated"]]
    for case, words in zip(cases, expected, strict=True):
        assert all(word in case for word in words), case
    assert (folder / "why_did_it_hurt.png").stat().st_size > 10_000
    keras.backend.clear_session()
