"""What the labels tell: the better teacher, rows that carry the loss, units, few rows."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg.diagnosis.few_rows import find_few_rows
from keras_physreg.diagnosis.relations import relate
from keras_physreg.diagnosis.row_values import RowValues
from keras_physreg.diagnosis.teacher import compare_with_network
from keras_physreg.diagnosis.units import known_factor
from tests.diagnosis.linear import linear_model
from tests.diagnosis.setups import (
    FAULTS,
    HEALTHY,
    TRUTH,
    connected,
    data,
    law,
    model_of,
)
from tests.variants import slow_but, slow_but_rows


def report_of(builder, rows, seed=0, **options):
    setup = builder(rows, seed)
    return kp.diagnose(setup.model, setup.z, setup.x, **{**setup.options, **options})


def one(report, code):
    (finding,) = [finding for finding in report.findings if finding.code == code]
    return finding


# The floor against the network's own error.


def estimate(reference, components=None, loss="mse", factor=1.0):
    """A model whose term says `factor` times what is true of the labels."""

    def physics(z, p):
        said = factor * law(z) + 0.1 * (p - ops.stop_gradient(p))
        return {"t": said if components is None else said[:, components[0] : components[0] + 1]}

    terms = [kp.PhysicsTerm("t", reference, components, loss, weight=0.5)]
    return model_of(physics, terms, seed=0)


COMPARED = [  # Each two of their values together.
    ("target", None, "mae"),
    ("target", [1], "mse"),
    ("prediction", None, "mse"),
    ("prediction", [1], "mae"),
]


@pytest.mark.parametrize("term", slow_but([("prediction", [1], "mae")], COMPARED), ids=str)
def test_floor_and_network_are_compared_under_the_loss_of_the_term(term):
    reference, components, loss = term
    z, x = data(40, 0)
    held_out = data(60, 1)
    model = estimate(reference, components, loss, factor=1.5)
    row = kp.diagnose(model, z, x, validation_data=held_out)["t"]
    z_val, x_val = held_out
    kernel, bias = model.layers[1].get_weights()
    chosen = slice(None) if components is None else components
    power = {"mse": np.square, "mae": np.abs}[loss]
    network = power((z_val @ kernel + bias - x_val)[:, chosen]).mean()
    floor = power((1.5 * z_val @ TRUTH - x_val)[:, chosen]).mean()
    assert row.val_network == pytest.approx(network, rel=1e-5)
    assert row.teacher.floor == pytest.approx(floor, rel=1e-5)
    assert row.val_floor == pytest.approx(floor, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("reference", [None, "input"])
def test_what_cannot_be_compared_is_not(reference):
    z, x = data(40, 0)
    if reference is None:
        terms, physics = {"t": 0.5}, lambda z, p: p - law(z)
    else:
        terms = [kp.PhysicsTerm("t", "input", [0], weight=0.5)]
        physics = lambda z, p: {"t": p[:, :1]}  # noqa: E731
    row = kp.diagnose(model_of(physics, terms, 0), z, x, validation_data=data(60, 1))["t"]
    assert (row.teacher, row.val_network) == (None, None)


def values(losses, network=None):
    losses = np.asarray(losses, "float32")
    network = None if network is None else np.asarray(network, "float32")
    return RowValues(np.arange(len(losses)), losses, network, None, None)


def test_the_verdict_is_that_of_the_paired_interval():
    rng = np.random.default_rng(0)
    floor = rng.gamma(1.0, 1.0, 50)
    better = compare_with_network(values(floor, floor + 0.2 + 0.1 * rng.normal(size=50)), 0.95)
    assert better.verdict == "better"
    assert better.network - better.floor == pytest.approx(0.2, abs=0.05)
    worse = compare_with_network(values(floor + 0.2, floor), 0.95)
    assert worse.verdict == "worse"
    near = compare_with_network(values(floor, floor + 0.1 * rng.normal(size=50)), 0.95)
    assert near.verdict is None
    assert compare_with_network(values(floor[:4] + 9, floor[:4]), 0.95).verdict is None
    assert compare_with_network(values(floor), 0.95) is None
    assert compare_with_network(None, 0.95) is None


def at_floor(factor):
    """A network that says what the physics says."""
    z, x = data(100, 0)
    terms = [kp.PhysicsTerm("t", "prediction", weight=0.5)]
    model = model_of(lambda z, p: {"t": factor * law(z)}, terms, 0)
    model.layers[1].set_weights([factor * TRUTH, np.full(2, 0.05, "float32")])
    return kp.diagnose(model, z, x)


@pytest.mark.slow
def test_without_held_out_rows_nothing_is_said_of_the_weight():
    for factor in (1.2, 1.5):
        findings = [f for f in at_floor(factor).findings if f.code in ("at-floor", "below-floor")]
        assert [f.severity for f in findings] == ["info"]
        assert "held-out data loss decides" in findings[0].cure
        assert "validation_data" in findings[0].cure
        assert "Lower the weight" not in findings[0].cure
        assert "leave" not in findings[0].cure


def test_a_better_teacher_at_its_floor_is_one_to_raise():
    """The loss stands at the floor on the given rows; on others the network is far off."""
    rng = np.random.default_rng(0)
    z, x = data(100, 0)
    z[:, 2] = 0.0
    x = (z @ TRUTH + 0.1 * rng.normal(size=x.shape)).astype("float32")
    terms = [kp.PhysicsTerm("t", "target", weight=0.5)]
    model = model_of(connected(law), terms, 0)
    model.layers[1].set_weights(
        [np.vstack([TRUTH[:2], [[0.3, 0.2]]]).astype("float32"), np.full(2, 0.01, "float32")]
    )
    report = kp.diagnose(model, z, x, validation_data=data(200, 1))
    finding = one(report, "at-floor")
    teacher = report["t"].teacher
    assert teacher.floor < teacher.network
    assert f"by {teacher.floor:.3g} and the network by {teacher.network:.3g}" in finding.message
    assert "the physics is the better teacher" in finding.message
    assert "raise it in steps" in finding.cure


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "verdict"), slow_but_rows((1,), [(1.0, "better"), (2.0, "worse")])
)
def test_away_from_the_floor_the_teacher_is_told_too(factor, verdict):
    z, x = data(60, 0)
    model = model_of(
        lambda z, p: {"t": factor * law(z)}, [kp.PhysicsTerm("t", "prediction", weight=0.5)], 0
    )
    if factor > 1:
        model.layers[1].set_weights([0.5 * TRUTH, np.zeros(2, "float32")])
    report = kp.diagnose(model, z, x, validation_data=data(200, 1))
    finding = one(report, f"{verdict}-teacher")
    assert finding.severity == "info"
    teacher = report["t"].teacher
    assert f"by {teacher.floor:.3g} and the network by {teacher.network:.3g}" in finding.message
    assert not {"at-floor", "below-floor"} & {f.code for f in report.findings}


@pytest.mark.slow
def test_the_teacher_is_told_where_the_model_is_at_the_floor_of_the_given_rows_alone():
    z, x = data(100, 0)
    z[:, 2] = 0.0
    x = (z @ TRUTH + 0.1 * np.random.default_rng(0).normal(size=x.shape)).astype("float32")
    terms = [kp.PhysicsTerm("t", "prediction", weight=0.5)]
    model = model_of(lambda z, p: {"t": law(z) + 0.1}, terms, 0)
    kernel = np.vstack([TRUTH[:2], [[0.2, 0.7]]]).astype("float32")
    model.layers[1].set_weights([kernel, np.full(2, 0.21, "float32")])
    report = kp.diagnose(model, z, x, validation_data=data(200, 1))
    row = report["t"]
    assert row.loss <= 1.5 * row.floor
    assert 1.5 * row.val_floor < row.val_loss <= 5 * row.val_floor
    assert one(report, "better-teacher").term == "t"


@pytest.mark.slow
def test_at_weight_0_no_smaller_weight_is_advised():
    z, x = data(60, 0)
    terms = [kp.PhysicsTerm("t", "prediction", weight=0.0)]
    model = model_of(lambda z, p: {"t": 2 * law(z)}, terms, 0)
    model.layers[1].set_weights([TRUTH, np.zeros(2, "float32")])
    cure = one(kp.diagnose(model, z, x, validation_data=data(200, 1)), "at-floor").cure
    assert cure.startswith("At a weight above 0 the physics takes the network away")


def test_a_worse_teacher_says_so_with_both_numbers():
    report = report_of(FAULTS["worse than the network"][0], 64)
    finding = one(report, "below-floor")
    assert finding.severity == "warning"
    assert "the physics is the worse teacher" in finding.message
    assert "200 held-out rows" in finding.message


def of_a_sum(z, p):
    """The second label by the sum of both, less the first prediction."""
    return {"t": ops.sum(law(z), -1, keepdims=True) - p[:, :1]}


def sum_model(kernel):
    model = model_of(of_a_sum, [kp.PhysicsTerm("t", "prediction", [1], weight=0.5)], 0)
    model.layers[1].set_weights([np.asarray(kernel, "float32"), np.full(2, 0.02, "float32")])
    return model


def test_errors_that_cancel_in_the_physics_leave_it_open_who_is_the_better_teacher():
    """What one prediction has too much, the other lacks: the physics sees none of it."""
    z, x = data(100, 0)
    opposite = TRUTH + np.array([[0.5, -0.5], [0.0, 0.0], [0.0, 0.0]])
    report = kp.diagnose(sum_model(opposite), z, x, validation_data=data(200, 1))
    teacher = report["t"].teacher
    assert (teacher.verdict, teacher.independent) == ("better", False)
    assert teacher.floor == pytest.approx(0.02, rel=0.3)
    assert teacher.network == pytest.approx(0.26, rel=0.3)
    finding = one(report, "below-floor")
    assert finding.severity == "info"
    assert f"by {teacher.floor:.3g} and the network by {teacher.network:.3g}" in finding.message
    assert "errors of the network may cancel in it" in finding.message
    assert "the physics is the better teacher" not in finding.message
    assert "sanity_sweep" in finding.cure


def test_physics_that_takes_the_prediction_teaches_where_it_is_obeyed_on_given_rows_alone():
    z, x = data(100, 0)
    z[:, 2] = 0.0
    x = (z @ TRUTH + 0.1 * np.random.default_rng(0).normal(size=x.shape)).astype("float32")
    wrong_elsewhere = np.vstack([TRUTH[:2], [[1.0, 1.0]]])
    report = kp.diagnose(sum_model(wrong_elsewhere), z, x, validation_data=data(200, 1))
    assert "the physics is the better teacher" in one(report, "memorised").message


# Rows that carry the loss.


def test_few_rows_are_named_with_what_they_have_in_common():
    setup = FAULTS["division by nearly 0"][0](400, 0)
    report = kp.diagnose(setup.model, setup.z, setup.x)
    finding = one(report, "few-rows")
    off = np.flatnonzero(setup.z[:, 0] == 0)
    assert set(report["t"].few_rows.numbers) == set(off.tolist())
    assert f"{len(off)} of 400 rows (3 %) carry 100 % of the loss of 't'" in finding.message
    lowest = setup.z[setup.z[:, 0] > 0, 0].min()
    assert f"x[:, 0] is 0 there, and {lowest:.3g} to" in finding.message
    assert "few-rows" in one(report, "dominates").cure
    assert "Start from a weight" not in one(report, "dominates").cure


@pytest.mark.parametrize(
    ("rows", "big", "share", "expected"),
    [
        (40, 2, 0.95, 2),
        (39, 1, 0.95, None),  # Too few rows to tell.
        (40, 3, 0.95, None),  # More than 5 % of them.
        (40, 2, 0.85, None),  # Less than 90 % of the loss.
    ],
)
def test_the_limits_of_few_rows(rows, big, share, expected):
    losses = np.full(rows, (1 - share) / (rows - big))
    losses[:big] = share / big
    found = find_few_rows(values(losses), np.zeros((rows, 1)), True, kp.Thresholds())
    assert (None if found is None else len(found.numbers)) == expected


def test_one_row_alone_is_only_told_by_an_extreme_input():
    losses = np.full(100, 1e-6)
    losses[7] = 1.0
    x = np.random.default_rng(0).normal(size=(100, 1))
    assert find_few_rows(values(losses), x, True, kp.Thresholds()).traits == ()
    x[7] = 50.0
    (said,) = find_few_rows(values(losses), x, True, kp.Thresholds()).traits
    assert said.startswith("x is 50 there")


@pytest.mark.parametrize("seed", slow_but({0}, range(2)))
def test_healthy_heavy_tails_are_no_few_rows(seed):
    report = report_of(HEALTHY["heavy tails"], 64, seed)
    assert report["t"].few_rows is None


# Units.

TOLD_FACTORS = {
    "kW for W, x_hat": ["1000 times the label", "kW and W"],
    "kW for W, residual": ["the part from the labels", "kW and W"],
    "swapped sign, x_hat": ["the output is minus the label", "a sign?"],
    "swapped sign, residual": ["is minus the part from the inputs", "a sign?"],
    "degrees for kelvin": ["the label -273.", "kelvin and degrees Celsius?"],
    "Fahrenheit": ["times the label", "Celsius and Fahrenheit"],
    "forgotten unscaling": ["times the label + "],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    slow_but({"kW for W, residual", "swapped sign, x_hat", "degrees for kelvin"}, TOLD_FACTORS),
)
def test_the_factor_is_told(name):
    report, words = report_of(FAULTS[name][0], 256), TOLD_FACTORS[name]
    finding = next(f for f in report.findings if f.code == "rescaled")
    for word in words:
        assert word in finding.message
    assert "256 rows" in finding.message
    assert "biased" not in [f.code for f in report.findings]


@pytest.mark.slow
def test_what_a_correction_leaves_is_told():
    z, x = data(60, 0)
    model = model_of(connected(lambda z: 1.1 * law(z) + 3), [kp.PhysicsTerm("t", "target")], 0)
    finding = next(f for f in kp.diagnose(model, z, x).findings if f.code == "rescaled")
    difference = (1.1 * z @ TRUTH + 3 - x)[:, 0]
    assert f"the label +{difference.mean():.4g} in component 0" in finding.message
    left = np.var(difference) / np.mean(difference**2)
    assert f"{100 * left:.2g} % of the mean square at the labels would be left" in finding.message


def test_an_estimate_that_is_exact_at_night_is_no_inequality():
    z, _ = data(100, 0)
    terms = [kp.PhysicsTerm("t", "target", weight=0.5)]
    model = model_of(connected(lambda z: 1.4 * ops.relu(law(z))), terms, 0)
    report = kp.diagnose(model, z, np.maximum(z @ TRUTH, 0))
    codes = {finding.code for finding in report.findings}
    assert "rescaled" in codes
    assert "violated" not in codes


def test_noise_on_either_side_is_no_factor():
    """The slope of a regression on what has noise is 1 / (1 + noise^2) in the mean."""
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(2, 2000))
    for said, other in ((truth, truth + noise), (truth + noise, truth)):
        found = relate(0, said[:, None], other[:, None], 0.95)
        assert found.r2 == pytest.approx(0.5, abs=0.05)
        assert abs(found.slope_low) < 1 < abs(found.slope_high)


def test_few_rows_leave_the_relation_open():
    """16 rows of a wrong column: nothing is claimed that their interval does not hold."""
    claims = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        found = relate(0, rng.normal(size=(16, 1)), rng.normal(size=(16, 1)), 0.95)
        claims.append(found.r2_high)
    assert np.median(claims) > 0.3


def test_too_few_rows_are_told_with_their_number():
    report = report_of(FAULTS["other order of rows, x_hat"][0], 16)
    findings = [f for f in report.findings if f.code == "too-few-rows"]
    assert "16 rows" in findings[0].message
    assert "goes along with the label" in findings[0].message
    assert "unrelated" not in [f.code for f in report.findings]


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1e3, "kW and W"), (1e-3, "kW and W"), (57.3, "degrees and radians"), (7.0, None)],
)
def test_names_of_factors(factor, words):
    found = known_factor(1.005 * factor, 0.99 * factor, 1.01 * factor)
    if words is None:
        assert found is None
    else:
        known, said = found
        assert known == pytest.approx(factor, rel=1e-3)
        assert words in said


def test_a_wide_interval_names_no_units():
    assert known_factor(1.5, 1.3, 1.9) is None  # Miles and kilometres, or Fahrenheit.
    assert known_factor(55.0, 50.0, 58.0)[1] == "degrees and radians"
    assert known_factor(55.0, 45.0, 62.0) is None  # Or minutes and seconds.


# Few rows, and what they hold.


@pytest.mark.slow
@pytest.mark.parametrize(("bias", "code"), [(1.5, "biased"), (0.0, None)])
def test_bias_on_16_rows(bias, code):
    z, x = data(16, 3)
    x = (z @ TRUTH + 0.1 * (np.random.default_rng(3).normal(size=x.shape) + bias)).astype("float32")
    report = kp.diagnose(model_of(lambda z, p: p - law(z), {"t": 0.5}, 0), z, x)
    assert [f.code for f in report.findings if f.code == "biased"] == ([code] if code else [])


@pytest.mark.slow
def test_held_out_labels_count_for_a_bias():
    z, x = data(12, 0)
    z_val, x_val = data(40, 1)
    model = model_of(lambda z, p: p - law(z), {"t": 0.5}, 0)
    alone = kp.diagnose(model, z, x + np.float32(0.07))
    assert "biased" not in [f.code for f in alone.findings]
    few = one(alone, "too-few-rows")
    assert "12 rows leave" in few.message
    both = kp.diagnose(
        model, z, x + np.float32(0.07), validation_data=(z_val, x_val + np.float32(0.07))
    )
    assert "over 52 values" in one(both, "biased").message


def test_an_inequality_says_how_many_labels_break_it():
    z, x = data(200, 0)
    model = model_of(lambda z, p: ops.relu(p[:, :1] - 0.5), {"t": 0.5}, 0)
    report = kp.diagnose(model, z, x)
    broken = x[:, 0] - 0.5
    finding = one(report, "violated")
    assert f"{100 * np.mean(broken > 0):.2g} % of the labels break" in finding.message
    assert f"by up to {broken.max():.3g}" in finding.message
    assert f"{np.sum(broken > 0)} of 200 values" in finding.message
    assert "biased" not in [f.code for f in report.findings]


class Shift(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.shift = kp.Constant(0.0, name="shift")

    def call(self, z, p):
        return p - law(z) - self.shift()


@pytest.mark.slow
def test_a_bias_beside_a_trainable_constant_names_it():
    z, x = data(100, 0)
    report = kp.diagnose(model_of(Shift(), {"t": 0.5}, 0), z, x + np.float32(0.2))
    finding = one(report, "biased")
    assert "'shift'" in finding.cure
    assert "let a trainable constant" not in finding.cure


# Where the labels stand in for the prediction.


def in_parts(z, p):
    return {"t": p["u"] - law(z)[:, 0], "s": p["v"][:, 0] - law(z)[:, 1]}


def floor_of_parts(build):
    z, x = data(50, 0)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    model = build(inputs, kp.PhysicsRegularization(in_parts, {"t": 0.5, "s": 0.5}))
    model.compile("sgd", "mse")
    report = kp.diagnose(model, z, x)
    expected = np.mean((x - z @ TRUTH) ** 2, axis=0)
    assert [report[name].floor for name in "ts"] == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.slow
def test_floor_where_the_physics_takes_slices_of_the_output():
    class Net(kp.PhysicsModel):
        def __init__(self, layer):
            super().__init__()
            self.dense, self.layer = keras.layers.Dense(2), layer

        def call(self, z):
            x = self.dense(z)
            self.layer(z, {"u": x[:, 0], "v": x[:, 1:]})
            return x

    def build(inputs, layer):
        net = Net(layer)
        net.compile("sgd", "mse")
        net(np.zeros((2, 3), "float32"))
        return net

    floor_of_parts(build)


@pytest.mark.slow
def test_floor_where_the_output_is_made_of_parts():
    def build(inputs, layer):
        u = keras.layers.Dense(1)(inputs)
        v = keras.layers.Dense(1)(inputs)
        passed = layer(inputs, {"u": u[:, 0], "v": v})
        return kp.PhysicsModel(inputs, ops.concatenate([passed["u"][:, None], passed["v"]], -1))

    floor_of_parts(build)


def test_no_floor_where_the_prediction_is_something_else():
    z, x = data(50, 0)
    inputs = keras.Input((3,))
    layer = kp.PhysicsRegularization(lambda z, p: p - law(z), {"t": 0.5})
    passed = layer(inputs, keras.layers.Dense(2)(inputs))
    model = kp.PhysicsModel(inputs, 2 * passed)
    model.compile("sgd", "mse")
    assert kp.diagnose(model, z, x)["t"].floor is None


@pytest.mark.slow
def test_the_same_findings_for_a_vector():
    z, x = data(60, 0)
    physics = lambda z, p: p[:, 0] + law(z)[:, 0]  # noqa: E731
    report = kp.diagnose(linear_model(physics, {"t": 0.5}, outputs=1), z, x[:, 0])
    assert "rescaled" in [f.code for f in report.findings]


def test_a_factor_in_one_of_two_inputs_is_told_though_both_go_along_in_part():
    """`x_hat = z_0 + 3.5 z_1` beside `x = z_0 + z_1 / 2`: r2 is 0.46, the slope 3.3."""
    z, x = data(200, 0)
    factors = np.array([[1.0, 0.0], [3.5, 1.0], [0.0, 0.5]], "float32")
    terms = [kp.PhysicsTerm("t", "target", weight=0.5)]
    model = model_of(connected(lambda z: ops.matmul(z, factors)), terms, 0)
    finding = one(kp.diagnose(model, z, x), "rescaled")
    r2 = np.corrcoef(x[:, 0], (z @ factors)[:, 0])[0, 1] ** 2
    slope = np.std((z @ factors)[:, 0]) / np.std(x[:, 0])
    assert "in component 0" in finding.message
    assert f"{slope:.4g} times the label" in finding.message
    assert f"Both go along in part (r2 {r2:.2f})" in finding.message


@pytest.mark.slow
def test_noise_however_large_is_no_factor():
    """Of errors on either side the slope lies between the two regressions."""
    for seed in range(5):
        z, x = data(100, seed, noise=3.0)
        terms = [kp.PhysicsTerm("t", "target", weight=0.5)]
        report = kp.diagnose(model_of(connected(law), terms, seed), z, x)
        assert "rescaled" not in [f.code for f in report.findings]


@pytest.mark.slow
def test_an_inequality_that_every_label_breaks_is_told():
    """No prediction fulfils it either, so that it never shows as one by a 0."""
    z, x = data(64, 0)
    x = np.abs(x) + 0.1
    model = model_of(lambda z, p: ops.relu(p[:, :1]), {"t": 0.1}, 0)
    model.layers[1].set_weights([0 * TRUTH, np.ones(2, "float32")])
    finding = one(kp.diagnose(model, z, x), "biased")
    assert f"mean {np.mean(x[:, 0]):+.3g} with sd {np.std(x[:, 0]):.3g}" in finding.message
    assert (
        "All of them have it: if this is an inequality, every label breaks it." in finding.message
    )


@pytest.mark.parametrize(
    "physics",
    [
        pytest.param(lambda z, p: ops.abs(p - law(z)), marks=pytest.mark.slow),
        lambda z, p: ops.sum((p - law(z)) ** 2, -1),
        pytest.param(lambda z, p: ops.exp(p[:, 0]), marks=pytest.mark.slow),
    ],
    ids=["size", "square", "exponential"],
)
def test_what_is_never_negative_by_its_form_has_no_bias(physics):
    z, x = data(64, 0)
    report = kp.diagnose(model_of(physics, {"t": 1e-4}, 0), z, x)
    assert "biased" not in [f.code for f in report.findings]
