"""The shield alone: it selects the gradient in every way in which TensorFlow takes one."""

import gc
import weakref

import numpy as np
import pytest

from keras_physreg.layers.shield import inside_physics, shield
from tests import kept_graphs
from tests.variants import slow_but

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow
REWRITTEN_GRAPHS = True
X = np.array([[0.25, 4.0], [9.0, 1.0]], "float32")


def bad(x, active):
    """Has a derivative of NaN."""
    value = shield(x, active)
    return tf.sqrt(value - value - 1.0) + 3.0 * value


def by_tape(x, active):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = bad(x, active)
    return tape.gradient(y, x)


def by_tf_gradients(x, active):
    return tf.gradients(bad(x, active), x)[0]


def through_a_function(x, active):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.function(bad)(x, active)
    return tape.gradient(y, x)


def through_a_loop(x, active):
    with tf.GradientTape() as tape:
        tape.watch(x)
        _, y = tf.while_loop(
            lambda i, y: i < 1,
            lambda i, y: (i + 1, bad(y, active)),
            [tf.constant(0), x],
            maximum_iterations=1,  # XLA needs it to keep what the gradient takes.
        )
    return tape.gradient(y, x)


def through_a_branch(x, active):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.cond(x[0, 0] < 1, lambda: bad(x, active), lambda: x)
    return tape.gradient(y, x)


WAYS = [by_tape, by_tf_gradients, through_a_function, through_a_loop, through_a_branch]
EAGER = [by_tape, through_a_function]
KINDS = [
    *((way, "graph") for way in WAYS),
    *((way, "by XLA") for way in WAYS),
    *((way, "eager") for way in EAGER),
]


@pytest.mark.parametrize(("way", "kind"), KINDS, ids=lambda v: getattr(v, "__name__", v))
def test_the_gradient_is_exactly_zero_or_that_of_the_function(way, kind):
    run = way if kind == "eager" else tf.function(way, jit_compile=kind == "by XLA")
    x = tf.constant(X)
    assert np.array_equal(run(x, tf.constant(False)), np.zeros_like(X))
    assert np.isnan(run(x, tf.constant(True))).all()


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "by XLA"])
def test_each_replica_has_its_own(jit):
    def replica(arguments):
        return by_tape(*arguments)

    run = tf.function(lambda *a: tf.vectorized_map(replica, a), jit_compile=jit)
    found = run(tf.constant([X, X]), tf.constant([True, False])).numpy()
    assert np.isnan(found[0]).all()
    assert np.array_equal(found[1], np.zeros_like(X))


@pytest.mark.parametrize("active", [True, False], ids=["active", "inactive"])
def test_derivatives_inside_the_physics_pass(active):
    """The derivative by the input is true, and that of the derivative is the gradient's."""

    @tf.function
    def run(x, weight):
        with tf.GradientTape() as tape:
            tape.watch(weight)
            value = shield(weight * x**3, tf.constant(active))
            with inside_physics():
                first = tf.gradients(value, x)[0]
                second = tf.gradients(first, x)[0]
        return first, second, tape.gradient(second, weight)

    first, second, by_weight = run(tf.constant(X), tf.constant(2.0))
    np.testing.assert_allclose(first, 6 * X**2, rtol=1e-6)
    np.testing.assert_allclose(second, 12 * X, rtol=1e-6)
    np.testing.assert_allclose(by_weight, 6 * X.sum(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_value_and_dtype_stay(dtype):
    x = tf.cast(np.array([[1, np.inf], [-3, 4]]) if dtype != "int32" else X, dtype)
    shielded = shield(x, tf.constant(False))
    assert shielded.dtype == x.dtype
    assert np.array_equal(shielded, x)


@pytest.mark.parametrize("way", slow_but({by_tape}, [by_tape, by_tf_gradients]))
def test_no_graph_is_kept(way):
    kept = kept_graphs.registered()
    function = tf.function(way)
    graph = weakref.ref(function.get_concrete_function(tf.constant(X), tf.constant(True)).graph)
    del function
    gc.collect()
    assert graph() is None
    assert kept_graphs.registered() == kept


@pytest.mark.slow
def test_a_function_with_a_shield_can_be_saved(tmp_path):
    module = tf.Module()
    module.run = tf.function(lambda x: shield(x, tf.reduce_sum(x) > 0) + 1.0)
    module.run(tf.constant(X))
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    np.testing.assert_array_equal(loaded.run(tf.constant(X)), X + 1)
