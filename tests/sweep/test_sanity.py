"""Sweeps of small problems whose answer is known, and their bad input."""

import keras
import matplotlib as mpl
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.sweep.replicas import compiled
from keras_physreg.sweep.verdict import judge
from tests import problems
from tests.sweep import models

TRUTH = np.random.default_rng(7).normal(size=(6, 2)).astype("float32")


def data(rows, noise, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 6)).astype("float32")
    return z, (z @ TRUTH + noise * rng.normal(size=(rows, 2))).astype("float32")


TRAIN, HELD_OUT = data(8, 1.0, seed=1), data(64, 0.0, seed=2)


def linear(sign=1.0, scale=1.0, terms=("law",)):
    """A linear model of few noisy labels; the law says what it should predict, or the opposite."""

    def law(z, x_pred):
        return {name: scale * (x_pred - sign * keras.ops.matmul(z, TRUTH)) for name in terms}

    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    model = kp.regularize(encoder, law, dict.fromkeys(terms, 0.0))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model


def sweep(model, weights=(1e-4, 1e-1, 1e1), **arguments):
    arguments = {
        "seeds": 8,
        "epochs": 40,
        "batch_size": 2,
        "extend_to": 0,
        "verbose": 0,
    } | arguments
    return kp.sanity_sweep(model, *TRAIN, HELD_OUT, weights=weights, **arguments)


def test_exact_physics_helps(one_program):
    model = linear()
    kept = model.get_weights()
    result = sweep(model)
    verdict = result.verdicts["law"]
    assert verdict.verdict == "helps"
    assert (verdict.onset, verdict.best_weight) == (0.1, 10.0)
    assert verdict.gain > 50
    assert verdict.search_range == (1e-4, 10.0)
    term = result.terms["law"]
    assert term.floor == pytest.approx(np.mean((TRAIN[1] - TRAIN[0] @ TRUTH) ** 2), rel=1e-4)
    assert term.val_floor == pytest.approx(0, abs=1e-9)
    assert term.measured["score"].shape == (4, 8)
    assert problems.arrays_equal(kept, model.get_weights())


def test_wrong_physics_hurts(one_program):
    verdict = sweep(linear(sign=-1.0)).verdicts["law"]
    assert verdict.verdict == "hurts"
    assert verdict.onset == 0.1
    assert verdict.search_range is None


def test_a_loss_scaled_by_a_million_moves_the_onset(one_program):
    first = sweep(linear()).verdicts["law"]
    second = sweep(linear(scale=1e3), weights=[1e-10, 1e-7, 1e-5]).verdicts["law"]
    assert second.onset == pytest.approx(1e-6 * first.onset)
    np.testing.assert_allclose(second.gains, first.gains, atol=0.5)


def test_disconnected_physics_is_inert(one_program):
    result = kp.sanity_sweep(
        models.mlp(),
        *models.mlp_data(),
        models.mlp_data(),
        weights=[0.1, 1.0],
        terms=["x"],
        seeds=6,
        epochs=3,
        extend_to=0,
        verbose=0,
    )
    assert list(result.terms) == ["x"]
    assert result.verdicts["x"].verdict == "inert"


def test_too_large_a_weight_diverges(one_program):
    model = linear()
    model.compile("sgd", "mse")
    verdict = sweep(model, weights=[1e-8, 1e20], epochs=10).verdicts["law"]
    assert verdict.verdict == "diverges"
    assert verdict.hurts_from == 1e20


@pytest.mark.slow
def test_null_trainings_give_a_false_verdict_in_at_most_five_percent(one_program):
    """All replicas have weight 0 and seeds of their own: what differs is chance."""
    weights, seeds, repeats = 3, 6, 50
    replicas = repeats * (1 + weights) * seeds
    trainer = kp.ReplicaTrainer(linear(), {"law": [0.0] * replicas}, seeds=list(range(replicas)))
    history = trainer.fit(*TRAIN, HELD_OUT, epochs=5, batch_size=4, verbose=0)
    scores = history.at_best("val_data_loss").reshape(repeats, 1 + weights, seeds)
    tried, none = np.geomspace(1e-3, 1, weights), np.zeros((weights, seeds), bool)
    found = [judge("law", tried, s[0], s[1:], none).verdict for s in scores]
    # With 5 % each, 5 or fewer of 50 come up in 96 % of such tests.
    assert sum(verdict not in ("inert", "cannot tell") for verdict in found) <= 5


def test_extends_while_the_last_weight_is_best(one_program):
    result = sweep(linear(), weights=[1e-3, 1e-2], extend_to=1.0)
    weights = list(result.terms["law"].weights)
    assert weights == [0.0, 0.001, 0.01, 0.1, 1.0]
    assert result.verdicts["law"].best_weight == 1.0


@pytest.mark.slow
def test_others_at_zero_or_best(one_program):
    model = linear(terms=("law", "again"))
    zero = sweep(model, weights=[1.0, 10.0])
    assert zero.terms["again"].others == {"law": 0.0}
    np.testing.assert_allclose(zero.verdicts["again"].gains, zero.verdicts["law"].gains, rtol=0.01)
    best = sweep(model, weights=[1.0, 10.0], others="best")
    assert best.terms["again"].others == {"law": best.verdicts["law"].best_weight}
    ratio = best.terms["again"].measured["score"][0] / zero.terms["again"].measured["score"][0]
    assert ratio.mean() < 0.7  # Its baseline has the other term at its best weight.


@pytest.mark.slow
def test_score_at_the_last_epoch(one_program):
    best, last = (sweep(linear(), weights=[0.1], score=score) for score in ("best", "last"))
    scores = [r.terms["law"].measured["score"] for r in (best, last)]
    assert np.all(scores[0] <= scores[1])
    assert np.any(scores[0] < scores[1])


@pytest.mark.slow
def test_plain_model_with_a_metric(one_program):
    model = models.plain()
    data = models.mlp_data()
    result = kp.sanity_sweep(
        model,
        *data,
        data,
        weights=[1e-3],
        terms=["z"],
        seeds=6,
        epochs=2,
        monitor="val_mae",
        extend_to=0,
        verbose=0,
    )
    assert result.terms["z"].others == {"x": 0.0}
    assert np.isfinite(result.terms["z"].measured["train_score"]).all()


def test_ctrl_c_compares_what_was_finished(one_program, monkeypatch):
    monkeypatch.setattr(compiled, "STEPS_A_CALL", 1)

    def interrupt(done):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_physreg.sweep.replicas.trainer._progress", lambda *_: interrupt)
    result = sweep(linear(), epochs=1000, extend_to=1e3)
    assert result.settings.interrupted
    assert 0 < result.settings.epochs < 1000
    assert "Interrupted" in result.summary()


def test_summary_plot_and_files(one_program, tmp_path):
    mpl.use("Agg")
    result = sweep(linear(terms=("law", "again")))
    text = str(result)
    assert "law: helps. At 10, val_data_loss falls by" in text
    assert "Tune it between 0.0001 and 10." in text
    assert text.count("baseline") == 2
    figure = result.plot()
    assert len(figure.axes) == 6
    assert figure.axes[0].get_title() == "law: helps"
    assert figure.axes[4].get_xticklabels()[0].get_text() == "off"
    result.save(tmp_path / "sweep.json")
    loaded = kp.SweepResult.load(tmp_path / "sweep.json")
    assert loaded.summary() == text
    frame = loaded.to_dataframe()
    assert len(frame) == 2 * 4 * 8
    assert set(frame.term) == {"law", "again"}
    assert loaded.to_dict()["verdicts"]["law"]["verdict"] == "helps"
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match=r"no saved `SweepResult`.*other.json"):
        kp.SweepResult.load(tmp_path / "other.json")


def without_physics():
    model = problems.bare_model()
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (without_physics, {}, ValueError, r"no physics terms to sweep"),
        (problems.physics_model, {}, ValueError, r"not compiled"),
        (models.mlp, {"validation_data": None}, ValueError, r"needs `validation_data=\(x, y\)`"),
        (models.mlp, {"terms": ["y"]}, ValueError, r"no physics term named 'y'"),
        (models.mlp, {"weights": []}, ValueError, r"ascending"),
        (models.mlp, {"weights": [1.0, 0.1]}, ValueError, r"ascending.*\[1.0, 0.1\]"),
        (models.mlp, {"weights": [0.0, 0.1]}, ValueError, r"above 0"),
        (models.mlp, {"weights": [-1.0]}, ValueError, r"-1.0"),
        (models.mlp, {"weights": [np.nan]}, ValueError, r"nan"),
        (models.mlp, {"others": "all"}, ValueError, r"'all'"),
        (models.mlp, {"score": "first"}, ValueError, r"'first'"),
        (models.mlp, {"seeds": 0}, ValueError, r"seeds=0"),
        (models.mlp, {"seeds": [1, 1]}, ValueError, r"\[1, 1\]"),
        (models.mlp, {"monitor": "val_los"}, ValueError, r"'val_los'.*val_data_loss"),
        (models.mlp, {"monitor": "val_loss"}, ValueError, r"'val_loss'.*weight"),
        (models.plain, {}, ValueError, r"PhysicsModel.*val_mse"),
    ],
)
def test_bad_input(model, arguments, error, message):
    data = models.mlp_data()
    arguments = {"validation_data": data, "verbose": 0} | arguments
    with pytest.raises(error, match=f"(?s){message}"):
        kp.sanity_sweep(model(), *data, **arguments)
