"""The diagnosis of terms on some of the rows, with masks, and at the labels."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.layers import test_masks as masks
from tests.layers.test_at_labels import sensor_model
from tests.problems import data
from tests.variants import slow_but

pytestmark = pytest.mark.tensorflow
ROWS = 40


def law(z, x_pred):
    """Holds at the labels where the third column is above 0."""
    return {"law": x_pred - z[:, :2]}


def chosen(z, x_pred):
    return {"law": kp.on_rows(law(z, x_pred)["law"], z[:, 2] > 0)}


def weighted(z, x_pred):
    return {"law": kp.on_rows(law(z, x_pred)["law"], ops.relu(z[:, 2]))}


def rows(offset=0.0):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(ROWS, 3)).astype("float32")
    x = z[:, :2] + 0.1 * rng.normal(size=(ROWS, 2)).astype("float32") + offset
    x[z[:, 2] <= 0] += 50.0
    return z, x.astype("float32")


def model(physics=law, term=None):
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    layer = kp.PhysicsRegularization(physics, [term or kp.PhysicsTerm("law")])
    made = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    made.compile("sgd", "mse")
    return made


WAYS = {
    "on_rows": (chosen, None),
    "where": (law, kp.PhysicsTerm("law", where=lambda z: z[:, 2] > 0)),
}


@pytest.mark.parametrize("batch_size", slow_but({ROWS}, [ROWS, 16]))
@pytest.mark.parametrize("way", slow_but({"on_rows"}, WAYS))
def test_the_floor_is_that_of_the_rows_that_count(way, batch_size):
    z, x = rows()
    row = kp.diagnose(model(*WAYS[way]), z, x, batch_size=batch_size).terms[0]
    squares = (x - z[:, :2])[z[:, 2] > 0] ** 2
    assert row.floor == pytest.approx(np.mean(squares), rel=0.1 if batch_size < ROWS else 1e-5)
    assert row.floor < 0.02


def test_the_floor_has_the_weights_of_the_rows():
    z, x = rows()
    row = kp.diagnose(model(weighted), z, x, batch_size=ROWS).terms[0]
    squares = np.mean((x - z[:, :2]) ** 2, axis=1)
    expected = np.average(squares, weights=np.maximum(z[:, 2], 0))
    assert row.floor == pytest.approx(expected, rel=1e-5)


def test_losses_and_floors_are_means_over_what_counts_in_all_batches():
    """Of 40 sorted rows in batches of 16, the first has few that count, and small weights."""
    z, x = rows()
    z, x = z[(order := np.argsort(z[:, 2]))], x[order]
    with_weights = model(weighted)
    row = kp.diagnose(with_weights, z, x, batch_size=16, validation_data=(z, x)).terms[0]
    weights, predicted = np.maximum(z[:, 2], 0), with_weights.predict(z, verbose=0)
    loss, floor = (
        np.average(np.mean((each - z[:, :2]) ** 2, axis=1), weights=weights)
        for each in (predicted, x)
    )
    assert [row.loss, row.val_loss] == pytest.approx([loss, loss], rel=1e-5)
    assert [row.floor, row.val_floor] == pytest.approx([floor, floor], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("way", slow_but({"where"}, WAYS))
def test_a_bias_is_that_of_the_rows_that_count(way):
    fair, off = (kp.diagnose(model(*WAYS[way]), *rows(offset)) for offset in (0.0, 3.0))
    assert "biased" not in {finding.code for finding in fair.findings}
    assert "biased" in {finding.code for finding in off.findings}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_copies_in_place_of_rows_that_do_not_count_are_no_coupling(way):
    report = kp.diagnose(model(*WAYS[way]), *rows())
    assert "mixes-rows" not in {finding.code for finding in report.findings}


def centred(z, x_pred):
    """Couples all rows, or all sequences, that the physics sees."""
    return {"law": x_pred - ops.mean(z[..., :1], axis=0)}


@pytest.mark.slow
def test_rows_that_count_and_are_coupled_are_found():
    report = kp.diagnose(model(centred, WAYS["where"][1]), *rows())
    assert ("mixes-rows", "info") in {(f.code, f.severity) for f in report.findings}


@pytest.mark.slow
def test_the_physics_of_a_masked_term_is_probed_without_a_warning():
    report = kp.diagnose(masks.model(centred, kp.PhysicsTerm("law")), *masks.data())
    assert ("mixes-rows", "info") in {(f.code, f.severity) for f in report.findings}


@pytest.mark.slow
def test_the_floor_of_a_masked_term():
    z, y = masks.data()
    y = np.where(masks.holds()[..., None], z[..., :1] / 2, 7.0).astype("float32")
    row = kp.diagnose(masks.model(), z, y).terms[0]
    assert row.floor == pytest.approx(0.0, abs=1e-10)
    old = kp.diagnose(masks.model(term=kp.PhysicsTerm("r", mask=False)), z, y).terms[0]
    assert old.floor > 1


def test_a_derivative_that_is_not_finite_is_found():
    def trap(z, x_pred):
        return {"law": kp.on_rows(x_pred[:, 0] / ops.relu(z[:, 2]), z[:, 2] > 0)}

    report = kp.diagnose(model(trap), *rows())
    (finding,) = [each for each in report.findings if each.code == "non-finite"]
    assert "its gradient is not" in finding.message
    assert "PhysicsTerm(where=...)" in finding.cure


def nowhere(z):
    return z[:, 2] > 100


def below_zero(z):
    return z[:, 2]


def first_rows(z):
    return z[:5, 2] > 0


def holding(way, where):
    """A model whose term counts where a function of the inputs holds."""
    if way == "where":
        return model(law, kp.PhysicsTerm("law", where=where))
    return model(lambda z, x_pred: {"law": kp.on_rows(law(z, x_pred)["law"], where(z))})


@pytest.mark.parametrize("way", slow_but({"where"}, WAYS))
def test_a_term_that_counts_nowhere_is_a_finding(way):
    report = kp.diagnose(holding(way, nowhere), *rows())
    (finding,) = report.findings
    assert (finding.code, finding.severity, finding.term) == ("nowhere", "warning", "law")
    assert finding.message.startswith("'law' counts in none of the 40 rows: its `where` is false")
    assert "units and columns that `where` compares" in finding.cure
    assert report["law"].loss is None


@pytest.mark.slow
def test_a_term_that_counts_on_unlabelled_rows_alone_counts_somewhere():
    z, x = rows()
    at_walls = holding("where", lambda z: z[:, 2] > 9)
    walls = np.concatenate([z[:4, :2], np.full((4, 1), 10, "float32")], axis=1)
    report = kp.diagnose(at_walls, z, x, unlabelled=walls)
    assert "nowhere" not in {finding.code for finding in report.findings}
    without = kp.diagnose(at_walls, z, x, unlabelled=z[:3])
    (finding,) = [each for each in without.findings if each.code == "nowhere"]
    assert "none of the 43 rows" in finding.message


@pytest.mark.parametrize("way", slow_but({"on_rows"}, WAYS))
def test_weights_below_zero_are_a_finding(way):
    z, x = rows()
    bad = np.flatnonzero(z[:, 2] < 0)
    report = kp.diagnose(holding(way, below_zero), z, x, batch_size=16)
    (finding,) = [each for each in report.findings if each.code == "non-finite"]
    assert (finding.severity, finding.term) == ("error", "law")
    first = ", ".join(map(str, bad[:10]))
    assert (
        f"'law' is nan: its `where` is negative or NaN in {len(bad)} row(s) (rows {first}, ...)"
        in finding.message
    )
    assert "weights >= 0" in finding.cure


@pytest.mark.slow
def test_weights_of_inputs_that_are_nan_are_blamed_on_the_inputs():
    z, x = rows()
    z[7, 2] = np.nan
    report = kp.diagnose(holding("where", lambda z: ops.relu(z[:, 2])), z, x)
    found = [each for each in report.findings if each.code == "non-finite" and each.term == "law"]
    assert "(rows 7), as are the inputs or labels there" in found[0].message
    assert found[0].cure.startswith("Look at these rows of the data")


@pytest.mark.parametrize("way", WAYS)
def test_a_where_of_the_first_rows_alone_is_named(way):
    with pytest.raises(ValueError, match=r"`where` .*term 'law'.*per row.*all rows.*\(5,\)"):
        kp.diagnose(holding(way, first_rows), *rows())


@pytest.mark.slow
def test_a_term_at_the_labels_tells_constants():
    report = kp.diagnose(sensor_model(), *data())
    codes = {(finding.code, finding.term) for finding in report.findings}
    about = {code for code, term in codes if term == "calibration"}
    assert about <= {"biased"}
    assert "unidentified" not in {code for code, _ in codes}
    assert [row.constant for row in report.constants] == ["gain", "offset"]
    assert all(row.sensitivity > 0 for row in report.constants)
    calibration = next(row for row in report.terms if row.term == "calibration")
    z, y = data()
    assert calibration.loss == pytest.approx(np.mean((y - z[:, :2]) ** 2), rel=1e-5)
    assert calibration.floor == pytest.approx(calibration.loss, rel=1e-6)


@pytest.mark.slow
def test_a_term_that_trains_constants_alone_is_not_disconnected():
    terms = [kp.PhysicsTerm("sensor", trains="constants"), kp.PhysicsTerm("calibration")]
    report = kp.diagnose(sensor_model(terms), *data())
    assert not {f.code for f in report.findings if f.term == "sensor"} & {
        *("disconnected", "constants-only", "partly-connected", "at-floor", "dominates")
    }


@pytest.mark.slow
def test_the_rate_changes_no_sensitivity():
    slow, fast = (
        kp.diagnose(sensor_model(physics=physics), *data())
        for physics in (sensor_physics(1.0), sensor_physics(50.0))
    )
    for one, other in zip(slow.constants, fast.constants, strict=True):
        assert other.sensitivity == pytest.approx(one.sensitivity, rel=1e-4)


def sensor_physics(rate):
    from tests.layers.test_at_labels import Sensor

    return Sensor(rate=rate)


def many_rows(seed=0):
    """120 rows; the labels are wrong where the law does not hold, and good elsewhere."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(120, 3)).astype("float32")
    x = z[:, :2] + 0.1 * rng.normal(size=(120, 2)).astype("float32")
    x[z[:, 2] <= 0] += 50.0
    return z, x.astype("float32"), np.flatnonzero(z[:, 2] > 0)


def compared(z, x_pred):
    return {"law": z[:, :2]}


def compared_where(z, x_pred):
    return {"law": kp.on_rows(z[:, :2] + 0 * x_pred, z[:, 2] > 0)}


BESIDE_LABELS = {
    "on_rows": (compared_where, kp.PhysicsTerm("law", "target")),
    "where": (compared, kp.PhysicsTerm("law", "target", where=lambda z: z[:, 2] > 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", slow_but({50}, [120, 50]), ids=["one batch", "batches"])
@pytest.mark.parametrize("way", slow_but({"where"}, WAYS))
def test_few_of_the_rows_that_count_are_named(way, batch_size):
    z, x, there = many_rows()
    x[there[[3, 10]]] += 40.0
    report = kp.diagnose(model(*WAYS[way]), z, x, batch_size=batch_size)
    (finding,) = [each for each in report.findings if each.code == "few-rows"]
    assert finding.message.startswith(f"2 of {len(there)} rows")
    assert set(report["law"].few_rows.numbers) == set(there[[3, 10]].tolist())
    rest = np.delete(there, [3, 10])
    expected = np.mean((x[rest] - z[rest, :2]) ** 2)
    assert report["law"].few_rows.rest == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("way", slow_but({"where"}, BESIDE_LABELS))
def test_physics_and_network_are_compared_on_the_rows_that_count(way):
    z, x, _ = many_rows()
    z_new, x_new, there = many_rows(seed=1)
    made = model(*BESIDE_LABELS[way])
    report = kp.diagnose(made, z, x, validation_data=(z_new, x_new), batch_size=120)
    teacher, predicted = report["law"].teacher, made.predict(z_new, verbose=0)
    assert teacher.rows == len(there)
    floor = np.mean((z_new[:, :2] - x_new)[there] ** 2)
    network = np.mean((predicted - x_new)[there] ** 2)
    assert teacher.floor == pytest.approx(floor, rel=1e-4)
    assert teacher.network == pytest.approx(network, rel=1e-4)
    assert teacher.verdict == "better"


@pytest.mark.slow
def test_weights_of_rows_weigh_the_comparison():
    def physics(z, x_pred):
        return {"law": kp.on_rows(z[:, :2] + 0 * x_pred, ops.relu(z[:, 2]))}

    z, x, _ = many_rows()
    made = model(physics, kp.PhysicsTerm("law", "target"))
    report = kp.diagnose(made, z, x, validation_data=many_rows(1)[:2], batch_size=120)
    z, x, _ = many_rows(1)
    weights, squares = np.maximum(z[:, 2], 0), np.mean((x - z[:, :2]) ** 2, axis=1)
    teacher = report["law"].teacher
    assert teacher.floor == pytest.approx(np.average(squares, weights=weights), rel=1e-4)
    assert teacher.floor == pytest.approx(report["law"].val_floor, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_labels_that_are_not_trusted_have_no_part_in_the_floor(way):
    z, x, there = many_rows()
    trust = np.ones(120, "float32")
    trust[there[:5]] = 0.0
    x[there[:5]] += 30.0
    row = kp.diagnose(model(*WAYS[way]), z, x, sample_weight=trust, batch_size=120)["law"]
    good = there[5:]
    assert row.floor == pytest.approx(np.mean((x[good] - z[good, :2]) ** 2), rel=1e-4)
    assert row.labels.rows == len(good)


@pytest.mark.parametrize("way", slow_but({"where"}, WAYS))
def test_rows_that_are_not_finite_are_named_where_they_count(way):
    z, x, there = many_rows()
    left_out = np.setdiff1d(np.arange(120), there)
    x[left_out[0]] = x[there[7]] = np.nan
    row = kp.diagnose(model(*WAYS[way]), z, x, batch_size=120)["law"]
    assert row.labels.bad_rows == (there[7],)
