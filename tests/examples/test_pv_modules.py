import keras
import numpy as np
import pv_modules as pv
import pvlib
import pytest
from keras import ops


@pytest.fixture(scope="module")
def library():
    return pv.load_library()


@pytest.fixture(scope="module")
def modules():
    return pv.load_modules()


def per_cell_parameters(library):
    """I_L, I_o, R_s, R_sh and a of one cell, as pvlib names and orders them."""
    n = library.N_s
    return (
        library.I_L_ref.to_numpy(),
        library.I_o_ref.to_numpy(),
        (library.R_s / n).to_numpy(),
        (library.R_sh_ref / n).to_numpy(),
        (library.a_ref / n).to_numpy(),
    )


@pytest.fixture(scope="module")
def solved(library, modules):
    """Standardised datasheets which pvlib's solver gives for the library's parameters."""
    points = pvlib.pvsystem.singlediode(*per_cell_parameters(library))
    columns = [np.asarray(points[name]) for name in ("i_sc", "v_oc", "i_mp", "v_mp")]
    Z = modules[0].copy()
    Z[:, :4] = pv.standardise(columns, pv.DATASHEET[:4])
    return Z


def apply_physics(Z, x):
    terms = pv.calc_reg_terms(ops.convert_to_tensor(Z), ops.convert_to_tensor(x))
    return {name: ops.convert_to_numpy(value) for name, value in terms.items()}


def test_rows_and_shapes(modules):
    Z, x = modules
    assert Z.shape == (8138, 8)
    assert x.shape == (8138, 5)
    assert Z.dtype == x.dtype == np.float32
    assert np.isfinite(Z).all()
    assert np.isfinite(x).all()
    assert len(np.unique(Z[:, :5], axis=0)) == len(Z)


def test_written_scales_are_those_of_the_data(modules):
    for columns in modules:
        np.testing.assert_allclose(columns.mean(axis=0, dtype="float64"), 0.0, atol=0.005)
        np.testing.assert_allclose(columns.std(axis=0, dtype="float64"), 1.0, atol=0.001)


def test_units_round_trip(library, modules):
    Z, x = modules
    I_sc, V_oc, *_ = pv.physical(Z.astype("float64"), pv.DATASHEET)
    np.testing.assert_allclose(I_sc, library.I_sc_ref, rtol=1e-6)
    np.testing.assert_allclose(V_oc * library.N_s, library.V_oc_ref, rtol=1e-6)
    parameters = pv.physical(x.astype("float64"), pv.PARAMETERS)
    for quantity, values, expected in zip(
        pv.PARAMETERS, parameters, per_cell_parameters(library), strict=True
    ):
        values = np.exp(values) if quantity.name.startswith("log") else values
        np.testing.assert_allclose(values, expected, rtol=1e-5)
    again = ops.convert_to_numpy(pv.standardise(parameters, pv.PARAMETERS))
    np.testing.assert_allclose(again, x, atol=1e-6)


def test_physics_returns_what_pvlib_solves(solved, modules):
    terms = apply_physics(solved, modules[1])
    np.testing.assert_allclose(terms["z"], solved[:, :4], atol=2e-4)
    np.testing.assert_allclose(terms["x"], modules[1][:, :2], atol=2e-4)


def test_solved_points_lie_on_the_curve_of_pvlib(library, solved):
    parameters = per_cell_parameters(library)
    I_sc, V_oc, I_mp, V_mp = pv.physical(solved.astype("float64")[:, :4], pv.DATASHEET[:4])
    for voltage, current in ((0.0, I_sc), (V_oc, 0.0), (V_mp, I_mp)):
        expected = pvlib.pvsystem.i_from_v(voltage, *parameters)
        np.testing.assert_allclose(current, expected, atol=2e-5)


@pytest.mark.parametrize("parameter", range(5))
def test_physics_notices_a_wrong_parameter(solved, modules, parameter):
    wrong = modules[1].copy()
    wrong[:, parameter] += 0.5
    terms = apply_physics(solved, wrong)
    off = {
        "x": np.abs(terms["x"] - wrong[:, :2]).max(axis=1),
        "z": np.abs(terms["z"] - solved[:, :4]).max(axis=1),
    }
    assert np.median(off["x"]) > 5e-4
    assert np.median(off["z"]) > 0.01


def test_floors(modules):
    Z, x = modules
    assert pv.term_losses(Z, x, x) == pytest.approx({"x": 1.79e-3, "z": 9.1e-4}, rel=0.01)
    terms = apply_physics(Z, x)
    I_sc_misses = np.abs(terms["z"][:, 0] - Z[:, 0]) * pv.DATASHEET[0].sd / 8.454 > 1e-3
    assert I_sc_misses.mean() == pytest.approx(0.207, abs=0.005)
    np.testing.assert_allclose(terms["z"][:, 1:], Z[:, 1:4], atol=5e-4)


def gradients(Z, x, dtype):
    import tensorflow as tf

    Z, x = tf.constant(Z, dtype), tf.constant(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        terms = pv.calc_reg_terms(Z, x)
        loss = ops.sum((terms["x"] - x[:, :2]) ** 2) + ops.sum((terms["z"] - Z[:, :4]) ** 2)
    return tape.gradient(loss, x).numpy()


def test_float32_gradients_agree_with_float64(modules):
    Z, x = modules
    guess = x + np.random.default_rng(0).normal(scale=0.3, size=x.shape).astype("float32")
    single, double = gradients(Z, guess, "float32"), gradients(Z, guess, "float64")
    np.testing.assert_allclose(single, double, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
def test_wild_predictions_keep_finite_losses_and_gradients(modules, scale):
    Z, x = modules
    wild = np.random.default_rng(0).normal(scale=scale, size=x.shape).astype("float32")
    terms = apply_physics(Z, wild)
    assert np.isfinite(terms["x"] ** 2).all()
    assert np.isfinite(terms["z"] ** 2).all()
    assert np.isfinite(gradients(Z, wild, "float32")).all()


def test_physics_is_registered():
    restored = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(pv.calc_reg_terms)
    )
    assert restored is pv.calc_reg_terms


def test_split_keeps_test_and_validation_rows_apart(modules):
    Z, x = modules
    first, second = (pv.split(Z, x, labelled=50, unlabelled=300, seed=s) for s in (0, 1))
    np.testing.assert_array_equal(first.test[0], second.test[0])
    np.testing.assert_array_equal(first.validation[1], second.validation[1])
    assert not np.array_equal(first.labelled[0], second.labelled[0])
    sets = (first.labelled[0], first.validation[0], first.test[0], first.unlabelled)
    assert [len(s) for s in sets] == [50, 1000, 3000, 300]
    assert len(np.unique(np.concatenate(sets), axis=0)) == 4350


def test_more_labels_keep_the_first_ones(modules):
    few, many = (pv.split(*modules, labelled=n) for n in (50, 400))
    np.testing.assert_array_equal(few.labelled[1], many.labelled[1][:50])


def test_split_of_more_rows_than_there_are(modules):
    with pytest.raises(ValueError, match=r"Only 4138 rows are left.*unlabelled=4100"):
        pv.split(*modules, labelled=100, unlabelled=4100)
