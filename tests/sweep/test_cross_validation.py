"""Sweeps on splits of few labelled rows, whose answer is known."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.sweep.verdict import Verdict
from tests import kept_graphs, problems
from tests.sweep import models
from tests.sweep.linear import data, linear

Z, X = data(20, 1.0, seed=1)


def sweep(model, weights=(1e-4, 0.1, 10.0), x=Z, y=X, **arguments):
    arguments = models.SHORT | {"repeats": 2} | arguments
    return kp.sanity_sweep(model, x, y, weights=weights, **arguments)


@pytest.fixture(scope="module")
def right():
    """Physics that is right, in two terms that say the same."""
    return sweep(linear(terms=("law", "again")), seeds=2)


@pytest.fixture(scope="module")
def wrong():
    return sweep(linear(sign=-1.0), weights=[1e-6, 1.0, 10.0])


def test_right_physics_helps(right):
    verdict = right.verdicts["law"]
    assert verdict.verdict == "helps"
    assert verdict.changes[0] is Verdict.SAME
    assert (verdict.basis, verdict.splits, verdict.seeds) == ("splits", 10, 2)
    assert verdict.gain > 20
    assert right.terms["law"].measured["score"].shape == (4, 10, 2)


@pytest.mark.slow
def test_wrong_physics_hurts(wrong):
    verdict = wrong.verdicts["law"]
    assert verdict.verdict == "hurts"
    assert verdict.changes[0] is Verdict.SAME
    assert verdict.changes[-1] is Verdict.HURTS
    assert verdict.hurts_from in (1.0, 10.0)
    assert wrong.recommended_weights() == {"law": 0.0}
    assert wrong.combined is None


@pytest.mark.slow
def test_recommended_weights_are_those_of_the_truth(right, wrong):
    """Trained on all rows for the recommended epochs, held against many rows without noise."""
    z, x = data(2000, 0.0, seed=3)

    def error(result, sign):
        model = linear(sign, terms=tuple(result.terms))
        trainer = kp.ReplicaTrainer(
            model,
            {name: [0.0, weight] for name, weight in result.recommended_weights().items()},
            seeds=[0, 0],
        )
        trainer.fit(Z, X, batch_size=8, epochs=result.recommended_epochs, verbose=0)
        errors = []
        for replica in range(2):
            trainer.load_replica(replica, "last")
            errors.append(np.mean((keras.ops.convert_to_numpy(model(z)) - x) ** 2))
        return errors

    off, on = error(right, 1.0)
    assert on < 0.7 * off
    off, on = error(wrong, -1.0)
    assert on == off


@pytest.mark.slow
def test_terms_that_help_are_trained_together(right):
    both = right.combined
    assert both.weights == {"law": 10.0, "again": 10.0}
    assert right.combined_verdict.helps
    assert both.sweep.measured["score"].shape == (2, 10, 2)
    np.testing.assert_array_equal(
        both.sweep.measured["score"][0], right.terms["law"].measured["score"][0]
    )
    assert right.recommended_weights() == both.weights
    # Two terms that say the same, each at 10, are one at 20.
    alone = sweep(linear(terms=("law",)), weights=[10.0, 20.0], seeds=2)
    np.testing.assert_allclose(
        both.sweep.measured["score"][1], alone.terms["law"].measured["score"][2], rtol=1e-3
    )


def test_together_but_worse_the_best_alone_is_recommended(right):
    sweep = right.combined.sweep
    measured = {key: value.copy() for key, value in sweep.measured.items()}
    measured["score"][1] = 0.9 * right.terms["law"].measured["score"][0]
    worse = replace(right.combined, sweep=replace(sweep, measured=measured))
    result = replace(right, combined=worse)
    assert result.combined_verdict.helps
    assert result.combined_verdict.gain < result.verdicts["law"].gain
    assert result.recommended_weights() == {"law": 10.0, "again": 0.0}
    assert "law at 10, again at 10: helps. Together, " in result.summary()


@pytest.mark.slow
def test_every_split_has_seeds_of_its_own_the_same_for_all_weights(monkeypatch):
    given = []

    class Trainer(kp.ReplicaTrainer):
        def fit(self, *args, **kwargs):
            given.append((self.seeds, kwargs["rows"], kwargs["validation_rows"]))
            return super().fit(*args, **kwargs)

    monkeypatch.setattr("keras_physreg.executors.trainer.ReplicaTrainer", Trainer)
    sweep(linear(), weights=[1.0], seeds=[3, 5], epochs=1)
    (seeds, rows, held_out), *rest = given
    assert not rest
    seeds = np.reshape(seeds, (2, 10, 2))
    np.testing.assert_array_equal(seeds[0], seeds[1])
    assert seeds[0, 0].tolist() == [3, 5]
    assert len(np.unique(seeds)) == 20
    rows, held_out = (np.reshape(part, (2, 10, 2, -1)) for part in (rows, held_out))
    for part in (rows, held_out):
        np.testing.assert_array_equal(part[0], part[1])
        np.testing.assert_array_equal(part[:, :, 0], part[:, :, 1])
    for train, test in zip(rows[0, :, 0], held_out[0, :, 0], strict=True):
        assert sorted([*train, *test]) == list(range(20))


@pytest.mark.slow
def test_a_sweep_compiles_one_program_per_core(monkeypatch):
    kept_graphs.forget_programs()  # Those of models that are built alike.
    trainers = []

    class Trainer(kp.ReplicaTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            trainers.append(self)

    monkeypatch.setattr("keras_physreg.executors.trainer.ReplicaTrainer", Trainer)
    result = sweep(linear(terms=("law", "again")), weights=[0.1, 1.0], epochs=20, extend_to=100.0)
    assert len(result.terms["law"].weights) > 3  # It was extended.
    assert result.combined is not None
    assert [trainer.compiles for trainer in trainers] == [1]


@pytest.mark.slow
def test_scores_are_those_of_fit():
    """One split and seed, trained by Keras itself."""
    weights = [0.0, 1.0]
    result = sweep(linear(), weights=[1.0], epochs=3)
    splits = result.settings.splits
    for split in (0, 7):
        seed = result.settings.seeds_of_splits[split][0]
        train, test = splits.train[split], splits.held_out[split]
        alone = kp.ReplicaTrainer(
            linear(), {"law": weights}, seeds=[seed] * 2, engine="sequential"
        ).fit(
            Z[train],
            X[train],
            (Z[test], X[test]),
            epochs=3,
            batch_size=8,
            verbose=0,
        )
        for i in range(2):
            epoch = result.terms["law"].scored_epochs[i] - 1
            assert result.terms["law"].measured["score"][i, split, 0] == pytest.approx(
                alone.history["val_data_loss"][epoch, i], rel=1e-4
            )


@pytest.mark.slow
def test_sample_weight_counts_on_both_sides():
    """A row of trust 0 changes nothing, wherever it falls."""
    trust = np.ones(20, "float32")
    trust[3] = 0.0
    wild = X.copy()
    wild[3] = 100.0
    results = [
        sweep(linear(), weights=[1.0], y=y, sample_weight=trust, epochs=3).terms["law"]
        for y in (X, wild)
    ]
    np.testing.assert_allclose(*(result.measured["score"] for result in results), rtol=1e-4)


@pytest.mark.slow
def test_unlabelled_rows_are_trained_on():
    more = data(40, 0.0, seed=5)[0]
    without, with_more = (
        sweep(linear(), weights=[10.0], epochs=20, unlabelled=unlabelled).terms["law"]
        for unlabelled in (None, more)
    )
    scores = [term.measured["score"].mean(axis=(1, 2)) for term in (without, with_more)]
    assert scores[1][1] < 0.9 * scores[0][1]


@pytest.mark.slow
def test_others_at_their_best_weight():
    result = sweep(linear(terms=("law", "again")), weights=[1.0, 10.0], others="best", seeds=2)
    best = result.verdicts["law"].best_weight
    assert result.terms["again"].others == {"law": best}
    assert result.terms["law"].others == {"again": 0.0}
    np.testing.assert_allclose(
        result.terms["again"].measured["score"][0],
        result.terms["law"].measured["score"][result.terms["law"].weights.tolist().index(best)],
        rtol=1e-4,
    )


@pytest.mark.slow
def test_groups_and_splitters():
    selection = pytest.importorskip("sklearn.model_selection")
    groups = np.repeat(np.arange(5), 4)
    result = sweep(
        linear(),
        weights=[1.0],
        cv=selection.GroupKFold(5),
        repeats=None,
        groups=groups,
        epochs=2,
    )
    assert result.settings.splits.count == 5
    for held_out in result.settings.splits.held_out:
        assert len(np.unique(groups[held_out])) == 1
    text = result.summary()
    assert "5 splits are fewer than the 20 advised" in text
    assert "20 labelled rows: GroupKFold(5) x 1 seed, trained on 16 rows each" in text


@pytest.mark.slow
def test_training_sets_of_unequal_size():
    cv = [(np.arange(n), np.arange(n, n + 4)) for n in (8, 12, 16)]
    result = sweep(linear(), weights=[1.0], cv=cv, repeats=None, epochs=2)
    assert "trained on 8 to 16 rows each" in result.summary()
    assert result.verdicts["law"].splits == 3


@pytest.mark.slow
def test_folds_that_differ_by_one_row():
    result = sweep(linear(), weights=[1.0], x=Z[:18], y=X[:18], epochs=2)
    assert result.settings.trained_on == [14]
    assert "trained on 14 rows each" in result.summary()
    assert "training rows one row, drawn by its seeds, is left out" in result.summary()


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "on_all"),
    [
        (20, 16, 40, 20),  # 16 rows are one step, 20 rows two.
        (20, 20, 40, 40),  # One step each.
        (20, 8, 15, 10),  # Two steps, three steps.
        (20, 4, 1, 1),  # At least one epoch.
    ],
)
def test_recommended_epochs_make_as_many_steps_on_all_rows(rows, batch, epochs, on_all, right):
    settings = replace(right.settings, batch_size=batch)
    assert settings.splits.rows == rows
    assert settings.epochs_on_all_rows(epochs) == on_all


def test_recommended_epochs_follow_from_the_recommended_weights(right):
    both = right.combined.sweep
    assert right.recommended_epochs == right.settings.epochs_on_all_rows(both.scored_epochs[1])
    none = replace(right, combined=None, terms={"law": right.terms["law"]})
    alone = right.terms["law"].epoch_of(10.0)
    assert none.recommended_epochs == right.settings.epochs_on_all_rows(alone)


@pytest.mark.slow
def test_a_best_epoch_that_is_the_last_is_a_warning():
    text = sweep(linear(), weights=[1e-6], epochs=2).summary()
    assert "With all weights off the best epoch is the last one, 2: the loss was still" in text
    assert "Sweep again with more `epochs` before you rely on it." in text


def test_a_last_epoch_that_was_asked_for_is_no_warning(right):
    term = right.terms["law"]
    term = replace(term, scored_epochs=np.full(len(term.weights), term.epochs))
    best = replace(right, terms={"law": term}, combined=None)
    last = replace(best, settings=replace(best.settings, score="last"))
    assert (best.recommendation.last, last.recommendation.last) == (True, False)
    texts = [result.summary().count("was still falling") for result in (best, last)]
    assert texts[0] > texts[1] == 0


def test_a_split_whose_baseline_diverges_is_left_out(right):
    term = right.terms["law"]
    diverged = term.diverged.copy()
    diverged[0, 4, 1] = True
    result = replace(right, terms={"law": replace(term, diverged=diverged)}, combined=None)
    assert result.verdicts["law"].splits == 9
    assert "the training diverged in 1 of 10 splits (4): they are left out" in result.summary()
    diverged[0] = True
    none = replace(right, terms={"law": replace(term, diverged=diverged)}, combined=None)
    assert none.verdicts["law"].verdict == "cannot tell"
    assert none.recommended_weights()["law"] == 0.0
    assert "nan" not in none.summary()


@pytest.mark.slow
def test_a_weight_that_diverges_is_named():
    result = sweep(linear(optimizer="sgd"), weights=[1e-8, 1e20], epochs=5)
    verdict = result.verdicts["law"]
    assert verdict.verdict == "diverges"
    assert verdict.hurts_from == 1e20
    assert "From weight 1e+20 on, trainings end in NaN or infinity." in result.summary()


@pytest.mark.slow
def test_disconnected_physics_is_the_same():
    z, x = models.mlp_data()
    result = sweep(models.mlp(), weights=[0.1, 1.0], x=z, y=x, terms=["x"], epochs=2)
    verdict = result.verdicts["x"]
    assert verdict.verdict == "same"
    assert verdict.inert
    np.testing.assert_array_equal(verdict.gains, 0.0)
    assert result.recommended_weights() == {"x": 0.0, "z": 0.0}


def test_what_the_report_says(right):
    text = right.summary()
    assert text.startswith(
        "Sanity sweep of 20 labelled rows: 5 folds x 2 shuffles x 2 seeds, trained on 16 rows each;"
    )
    gain, low, high = (
        f"{abs(value):.{0 if abs(value) >= 9.95 else 1}f} % {'better' if value >= 0 else 'worse'}"
        for value in right.verdicts["law"].gain_at(10.0)
    )
    gain = gain.removesuffix(" % better")
    sure = 100 * right.verdicts["law"].probability
    assert (
        f"law: helps. At weight 10, held-out data loss falls by {gain} %. The probability that it "
        f"falls by more than 1 % is {sure:.0f} %. The true change lies between {low} and {high} "
        f"(95 % interval for all weights together). Expect less than {gain} %: the weight was "
        "chosen on the same rows. "
    ) in text
    assert "better, worse: probability that the score falls, or rises, by more than 1 %: " in text
    assert "Recommended: law and again (helps, together). To train on all 20 labelled rows:" in text
    assert "kp.set_term_weights(model, {'law': 10.0, 'again': 10.0})" in text
    assert f"model.fit(x, y, epochs={right.recommended_epochs}, batch_size=8)" in text
    assert "10 splits are fewer than the 20 advised" in text
    assert "leave it" not in text.lower()


def test_the_advice_on_few_splits_is_that_of_student_t(right):
    """1.1 times: t(9) = 1.833 over t(19) = 1.729, and sqrt(1/10 + 1/4) over sqrt(1/20 + 1/4)."""
    assert 1.833 / 1.729 * np.sqrt(0.35 / 0.30) == pytest.approx(1.145, abs=1e-3)
    assert "a gain must be 1.1 times as large before it is sure" in right.summary()


def test_save_and_load(right, tmp_path):
    right.save(tmp_path / "sweep.json")
    loaded = kp.SweepResult.load(tmp_path / "sweep.json")
    assert loaded.summary() == right.summary()
    assert loaded.recommended_weights() == right.recommended_weights()
    assert loaded.recommended_epochs == right.recommended_epochs
    np.testing.assert_array_equal(
        loaded.settings.splits.held_out[3], right.settings.splits.held_out[3]
    )


def test_a_row_of_the_table_for_each_split_and_seed(right):
    pytest.importorskip("pandas")
    frame = right.to_dataframe()
    assert len(frame) == 2 * 4 * 10 * 2
    here = frame[(frame.term == "again") & (frame.weight == 0.1) & (frame.split == 7)]
    assert here.seed.tolist() == right.settings.seeds_of_splits[7]
    assert here.score.tolist() == right.terms["again"].measured["score"][2, 7].tolist()
    assert frame.seed.nunique() == 20


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"validation_data": (Z, X)}, ValueError, r"`cv`.*in place of `validation_data`"),
        (
            {"validation_data": (Z, X), "cv": None},
            ValueError,
            r"`repeats`.*in place of `validation_data`",
        ),
        ({"cv": 1}, ValueError, r"`cv` must be an integer >= 2"),
        ({"cv": "five", "repeats": None}, TypeError, r"`cv` must be an integer"),
        ({"cv": [(range(10), range(10, 20))], "repeats": None}, ValueError, r"at least 2"),
        ({"cv": [(range(10), range(9, 20))] * 2, "repeats": None}, ValueError, r"holds out"),
        ({"seeds": 0}, ValueError, r"seeds=0"),
        ({"repeats": 0}, ValueError, r"`repeats`"),
        ({"keep": "best"}, ValueError, r"`keep` must be None or .recommended.*keep=.best"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        sweep(linear(), **arguments)


@pytest.mark.slow
def test_losses_below_zero_are_compared_relatively():
    def likelihood(y_true, y_pred):
        return keras.ops.mean((y_true - y_pred) ** 2, axis=-1) - 10.0

    model = linear()
    model.compile(keras.optimizers.Adam(0.05), likelihood)
    result = sweep(model, weights=[10.0])
    off, on = result.terms["law"].measured["score"]
    assert (off < 0).all()
    assert (off - on).mean() > 0.1
    verdict = result.verdicts["law"]
    assert verdict.gain == pytest.approx(100 * (off - on).mean() / -off.mean())


@pytest.mark.slow
def test_a_plain_model_with_a_metric():
    z, x = models.mlp_data()
    result = sweep(
        models.plain(), weights=[1e-3], x=z, y=x, terms=["z"], epochs=2, monitor="val_mae"
    )
    assert np.isfinite(result.verdicts["z"].better).all()
    assert "val_mae" in result.summary()
    assert "data loss" not in result.summary()


@pytest.mark.slow
def test_a_subclassed_model():
    model = problems.Subclassed()
    model.compile("sgd", "mse")
    z, x = problems.data()
    result = sweep(model, weights=[1.0], x=z, y=x, terms=["x"], epochs=2)
    assert result.terms["x"].measured["score"].shape == (2, 10, 1)


@pytest.fixture(scope="module")
def kept():
    return sweep(linear(terms=("law", "again")), terms=["again"], keep="recommended")


@pytest.mark.slow
def test_kept_models_are_those_of_the_recommended_weights_at_their_epoch(kept):
    weight = kept.recommended_weights()
    assert weight == {"law": 0.0, "again": 10.0}
    epochs = kept.terms["again"].epoch_of(10.0)
    splits, seeds = kept.settings.splits, kept.settings.seeds_of_splits
    alone = kp.ReplicaTrainer(
        linear(terms=("law", "again")), {"again": [10.0]}, seeds=seeds[3], engine="sequential"
    )
    alone.fit(Z[splits.train[3]], X[splits.train[3]], epochs=epochs, batch_size=8, verbose=0)
    np.testing.assert_allclose(
        kept.kept.predict(Z, which="last")[3], alone.predict(Z, which="last")[0], rtol=1e-3
    )
    assert kept.kept.replicas == 10


@pytest.mark.slow
def test_the_ensemble_is_their_mean(kept):
    each = kept.kept.predict(Z, which="last")
    mean, spread = kept.ensemble(spread=True).predict(Z, verbose=0)
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(spread, each.std(axis=0, ddof=1), rtol=1e-3, atol=1e-4)
    some = kept.ensemble([0, 4]).predict(Z, verbose=0)
    np.testing.assert_allclose(some, each[[0, 4]].mean(axis=0), rtol=1e-4, atol=1e-5)


def test_without_kept_models_there_is_no_ensemble(right, tmp_path):
    with pytest.raises(RuntimeError, match='give `keep="recommended"` to `sanity_sweep`'):
        right.ensemble()
