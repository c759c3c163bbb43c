"""What the other terms do while one is swept, and terms that train constants only."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.sweep.others import Others, constants_only
from keras_physreg.tuner.space import term_spaces
from tests import problems
from tests.sweep import models
from tests.sweep.linear import TRUTH, data, linear

Z, X = data(20, 1.0, seed=1)
HELD_OUT = data(40, 0.0, seed=2)


class Law(keras.layers.Layer):
    """The law up to a factor, which is 1 and starts at `initial`."""

    def __init__(self, initial):
        super().__init__()
        self.gain = kp.Constant(initial, scale=1.0, name="gain")

    def call(self, z, x):
        residual = x - self.gain() * keras.ops.matmul(z, TRUTH)
        return {"law": residual, "calibration": residual}


class OnlyCalibration(Law):
    def call(self, z, x):
        return {"calibration": super().call(z, x)["calibration"]}


def calibrated(weight=1.0, initial=-1.0, law=0.0):
    """A model whose constant has the wrong sign, until the labels have trained it."""
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    terms = [
        kp.PhysicsTerm("law", weight=law, trains="network"),
        kp.PhysicsTerm("calibration", at="labels", weight=weight),
    ]
    model = kp.regularize(encoder, Law(initial), terms)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def sweep(model, weights=(1.0, 10.0), **arguments):
    return kp.sanity_sweep(model, Z, X, weights=weights, **models.SHORT | arguments)


def scores(result, term="law"):
    return result.terms[term].measured["score"]


@pytest.fixture(scope="module")
def by_default():
    return sweep(calibrated(), keep="recommended")


@pytest.mark.slow
def test_a_calibration_term_is_not_swept_and_stays_on(by_default):
    assert list(by_default.terms) == ["law"]
    assert by_default.terms["law"].others == {"calibration": 1.0}
    assert by_default.settings.constants_only == ["calibration"]
    assert by_default.verdicts["law"].helps
    assert by_default.recommended_weights() == {"law": 10.0, "calibration": 1.0}
    text = by_default.summary()
    assert (
        "calibration only trains constants: it is not swept, and keeps weight 1 in all trainings."
    ) in text
    assert "Kept as in the sweep: calibration at 1 (not swept)." in text
    assert "kp.set_term_weights(model, {'law': 10.0, 'calibration': 1.0})" in text


def test_the_models_that_are_kept_have_trained_constants(by_default):
    by_default.kept.load_replica(0, "last")
    assert kp.get_term_weights(by_default.kept.model) == {"law": 10.0, "calibration": 1.0}
    assert kp.get_constants(by_default.kept.model)["gain"] > 0.5


def test_files_know_what_the_others_did(by_default, tmp_path):
    by_default.save(tmp_path / "sweep.json")
    loaded = kp.SweepResult.load(tmp_path / "sweep.json")
    assert loaded.summary() == by_default.summary()
    assert loaded.settings.others_weights == {"law": 0.0, "calibration": 1.0}


@pytest.mark.slow
def test_without_the_calibration_the_same_law_hurts(by_default):
    off = sweep(calibrated(), others={"calibration": 0.0})
    assert off.verdicts["law"].verdict.harms
    assert off.recommended_weights() == {"law": 0.0, "calibration": 0.0}
    # A term at the labels leaves the baseline alone: the network does not see the constant.
    np.testing.assert_allclose(scores(off)[0], scores(by_default)[0], rtol=1e-5)
    text = off.summary()
    assert "the others have these weights: law at 0, calibration at 0." in text
    assert "calibration only trains constants: it is not swept, and has weight 0" in text
    assert "its constants stay untrained" in text


@pytest.mark.slow
def test_a_calibration_term_that_is_named_is_swept():
    result = sweep(calibrated(weight=2.0), terms=["calibration"])
    assert list(result.terms) == ["calibration"]
    assert result.terms["calibration"].others == {"law": 0.0}
    assert result.verdicts["calibration"].inert
    np.testing.assert_allclose(result.verdicts["calibration"].gains, 0.0, atol=1e-3)
    assert result.recommended_weights() == {"law": 0.0, "calibration": 2.0}
    assert result.recommended_epochs > 0
    text = result.summary()
    assert "these were off: the sweep cannot show what it is worth" in text
    assert 'others="keep"' in text
    assert "times its floor" not in text
    with pytest.raises(ValueError, match="names no term"):  # It is not held at 0.
        term_spaces(result, None, False)


@pytest.mark.slow
def test_a_calibration_term_is_worth_something_beside_the_law():
    result = sweep(calibrated(law=10.0), terms=["calibration"], others="keep")
    assert result.terms["calibration"].others == {"law": 10.0}
    assert result.verdicts["calibration"].helps
    assert result.recommended_weights()["law"] == 10.0
    assert result.recommended_weights()["calibration"] > 0.0
    assert "Kept as in the sweep: law at 10 (not swept)." in result.summary()


@pytest.fixture(scope="module")
def alone():
    """One term at the sum of the weights of two that say the same."""
    return sweep(linear(terms=("law",)), weights=[1.0, 2.0, 3.0])


@pytest.mark.slow
def test_kept_terms_are_on_in_the_baseline_and_in_all_trainings(alone):
    model = linear(terms=("law", "again"))
    kp.set_term_weights(model, {"law": 5.0, "again": 2.0})
    result = sweep(model, weights=[1.0], terms=["law"], others="keep")
    np.testing.assert_allclose(scores(result), scores(alone)[[2, 3]], rtol=1e-3)
    assert result.recommended_weights()["again"] == 2.0
    assert (
        "While one term is swept, the others keep their weights in the model: law at 5, again at 2."
    ) in result.summary()
    assert kp.get_term_weights(model) == {"law": 5.0, "again": 2.0}


@pytest.fixture(scope="module")
def given():
    """`law` is swept beside `again` at 2, and `again` beside `law` at 0."""
    return sweep(linear(terms=("law", "again")), weights=[1.0], others={"again": 2.0})


@pytest.mark.slow
def test_given_weights_are_those_of_the_others(given, alone):
    assert list(given.terms) == ["law", "again"]
    assert given.terms["law"].others == {"again": 2.0}
    assert given.terms["again"].others == {"law": 0.0}
    np.testing.assert_allclose(scores(given), scores(alone)[[2, 3]], rtol=1e-3)
    np.testing.assert_allclose(scores(given, "again"), scores(alone)[[0, 1]], rtol=1e-3)


@pytest.mark.slow
def test_what_was_swept_beside_others_is_recommended_as_it_was_trained(given, alone):
    weights = given.recommended_weights()
    assert given.trained_at(weights) is not None
    assert given.off == {"law": 0.0, "again": 0.0}
    assert not given.is_off_in("law")
    assert given.is_off_in("again")
    if given.combined is not None:
        on = scores(alone)[int(sum(given.combined.weights.values()))]
        np.testing.assert_allclose(given.combined.sweep.measured["score"][1], on, rtol=1e-3)


@pytest.mark.slow
def test_two_kept_terms_are_swept_beside_each_other_and_trained_with_both_off():
    model = linear(sign=-1.0, terms=("law", "again"))
    kp.set_term_weights(model, {"law": 5.0, "again": 2.0})
    result = sweep(model, weights=[1.0, 10.0], others="keep")
    assert result.terms["law"].others == {"again": 2.0}
    assert result.terms["again"].others == {"law": 5.0}
    assert not result.verdicts["law"].helps
    # Neither helps beside the other: what the model has is compared with all off.
    assert result.combined.weights == {"law": 5.0, "again": 2.0}
    off = sweep(linear(sign=-1.0), weights=[7.0])
    np.testing.assert_allclose(result.combined.sweep.measured["score"], scores(off), rtol=1e-3)
    assert result.combined_verdict.verdict.harms
    assert result.recommended_weights() == {"law": 0.0, "again": 0.0}
    assert result.recommended_epochs == off.recommended_epochs
    assert "law at 5, again at 2: hurts." in result.summary()


@pytest.mark.slow
def test_a_term_that_helps_beside_a_kept_one_is_trained_without_it():
    """`again` has weight 2 while `law` is swept, and helps less than 1 % beside it."""
    result = sweep(linear(terms=("law", "again")), weights=[100.0], others={"again": 1e-6})
    assert result.verdicts["law"].helps
    assert result.combined is not None
    assert result.trained_at(result.recommended_weights()) is not None


@pytest.mark.slow
def test_best_keeps_a_calibration_term_in_each_round():
    model = calibrated()
    result = sweep(model, others="best", terms=["calibration", "law"])
    assert result.terms["law"].others == {"calibration": 1.0}
    assert result.verdicts["law"].helps
    assert result.recommended_weights() == {"law": 10.0, "calibration": 1.0}
    assert "it keeps weight 1 while another term is swept" in result.summary()


@pytest.mark.slow
def test_with_validation_data():
    arguments = {"weights": [1.0, 10.0], "epochs": 30, "batch_size": 8, "extend_to": 0}
    result = kp.sanity_sweep(calibrated(), Z, X, HELD_OUT, seeds=4, verbose=0, **arguments)
    assert result.verdicts["law"].helps
    assert result.terms["law"].row_scores.shape == (3, 40)
    assert result.recommended_weights()["calibration"] == 1.0


@pytest.mark.parametrize(
    ("others", "groups", "baseline"),
    [
        (Others("zero", {"a": 0.0, "b": 0.0, "c": 1.0}), [["a", "b"]], {"c": 1.0}),
        (Others("keep", {"a": 0.5, "b": 0.0, "c": 1.0}), [["b"], ["a"]], {"a": 0.5, "c": 1.0}),
        (Others("best", {"a": 0.0, "b": 0.0, "c": 1.0}), [["a"], ["b"]], {"c": 1.0}),
    ],
    ids=["zero", "keep", "best"],
)
def test_terms_with_one_baseline_are_swept_together(others, groups, baseline):
    assert others.groups(["a", "b"]) == groups
    first = others.without(groups[0], others.weights)
    assert {name: weight for name, weight in first.items() if weight} == baseline


@pytest.mark.slow
def test_what_trains_constants_only_is_known_by_option_or_by_the_diagnosis():
    model = problems.physics_model(problems.BoundedGain())  # 'x' compares z / gain with the label.
    model.compile("sgd", "mse")
    report = kp.diagnose(model, *models.mlp_data())
    assert constants_only(model, report) == ["x"]
    assert constants_only(calibrated(), kp.diagnose(calibrated(), Z, X)) == ["calibration"]
    disconnected = models.mlp()  # Without a constant, 'x' trains nothing.
    assert constants_only(disconnected, kp.diagnose(disconnected, *models.mlp_data())) == []


def only_calibration():
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    physics, term = OnlyCalibration(1.0), kp.PhysicsTerm("calibration", at="labels")
    model = kp.regularize(encoder, physics, [term])
    model.compile("adam", "mse")
    return model


BAD = {
    "a word": ("kept", ValueError, r"'zero', 'best', 'keep', or a dict.*Did you mean 'keep'"),
    "a number": (1.0, TypeError, r"`others` must be.*others=1.0"),
    "a list": (["law"], TypeError, r"`others` must be.*\['law'\]"),
    "none": (None, TypeError, r"others=None"),
    "unknown": ({"lew": 1.0}, ValueError, r"names 'lew'.*\['law', 'calibration'\].*mean 'law'"),
    "negative": ({"calibration": -1.0}, ValueError, r"'calibration'.*must be 0 \(off\), or.*-1.0"),
    "NaN": ({"calibration": np.nan}, ValueError, r"'calibration'.*must be finite.*nan"),
    "infinite": ({"calibration": np.inf}, ValueError, r"'calibration'.*must be finite.*inf"),
    "text": ({"calibration": "1"}, TypeError, r"'calibration'.*must be a number.*'1'"),
    "boolean": ({"calibration": True}, TypeError, r"'calibration'.*must be a number.*True"),
    "never another": ({"law": 1.0}, ValueError, r"'law', the only term that is swept"),
}


@pytest.mark.parametrize(("others", "error", "message"), BAD.values(), ids=BAD)
def test_bad_others(others, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        sweep(calibrated(), others=others)


def test_a_model_that_has_only_calibration_terms():
    with pytest.raises(ValueError, match=r"only train constants.*\['calibration'\].*`terms`"):
        sweep(only_calibration())
