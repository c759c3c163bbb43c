"""With one held-out set the uncertainty of its rows counts, and the report names them."""

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.sweep.row_scores import relative
from tests.sweep import models
from tests.sweep.linear import data, linear

TRAIN, HELD_OUT = data(8, 1.0, seed=1), data(20, 1.0, seed=2)
OLD = Path(__file__).parent / "data" / "sweep_of_0.1.0.json"


def sweep(model, weights=(1e-4, 10.0), validation_data=HELD_OUT, **arguments):
    arguments = {"seeds": 3, "epochs": 20, "batch_size": 4, "extend_to": 0} | arguments
    return kp.sanity_sweep(
        model, *TRAIN, validation_data=validation_data, weights=weights, verbose=0, **arguments
    )


@pytest.fixture(scope="module")
def result():
    return sweep(linear(terms=("law", "again")))


def errors_by_row(weight, epochs, seeds):
    """Squared errors of rows, of shape (seeds, rows), of models that Keras trained itself."""
    model = linear(terms=("law", "again"))
    trainer = kp.ReplicaTrainer(
        model, {"law": [weight] * len(seeds)}, seeds=seeds, engine="sequential"
    )
    trainer.fit(*TRAIN, epochs=epochs, batch_size=4, verbose=0)
    errors = []
    for replica in range(len(seeds)):
        trainer.load_replica(replica, "last")
        prediction = keras.ops.convert_to_numpy(model(HELD_OUT[0]))
        errors.append(np.mean((prediction - HELD_OUT[1]) ** 2, axis=1))
    return np.array(errors)


@pytest.mark.slow
def test_rows_are_scored_at_the_common_epoch(result):
    term = result.terms["law"]
    assert term.row_scores.shape == (3, 20)
    for i in (2,):
        errors = errors_by_row(term.weights[i], int(term.scored_epochs[i]), [0, 1, 2])
        np.testing.assert_allclose(term.measured["score"][i], errors.mean(axis=1), rtol=1e-3)
        by_row = (errors / errors.mean(axis=1, keepdims=True)).mean(axis=0)
        np.testing.assert_allclose(term.row_scores[i], by_row, rtol=1e-2, atol=1e-4)


@pytest.mark.slow
def test_the_rows_widen_the_interval(result):
    verdict = result.verdicts["law"]
    assert (verdict.basis, verdict.splits, verdict.seeds) == ("rows", 1, 3)
    term = result.terms["law"]
    scores = np.log(term.measured["score"])
    of_seeds = (scores[2] - scores[0]).var(ddof=1) / 3
    of_rows = (term.row_scores[2] - term.row_scores[0]).var(ddof=1) / 20
    width = np.log((1 - verdict.low[1] / 100) / (1 - verdict.high[1] / 100)) / 2
    assert width > 2 * np.sqrt(of_seeds + 0.6 * of_rows)
    assert result.combined_verdict.basis == "rows"


@pytest.mark.slow
def test_the_report_names_the_rows_and_warns_of_few(result):
    text = result.summary()
    assert "8 labelled rows, 20 held-out rows, 3 seeds" in text
    assert "on these 20 rows. The probability" in text
    assert "20 held-out rows: fewer than 100 say little about other rows" in text
    assert "no `validation_data`" in text
    assert "splits are fewer" not in text
    assert "seeds would show it" not in text
    assert "differences between seeds only" not in text
    assert "its floor is" not in text  # That of training rows is near that of held-out ones.
    assert result.recommended_epochs == result.recommendation.epochs


@pytest.mark.slow
def test_files_keep_the_rows(result, tmp_path):
    result.save(tmp_path / "sweep.json")
    loaded = kp.SweepResult.load(tmp_path / "sweep.json")
    assert loaded.summary() == result.summary()
    np.testing.assert_array_equal(loaded.verdicts["law"].low, result.verdicts["law"].low)


@pytest.mark.slow
def test_the_model_keeps_its_weights():
    model = linear()
    kept = model.get_weights()
    sweep(model, epochs=2)
    for before, after in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.slow
def test_held_out_rows_that_are_not_alike_are_told():
    text = sweep(linear(), validation_data=data(120, 0.0, seed=2), epochs=2).summary()
    assert "law: its floor is 0.587 on training rows and 0 on held-out rows" in text
    assert "fewer than 100" not in text


@pytest.mark.slow
@pytest.mark.parametrize(("model", "engine"), [(models.conv, "stacked"), (models.plain, "in-turn")])
def test_models_of_every_kind(model, engine):
    z, x = models.sequences() if model is models.conv else models.mlp_data()
    monitor = "val_mae" if model is models.plain else "val_data_loss"
    result = kp.sanity_sweep(
        model(), z, x, (z, x), weights=[1.0], terms=["z"], seeds=2, epochs=2, monitor=monitor,
        extend_to=0, verbose=0, engine=engine,
    )  # fmt: skip
    assert result.terms["z"].row_scores.shape == (2, 20)
    assert result.verdicts["z"].basis == "rows"


@pytest.mark.slow
def test_sample_weight_of_held_out_rows():
    trust = np.ones(20, "float32")
    trust[:10] = 0.0
    term = sweep(linear(), validation_data=(*HELD_OUT, trust), epochs=3).terms["law"]
    np.testing.assert_array_equal(term.row_scores[:, :10], 0.0)
    np.testing.assert_allclose(term.row_scores.mean(axis=1), 1.0, rtol=1e-5)


@pytest.mark.slow
def test_a_score_that_is_no_mean_over_rows_is_judged_by_seeds_and_says_so():
    model = linear()
    model.compile("adam", "mse", metrics=[keras.metrics.RootMeanSquaredError(name="rmse")])
    result = sweep(model, monitor="val_rmse", epochs=2)
    assert result.terms["law"].row_scores is None
    assert result.verdicts["law"].basis == "seeds"
    assert (
        "Probabilities and intervals contain the differences between seeds only" in result.summary()
    )


def test_relative_scores():
    rows = np.array([[[1.0, 3.0]], [[2.0, 2.0]]])
    found = relative(rows, rows.mean(axis=-1))
    np.testing.assert_allclose(found, [[0.5, 1.5], [1.0, 1.0]])
    below = relative(rows - 4.0, rows.mean(axis=-1) - 4.0)
    np.testing.assert_allclose(below, [[-1.5, -0.5], [-1.0, -1.0]])
    assert relative(rows, np.sqrt(rows.mean(axis=-1))) is None


@pytest.mark.slow
def test_more_rows_than_a_thousand_are_taken_in_parts():
    result = sweep(linear(), validation_data=data(2500, 0.0, seed=2), epochs=2, seeds=2)
    assert result.terms["law"].row_scores.shape == (3, 833)
    assert result.verdicts["law"].basis == "rows"


@pytest.mark.slow
def test_one_seed_cannot_tell():
    result = sweep(linear(), seeds=1, epochs=2)
    assert result.verdicts["law"].verdict == "cannot tell"
    assert "One seed does not show how much the result depends on the seed" in result.summary()


def test_a_file_of_version_0_1():
    old = kp.SweepResult.load(OLD)
    assert old.terms["law"].measured["score"].shape == (4, 6)
    assert old.settings.labelled is None
    verdict = old.verdicts["law"]
    assert (verdict.verdict, verdict.basis, verdict.seeds) == ("helps", "seeds", 6)
    np.testing.assert_allclose(verdict.gains, [0.0, 12.6, 59.2], atol=0.1)
    assert old.recommended_weights() == {"law": 10.0, "again": 0.0}
    with pytest.raises(ValueError, match=r"saved by version 0\.1"):
        _ = old.recommended_epochs
    text = old.summary()
    assert "an unknown number of rows, 6 seeds" in text
    assert "nan" not in text
    assert "{'law': 10.0, 'again': 0.0}" in text
