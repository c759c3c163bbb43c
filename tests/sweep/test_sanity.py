"""Sweeps of small problems whose answer is known, and their bad input."""

import dataclasses
import functools
import json
from dataclasses import replace

import keras
import matplotlib as mpl
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.sweep.checks import built_model, checked_seeds
from keras_physreg.sweep.judgement import Scores, judge
from keras_physreg.sweep.scoring import compared_epochs
from tests import kept_graphs, problems
from tests.ctrl_c import told_of_every_epoch
from tests.sweep import models
from tests.sweep.linear import TRUTH, data, linear

TRAIN, HELD_OUT = data(8, 1.0, seed=1), data(64, 0.0, seed=2)


def sweep(model, weights=(1e-4, 1e-1, 1e1), **arguments):
    arguments = {
        "seeds": 8,
        "epochs": 40,
        "batch_size": 2,
        "extend_to": 0,
        "verbose": 0,
    } | arguments
    return kp.sanity_sweep(model, *TRAIN, HELD_OUT, weights=weights, **arguments)


@pytest.mark.slow
def test_exact_physics_helps(as_shipped):
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


@pytest.mark.slow
def test_wrong_physics_hurts():
    verdict = sweep(linear(sign=-1.0)).verdicts["law"]
    assert verdict.verdict == "hurts"
    assert verdict.onset == 0.1
    assert verdict.search_range is None


@pytest.mark.slow
def test_a_loss_scaled_by_a_million_moves_the_onset():
    first = sweep(linear()).verdicts["law"]
    second = sweep(linear(scale=1e3), weights=[1e-10, 1e-7, 1e-5]).verdicts["law"]
    assert second.onset == pytest.approx(1e-6 * first.onset)
    np.testing.assert_allclose(second.gains, first.gains, atol=0.5)


@pytest.fixture(scope="module")
def disconnected():
    """A sweep of a term without a gradient."""
    return kp.sanity_sweep(
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


@pytest.mark.slow
def test_disconnected_physics_is_inert(disconnected):
    assert list(disconnected.terms) == ["x"]
    assert disconnected.verdicts["x"].verdict == "inert"


@pytest.mark.slow
def test_too_large_a_weight_diverges():
    model = linear()
    model.compile("sgd", "mse")
    verdict = sweep(model, weights=[1e-8, 1e20], epochs=10).verdicts["law"]
    assert verdict.verdict == "diverges"
    assert verdict.hurts_from == 1e20


@pytest.mark.slow
def test_null_trainings_give_a_false_verdict_in_at_most_five_percent():
    """All replicas have weight 0 and seeds of their own: what differs is chance."""
    weights, seeds, repeats = 3, 6, 50
    replicas = repeats * (1 + weights) * seeds
    trainer = kp.ReplicaTrainer(linear(), {"law": [0.0] * replicas}, seeds=list(range(replicas)))
    history = trainer.fit(*TRAIN, HELD_OUT, epochs=5, batch_size=4, verbose=0)
    scores = history.at_best("val_data_loss").reshape(repeats, 1 + weights, 1, seeds)
    tried, none = np.geomspace(1e-3, 1, weights), np.zeros((1 + weights, 1, seeds), bool)
    found = [judge("law", tried, Scores(s, none)).verdict for s in scores]
    # With 5 % of each of 3 weights, 12 or fewer of 50 come up in 97 % of such tests.
    assert sum(str(verdict) in ("helps", "hurts") for verdict in found) <= 12


@pytest.mark.slow
def test_extends_while_the_last_weight_is_best():
    result = sweep(linear(), weights=[1e-3, 1e-2], extend_to=1.0)
    weights = list(result.terms["law"].weights)
    assert weights == [0.0, 0.001, 0.01, 0.1, 1.0]
    assert result.verdicts["law"].best_weight == 1.0


@pytest.mark.slow
def test_others_at_zero_or_best():
    model = linear(terms=("law", "again"))
    zero = sweep(model, weights=[1.0, 10.0])
    assert zero.terms["again"].others == {"law": 0.0}
    np.testing.assert_allclose(zero.verdicts["again"].gains, zero.verdicts["law"].gains, rtol=0.01)
    best = sweep(model, weights=[1.0, 10.0], others="best")
    assert best.terms["again"].others == {"law": best.verdicts["law"].best_weight}
    ratio = best.terms["again"].measured["score"][0] / zero.terms["again"].measured["score"][0]
    assert ratio.mean() < 0.7  # Its baseline has the other term at its best weight.


@pytest.mark.slow
def test_score_at_the_last_epoch():
    best, last = (sweep(linear(), weights=[0.1], score=score) for score in ("best", "last"))
    scores = [np.log(r.terms["law"].measured["score"]).mean(axis=1) for r in (best, last)]
    assert np.all(scores[0] < scores[1])
    assert last.terms["law"].scored_epochs.tolist() == [40, 40]
    assert best.terms["law"].scored_epochs.max() < 40
    assert last.recommended_epochs == 40
    assert "still falling" not in last.summary()


@pytest.mark.slow
def test_plain_model_with_a_metric():
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


@pytest.fixture
def press_ctrl_c(monkeypatch):
    """Presses Ctrl-C in a training, by its number, when `count` epochs of replicas are done."""
    kept_graphs.forget_programs()

    def press(count, training=1):
        done, trainings = [], []

        def progress(*_):
            trainings.append(1)
            return advance

        def advance(number):
            if len(trainings) == training:
                done.append(number)
                if sum(done) >= count:
                    raise KeyboardInterrupt

        monkeypatch.setattr("keras_physreg.replicas.trainer._progress", progress)

    told_of_every_epoch(monkeypatch)
    return press


@pytest.mark.slow
def test_ctrl_c_compares_what_was_finished(press_ctrl_c):
    press_ctrl_c(1)
    result = sweep(linear(), epochs=1000, extend_to=1e3)
    term = result.terms["law"]
    assert result.settings.interrupted
    assert 0 < term.epochs < 1000
    assert not term.unfinished.any()
    assert f"law: compared after {term.epochs} of 1000 epochs; 0 of 32" in result.summary()


@pytest.mark.slow
def test_ctrl_c_keeps_the_groups_that_were_finished(press_ctrl_c):
    epochs, seeds = 20, 6
    press_ctrl_c((2 * seeds + 1) * epochs)
    arguments = {"weights": [1.0, 2.0, 4.0], "seeds": seeds, "epochs": epochs}
    result = sweep(linear(), replicas_per_program=seeds, **arguments)
    term, verdict = result.terms["law"], result.verdicts["law"]
    assert term.epochs == epochs
    assert term.unfinished.sum(axis=1).tolist()[:2] == [0, 0]  # Off, and the first weight.
    assert term.unfinished[-1].all()
    whole = sweep(linear(), **arguments).verdicts["law"]
    np.testing.assert_allclose(verdict.gains[0], whole.gains[0], rtol=1e-4)
    assert np.isnan(verdict.gains[-1])
    text = result.summary()
    assert "nan" not in text
    assert "compared after 20 of 20 epochs" in text


@pytest.mark.slow
def test_ctrl_c_in_an_extension_keeps_what_came_before(press_ctrl_c):
    press_ctrl_c(1, training=2)
    arguments = {"weights": [1e-2, 1e-1], "epochs": 20}
    result = sweep(linear(), extend_to=1e3, **arguments)
    assert result.settings.interrupted
    assert result.terms["law"].weights.tolist() == [0.0, 0.01, 0.1]
    press_ctrl_c(np.inf)
    whole = sweep(linear(), **arguments)
    np.testing.assert_allclose(result.verdicts["law"].gains, whole.verdicts["law"].gains, rtol=1e-4)


@pytest.mark.slow
def test_ctrl_c_before_a_later_round_trains(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(kp.ReplicaTrainer, "refit", interrupt)
    arguments = {"weights": [1e-2, 1e-1], "epochs": 20}
    result = sweep(linear(terms=("law", "again")), extend_to=0, others="best", **arguments)
    assert list(result.terms) == ["law"]
    assert "Not swept: again." in result.summary()
    assert set(result.recommended_weights()) == {"law", "again"}
    result = sweep(linear(), extend_to=1e3, **arguments)
    assert result.terms["law"].weights.tolist() == [0.0, 0.01, 0.1]
    assert "The largest weight is the best so far." in result.summary()
    monkeypatch.setattr(kp.ReplicaTrainer, "fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sweep(linear())


@pytest.mark.slow
def test_ctrl_c_before_terms_are_trained_together(monkeypatch):
    monkeypatch.setattr("keras_physreg.sweep.trainings.Trainings.combine", lambda *_: None)
    result = sweep(linear(terms=("law", "again")), weights=[10.0], epochs=20)
    assert result.combined is None
    assert result.verdicts["law"].helps
    assert result.verdicts["again"].helps
    assert sorted(result.recommended_weights().values()) == [0.0, 10.0]


@pytest.mark.slow
def test_no_change_in_a_sweep_cut_short_is_not_inert(disconnected):
    result = disconnected
    longer = replace(result, settings=replace(result.settings, epochs=100))
    assert longer.verdicts["x"].verdict == "cannot tell"
    assert "the trainings were cut short" in longer.summary()


@pytest.mark.slow
def test_a_held_out_row_that_breaks_the_physics_is_no_divergence():
    def law(z, x_pred):
        return keras.ops.sqrt(z[:, :1] + 4.5) * (x_pred - keras.ops.matmul(z, TRUTH))

    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    model = kp.regularize(encoder, law, {"law": 0.0})
    model.compile(keras.optimizers.Adam(0.05), "mse")
    z, x = HELD_OUT[0].copy(), HELD_OUT[1]
    z[0, 0] = -5.0
    result = kp.sanity_sweep(
        model, *TRAIN, (z, x), weights=[1.0], epochs=40, batch_size=2, extend_to=0, verbose=0
    )
    assert result.verdicts["law"].verdict == "helps"
    assert "val_law_loss is not finite at 2 of 2 weights" in result.summary()


@pytest.mark.slow
def test_ctrl_c_before_anything_was_finished(monkeypatch):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_physreg.replicas.sequential.OrderedRows.__getitem__", press)
    result = sweep(linear(), engine="sequential", seeds=6)
    assert result.terms["law"].epochs == 0
    assert result.verdicts["law"].verdict == "cannot tell"
    assert "nan" not in result.summary()


@pytest.mark.parametrize(
    ("done", "epochs"),
    [
        ([[5, 5]], 5),
        ([[20, 20], [20, 5], [0, 0]], 20),
        ([[20, 18], [18, 18]], 18),
        ([[5, 5], [20, 20]], 5),
        ([[0, 0], [0, 0]], 0),
    ],
)
def test_compared_epochs(done, epochs):
    assert compared_epochs(np.array(done)) == epochs


@pytest.fixture(scope="module")
def done():
    """A sweep that some tests read."""
    return sweep(linear(terms=("law", "again")))


@pytest.mark.slow
def test_a_seed_whose_baseline_diverges_is_left_out(done):
    result = done
    term = result.terms["law"]
    diverged = term.diverged.copy()
    diverged[0, 2] = True
    without = replace(result, terms={"law": replace(term, diverged=diverged)}, combined=None)
    verdict = without.verdicts["law"]
    assert (verdict.verdict, verdict.seeds) == ("helps", 7)
    assert "diverged for 1 of 8 seeds (2): they are left out" in without.summary()
    diverged[0] = True
    none = replace(result, terms={"law": replace(term, diverged=diverged)}, combined=None)
    assert none.verdicts["law"].verdict == "cannot tell"
    assert "nan" not in none.summary()


@pytest.mark.slow
def test_a_floor_of_zero_up_to_rounding_is_no_divisor(done):
    term = done.terms["law"]
    losses = {"term_loss": np.full((4, 8), 0.5), "val_term_loss": np.full((4, 8), 0.25)}
    term = replace(term, measured=term.measured | losses, floor=1e-15, val_floor=1e-15)
    text = replace(done, terms={"law": term}, combined=None).summary()
    assert "its loss is 0.5 on training rows and 0.25 on held-out rows. Its floor is 0:" in text
    assert "times its floor" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "sentence"),
    [
        (0.3, "its loss on held-out rows is 0.3 times its floor: the predictions satisfy this"),
        (1.0, "its loss is at its floor already"),
        (20.0, "the model has memorised the labelled rows"),
    ],
)
def test_says_where_the_term_stands_beside_its_floor(factor, sentence, done):
    result = done
    term = result.terms["law"]
    losses = {"term_loss": np.ones((4, 8)), "val_term_loss": np.full((4, 8), factor)}
    losses["score"] = term.measured["score"][[0, 0, 0, 0]]  # Inert: what helps has more to give.
    term = replace(term, measured=term.measured | losses, floor=1.0, val_floor=1.0)
    assert sentence in replace(result, terms={"law": term}, combined=None).summary()


@pytest.mark.slow
def test_a_subclassed_model_that_was_not_built():
    model = problems.Subclassed()
    model.compile("sgd", "mse")
    data = problems.data()
    result = kp.sanity_sweep(model, *data, data, weights=[1.0], terms=["x"], epochs=2, verbose=0)
    assert len(set(result.terms["x"].measured["score"][0])) == 8


@pytest.mark.slow
def test_summary_plot_and_files(tmp_path, done):
    mpl.use("Agg")
    result = done
    text = str(result)
    assert "law: helps. At weight 10, held-out data loss falls by" in text
    assert "8 labelled rows, 64 held-out rows, 8 seeds" in text
    assert text.count("baseline") == 2
    figure = result.plot()
    assert len(figure.axes) == 6
    assert figure.axes[0].get_title() == "law: helps"
    assert figure.axes[4].get_xticklabels()[0].get_text() == "off"
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    for key, rows in {"score": "held-out", "train_score": "training"}.items():
        mean = np.exp(np.log(result.terms["law"].measured[key]).mean(axis=-1))
        np.testing.assert_allclose(drawn[f"geometric mean, {rows} rows"], mean[1:], rtol=1e-6)
    result = replace(result, settings=replace(result.settings, seeds=checked_seeds(np.arange(8))))
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


def stateful():
    z = keras.Input(batch_shape=(10, 6, 3))
    x = keras.layers.Dense(2)(keras.layers.LSTM(4, stateful=True, name="memory")(z))
    first = keras.layers.Lambda(lambda t: t[:, 0])(z)
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    model = kp.PhysicsModel(z, layer(first, x))
    model.compile("sgd", "mse")
    return model


def random_physics():
    model = problems.physics_model(lambda z, x: {"x": z[:, :2] + keras.random.normal((2,)), "z": x})
    model.compile("sgd", "mse")
    return model


def test_a_wrapper_that_gives_a_function_its_arguments():
    def build(width):
        return models.mlp()

    @functools.wraps(build)
    def wrapped():
        return build(3)

    assert isinstance(built_model(wrapped)[0], keras.Model)


def test_a_function_that_needs_arguments():
    with pytest.raises(TypeError, match=r"without arguments.*lambda: build\(hp\).*model=<function"):
        kp.sanity_sweep(lambda hp: models.mlp(), *problems.data(), verbose=0)


def with_r2():
    model = problems.physics_model()
    r2, named = keras.metrics.R2Score(), keras.metrics.R2Score(name="fit")
    model.compile("sgd", "mse", metrics=[r2, named, "acc"])
    return model


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (without_physics, {}, ValueError, r"no physics terms to sweep"),
        (problems.physics_model, {}, ValueError, r"not compiled"),
        (stateful, {}, ValueError, r"Layer 'memory'.*is stateful.*shuffles.*`stateful=False`"),
        (random_physics, {"epochs": 1}, ValueError, r"physics of term 'x'.*it is random, or keeps"),
        (models.mlp, {"terms": ["y"]}, ValueError, r"no physics term named 'y'"),
        (models.mlp, {"weights": []}, ValueError, r"ascending"),
        (models.mlp, {"weights": [1.0, 0.1]}, ValueError, r"ascending.*\[1.0, 0.1\]"),
        (models.mlp, {"weights": [0.0, 0.1]}, ValueError, r"above 0"),
        (models.mlp, {"weights": [-1.0]}, ValueError, r"-1.0"),
        (models.mlp, {"weights": [np.nan]}, ValueError, r"nan"),
        (models.mlp, {"others": "all"}, ValueError, r"'all'"),
        (models.mlp, {"score": "first"}, ValueError, r"'first'"),
        (models.mlp, {"weights": {"x": [1.0]}}, ValueError, r"the same for all terms"),
        (models.mlp, {"weights": 0.1}, ValueError, r"weights=0.1"),
        (models.mlp, {"terms": []}, ValueError, r"`terms` must.*\['x', 'z'\].*terms=\[\]"),
        (models.mlp, {"terms": "x"}, ValueError, r"a list.*terms='x'"),
        (models.mlp, {"terms": ["x", "x"]}, ValueError, r"different term names"),
        (models.mlp, {"min_effect": 0.0}, ValueError, r"`min_effect` must be a number above 0"),
        (models.mlp, {"min_effect": "1 %"}, ValueError, r"min_effect='1 %'"),
        (models.mlp, {"confidence": 1.0}, ValueError, r"between 0 and 1.*confidence=1.0"),
        (models.mlp, {"confidence": 95}, ValueError, r"between 0 and 1.*confidence=95"),
        (models.mlp, {"seeds": 2.5}, ValueError, r"seeds=2.5"),
        (models.mlp, {"seeds": True}, ValueError, r"seeds=True"),
        (models.mlp, {"seeds": [0.5, 1.5]}, ValueError, r"whole numbers.*\[0.5, 1.5\]"),
        (with_r2, {"monitor": "val_r2_score"}, ValueError, r"more is better.*val_mae"),
        (with_r2, {"monitor": "val_acc"}, ValueError, r"more is better"),
        (models.mlp, {"x": [[1.0, 2.0, 3.0]]}, ValueError, r"numpy.array"),
        (models.mlp, {"x": iter([1.0])}, ValueError, r"numpy.concatenate.*iterator"),
        (models.mlp, {"terms": 5}, ValueError, r"terms=5"),
        (models.mlp, {"extend_to": None}, ValueError, r"0 means no extension.*extend_to=None"),
        (models.mlp, {"extend_to": np.nan}, ValueError, r"extend_to=nan"),
        (models.mlp, {"epochs": 0}, ValueError, r"epochs=0"),
        (models.mlp, {"epochs": 1.5}, TypeError, r"epochs=1.5"),
        (models.mlp, {"monitor": None}, ValueError, r"`val_data_loss`.*monitor=None"),
        (models.mlp, {"monitor": "data_loss"}, ValueError, r"held-out rows.*'data_loss'"),
        (models.mlp, {"y": None}, ValueError, r"needs labels: give `y`.*loss=None"),
        (models.mlp, {"shuffle": False}, TypeError, r"sanity_sweep.*shuffle"),
        (with_r2, {"monitor": "val_fit"}, ValueError, r"'val_fit' more is better"),
        (models.mlp, {"seeds": 0}, ValueError, r"seeds=0"),
        (models.mlp, {"seeds": [1, 1]}, ValueError, r"\[1, 1\]"),
        (models.mlp, {"monitor": "val_los"}, ValueError, r"'val_los'.*val_data_loss"),
        (models.mlp, {"monitor": "val_loss"}, ValueError, r"'val_loss'.*weight"),
        (models.plain, {}, ValueError, r"PhysicsModel.*val_mse"),
    ],
)
def test_bad_input(model, arguments, error, message):
    data = models.mlp_data()
    arguments = {"x": data[0], "y": data[1], "validation_data": data, "verbose": 0} | arguments
    with pytest.raises(error, match=f"(?s){message}"):
        kp.sanity_sweep(model(), **arguments)


@pytest.mark.slow
def test_numpy_numbers_and_generators_serve():
    settings = sweep(
        linear(),
        terms=(name for name in ["law"]),
        seeds=np.int64(2),
        epochs=np.int64(1),
        min_effect=np.float32(0.5),
    ).settings
    assert settings.terms == ["law"]
    assert settings.seeds == [0, 1]
    assert json.dumps(dataclasses.asdict(settings))
    assert checked_seeds(np.arange(2)) == [0, 1]
