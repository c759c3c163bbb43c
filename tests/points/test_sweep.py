"""A sweep with point sets: its trainings see them, and their loss may be the score."""

import keras
import numpy as np
import pytest

import keras_physreg as kp
from tests.points import linear
from tests.unlabelled.linear import data

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("quick")]
X, Y, _ = data()
HELD_OUT = {"pde": linear.points(6, 8)}
SMALL = {"weights": [0.3], "terms": ["pde"], "epochs": 2, "verbose": 0, "extend_to": 0}


@pytest.mark.slow
def test_loss_at_validation_points_is_the_score():
    model = linear.model()
    result = kp.sanity_sweep(
        *(model, X, Y),
        cv=2,
        repeats=1,
        seeds=1,
        points=linear.POINTS,
        validation_points=HELD_OUT,
        monitor="val_pde_loss",
        score="last",
        **SMALL,
    )
    sweep = result.terms["pde"]
    measured = sweep.measured
    assert (measured["score"] == measured["val_term_loss"]).all()
    # A fit of the first split and seed, at the weight that was swept.
    assert (measured["score"][1] < measured["score"][0]).all()
    assert sweep.floor is None


@pytest.mark.slow
def test_score_of_labelled_rows():
    result = kp.sanity_sweep(
        *(linear.model(), X[:12], Y[:12]),
        validation_data=(X[12:], Y[12:]),
        seeds=2,
        points=linear.POINTS,
        **SMALL,
    )
    assert result.terms["pde"].measured["score"].shape == (2, 2)


SAMPLER = kp.UniformSampler([-1.0] * 3, [1.0] * 3, seed=7)
GIVEN = {
    "points": {"pde": SAMPLER, "wall": linear.POINTS["wall"]},
    "points_batch_size": {"pde": 6, "wall": 2},
    "validation_points": {**HELD_OUT, "wall": linear.points(4, 9)},
    "steps_per_epoch": 3,
}
ALONE = {"others": "keep", **GIVEN}


def alone():
    return linear.model(linear.OF_POINTS, loss=None)


def trained(*settings, seeds=2):
    """The sum of held-out losses of replicas, which equal `fit`: see test_replicas.py."""
    weights = {name: [w[name] for w in settings for _ in range(seeds)] for name in settings[0]}
    trainer = kp.ReplicaTrainer(alone(), weights, seeds=[*range(seeds)] * len(settings))
    history = trainer.fit(epochs=2, verbose=0, **GIVEN)
    held_out = history.history["val_pde_loss"] + history.history["val_wall_loss"]
    return held_out[-1].reshape(len(settings), seeds)


def test_points_alone():
    """The other term stays on; the recommendation never switches a term off."""
    given = SMALL | {"terms": ["wall"], "weights": [0.2], "seeds": 2, "score": "last"}
    result = kp.sanity_sweep(alone(), **ALONE, **given)
    assert result.terms["wall"].others == pytest.approx({"pde": linear.WEIGHTS["pde"]})
    assert result.recommended_weights() == pytest.approx(linear_weights())
    assert result.terms["wall"].measured["score"].shape == (2, 2)
    assert "To train on the points:" in str(result)


@pytest.mark.slow
def test_trainings_on_points_alone_and_their_report(tmp_path):
    given = SMALL | {"terms": ["wall"], "weights": [0.2], "seeds": 2, "score": "last"}
    result = kp.sanity_sweep(alone(), **ALONE, **given)
    expected = trained(linear_weights() | {"wall": 0.0}, linear_weights())
    np.testing.assert_allclose(result.terms["wall"].measured["score"], expected, rtol=1e-5)
    assert result.recommended_weights() == pytest.approx({"pde": 0.3, "wall": 0.2})
    text = str(result)
    assert "points (pde 6, wall 2 per step), held-out points (pde 6, wall 4), 2 seeds" in text
    assert "may not hold at others" in text
    assert "The score is the sum of the held-out losses of all terms" in text
    assert "floor" not in text
    assert "not finite" not in text
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.endswith("To train on the points:"))
    model = alone()
    names = {"kp": kp, "model": model, "points": GIVEN["points"]}
    exec("\n".join(line.strip() for line in lines[start + 1 : start + 3]), names)
    assert int(model.optimizer.iterations) == 6
    assert kp.get_term_weights(model) == pytest.approx({"pde": 0.3, "wall": 0.2})
    result.save(tmp_path / "sweep.json")
    assert str(kp.SweepResult.load(tmp_path / "sweep.json")) == text


@pytest.mark.slow
def test_all_terms_on_points_alone(tmp_path):
    """What helps is compared with the weights in the model, and not with all terms off."""
    given = SMALL | {"terms": None, "weights": [3.0], "seeds": 4, "score": "last"}
    result = kp.sanity_sweep(alone(), **ALONE, **given)
    assert result.verdicts["pde"].helps
    combined = result.combined
    assert combined.weights == {"pde": 3.0}
    assert combined.before == pytest.approx({"pde": linear.WEIGHTS["pde"]})
    on = linear_weights() | {"pde": 3.0}
    expected = trained(linear_weights(), on, seeds=4)
    np.testing.assert_allclose(combined.sweep.measured["score"], expected, rtol=1e-5)
    assert result.recommended_weights() == pytest.approx(on)
    text = str(result)
    assert "Compared with the weights before" in text
    result.save(tmp_path / "sweep.json")
    loaded = kp.SweepResult.load(tmp_path / "sweep.json")
    assert loaded.recommended_weights() == result.recommended_weights()
    result.plot()


def linear_weights():
    return {name: linear.WEIGHTS[name] for name in linear.OF_POINTS}


@pytest.mark.slow
def test_no_weight_of_points_alone_helps():
    """The weights in the model stay, and are trained to tell for how many epochs."""
    given = SMALL | {"terms": ["wall"], "weights": [50.0], "seeds": 2}
    result = kp.sanity_sweep(alone(), **ALONE, **given)
    assert not result.verdicts["wall"].helps
    assert result.combined.weights == pytest.approx({"wall": linear.WEIGHTS["wall"]})
    assert result.combined.before == {}
    assert result.recommended_weights() == pytest.approx(linear_weights())
    assert result.recommended_epochs in (1, 2)
    assert "Compared with wall off" in str(result)


@pytest.mark.slow
def test_samplers_beside_labelled_rows():
    given = {name: GIVEN[name] for name in ("points", "points_batch_size", "validation_points")}
    result = kp.sanity_sweep(*(linear.model(), X, Y), cv=2, repeats=1, seeds=1, **given, **SMALL)
    assert np.isfinite(result.terms["pde"].measured["score"]).all()
    code = f"model.fit(x, y, points=points, points_batch_size={given['points_batch_size']}, epochs"
    assert code in str(result)


WRONG = {
    "unknown": ({"points": {"pdf": X}}, "Did you mean 'pde'"),
    "monitor": (
        {"points": linear.POINTS, "monitor": "val_pde_loss"},
        "needs `validation_points` of term 'pde'",
    ),
    "steps": ({"steps_per_epoch": 3}, "`steps_per_epoch` is for a training on points alone"),
    "size": ({"points_batch_size": 3}, "These arguments need `points`"),
    "width": ({"points": {"pde": X[:, :2]}}, "must have the row shape of the model's inputs"),
    "sampler without size": ({"points": {"pde": SAMPLER}}, "needs the number of points per step"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_points(case):
    given, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        kp.sanity_sweep(linear.model(), **{"x": X, "y": Y, **SMALL, **given})


WRONG_ALONE = {
    "nothing": ({"points": None, "points_batch_size": None}, "needs rows to train on"),
    "labels": ({"y": Y}, "`y` is for labelled rows, but `x` is None"),
    "splits": ({"cv": 5}, "`cv` is for labelled rows, but `x` is None"),
    "held-out rows": ({"validation_data": (X, Y)}, "`validation_data` is for labelled rows"),
    "a term without points": (
        {"points": {"pde": linear.POINTS["pde"]}, "points_batch_size": None},
        r"Without points: \['wall'\]",
    ),
    "the score of one term": ({"monitor": "val_pde_loss"}, "leave `monitor` out"),
    "no held-out points": (
        {"validation_points": HELD_OUT},
        r"for every term. Without them: \['wall'\]",
    ),
    "all other terms off": (
        {"others": "zero"},
        "while 'wall' is swept, all other .* would not train at all. Keep the .* `others='keep'`",
    ),
    "the best of nothing": ({"others": "best"}, "would not train at all"),
    "the others at 0": ({"others": {"pde": 0.0}}, "would not train at all"),
}


@pytest.mark.parametrize("case", list(WRONG_ALONE))
def test_wrong_points_alone(case):
    given, message = WRONG_ALONE[case]
    with pytest.raises(ValueError, match=message):
        kp.sanity_sweep(alone(), **{**ALONE, **SMALL, "terms": ["wall"], **given})


def test_a_compiled_loss_needs_labels():
    with pytest.raises(ValueError, match="compile it with `loss=None` to train on the physics"):
        kp.sanity_sweep(linear.model(linear.OF_POINTS), **ALONE, **SMALL)


def oscillator():
    """`u'' + 4 u = 0` with `u(0) = 1` and `u'(0) = 0`."""
    hidden = [keras.layers.Dense(16, "tanh") for _ in range(2)]
    network = keras.Sequential([keras.Input((1,)), *hidden, keras.layers.Dense(1)])
    t = keras.Input((1,))
    u = kp.Derivatives(network, ["t", "tt"], inputs=["t"], output="u")(t)
    laws = {
        "ode": lambda t, u: u["u_tt"] + 4 * u["u"],
        "start": lambda t, u: u["u"] - 1.0,
        "speed": lambda t, u: u["u_t"],
    }
    u = kp.PhysicsRegularization(laws, dict.fromkeys(laws, 1.0))(t, u)
    model = kp.PhysicsModel(t, u["u"])
    model.compile(keras.optimizers.Adam(5e-3), loss=None)
    return model


@pytest.mark.slow
def test_the_conditions_of_an_equation_help_and_none_is_starved():
    """With the residual alone as the score, `u = 0` would win: it violates `u(0) = 1`."""
    keras.utils.set_random_seed(0)
    t, start = np.linspace(0, 3, 32)[:, None], np.zeros((1, 1))
    points = {"ode": t, "start": start, "speed": start}
    result = kp.sanity_sweep(
        oscillator(),
        points=points,
        validation_points={**points, "ode": t + 0.04},
        others="keep",
        weights=[1.0, 1000.0],
        extend_to=0,
        seeds=4,
        epochs=6,
        steps_per_epoch=60,
        verbose=0,
    )
    assert result.verdicts["start"].helps
    assert not result.verdicts["start"].verdict.harms
    assert result.recommended_weights()["ode"] == 1.0
