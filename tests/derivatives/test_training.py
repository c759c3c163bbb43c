"""Models whose physics uses derivatives: every way to train, predict and serve them."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.derivatives import networks
from tests.derivatives.closed_forms import ACTIVATIONS, derivative
from tests.derivatives.networks import burgers
from tests.variants import slow_but, slow_but_rows

tensorflow_only = pytest.mark.tensorflow


def model_of(network, output="u", physics=burgers):
    z = keras.Input((2,))
    u = kp.Derivatives(network, ["x", "t", "xx"], inputs=["x", "t"])(z)
    u = kp.PhysicsRegularization(physics, {"pde": 0.5})(z, u)
    return kp.PhysicsModel(z, u if output is None else u[output])


def rows(count=250):
    z = networks.points(count, dtype="float32")
    return z, ops.convert_to_numpy(networks.wave(z))


def residual(network, z):
    """The mean square of the residual of `burgers`, in NumPy."""
    u, x, t, xx = (
        derivative(ACTIVATIONS["tanh"], network.get_weights(), z.astype("float64"), letters)
        for letters in ("", "x", "t", "xx")
    )
    return np.mean((t + u * x - 0.1 * xx) ** 2), u


WAYS = {
    "graph": {},
    "run_eagerly": {"run_eagerly": True},
    "jit": {"jit_compile": True},
    "many steps, jit": {"steps_per_execution": 3, "jit_compile": True},
}


@functools.cache
def trained(kind, way):
    keras.utils.set_random_seed(1)
    network = networks.dense(outputs=1) if kind == "rules" else networks.OwnNetwork()
    model = model_of(network)
    model.compile(keras.optimizers.SGD(0.1), "mse", **WAYS[way])
    z, label = rows()
    before = model.evaluate(z, label, batch_size=64, verbose=0, return_dict=True)
    expected, u = residual(network, z)
    assert before["pde_loss"] == pytest.approx(expected, rel=1e-4)
    assert before["data_loss"] == pytest.approx(np.mean((u - label) ** 2), rel=1e-4)
    # The last batch has 58 rows: their number is unknown while the program is compiled.
    history = model.fit(z, label, batch_size=64, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(
        model.predict(z, verbose=0), residual(network, z)[1], rtol=1e-3, atol=1e-5
    )
    return history, model.get_weights()


@tensorflow_only
@pytest.mark.parametrize(
    ("kind", "way"),
    slow_but_rows(
        (0,),
        [("rules", "graph"), ("rules", "jit"), ("whole", "graph"), ("whole", "many steps, jit")],
    ),
)
def test_every_way_to_train_gives_the_same_weights(kind, way):
    """Whose losses are those of the formula."""
    expected, found = trained("rules", "run_eagerly"), trained(kind, way)
    assert found[0]["loss"] == pytest.approx(expected[0]["loss"], rel=1e-4)
    assert found[0]["loss"][1] < found[0]["loss"][0]
    for one, other in zip(found[1][-4:], expected[1][-4:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@tensorflow_only
@pytest.mark.parametrize("highest", slow_but({"xx"}, ["xx", "xxx"]))
def test_a_network_that_joins_tensors_is_told_under_jit(highest):
    """At order 2 the gradient of the training fails, from order 3 the layer itself."""
    z = keras.Input((2,))
    u = kp.Derivatives(networks.Joining(), [highest], inputs=["x", "t"])(z)
    layer = kp.PhysicsRegularization(lambda z, u: u[f"u_{highest}"] - u["u"], {"pde": 1.0})
    model = kp.PhysicsModel(z, layer(z, u)["u"])
    model.compile("sgd", "mse", jit_compile=True)
    with pytest.raises(LookupError, match=r"the network joins tensors.*jit_compile=False"):
        model.fit(*rows(), batch_size=64, verbose=0)
    model.compile("sgd", "mse", jit_compile=True)
    assert np.isfinite(model.fit(*rows(), batch_size=50, verbose=0).history["loss"][0])


@pytest.mark.slow
@tensorflow_only
def test_a_functional_network_may_join_tensors_under_jit():
    z = keras.Input((2,))
    joined = keras.layers.Concatenate()([z[:, 1:], z[:, :1]])
    hidden = keras.layers.Dense(6, "tanh")(joined)
    model = model_of(keras.Model(z, keras.layers.Dense(1)(hidden)))
    model.compile("sgd", "mse", jit_compile=True)
    assert np.isfinite(model.fit(*rows(), batch_size=64, verbose=0).history["loss"][0])


@tensorflow_only
@pytest.mark.slow
def test_replicas_train_as_the_model_alone():
    z, label = rows(64)
    model = model_of(networks.dense(outputs=1))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    start = model.get_weights()
    trainer = kp.ReplicaTrainer(model, {"pde": [0.0, 0.5]})
    history = trainer.fit(z, label, batch_size=32, epochs=2, shuffle=False, verbose=0)
    assert history.engine.startswith("stacked")
    logged = np.asarray(history.history["pde_loss"])
    model.set_weights(start)
    alone = model.fit(z, label, batch_size=32, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(logged[:, 1], alone["pde_loss"], rtol=1e-4)


@tensorflow_only
@pytest.mark.parametrize("kind", ["rules", "whole"])
@pytest.mark.parametrize("output", ["u", None])
def test_predict_computes_no_derivative_that_is_not_used(output, kind):
    """Counted: the products of matrices that the outputs of the program depend on."""
    import tensorflow as tf

    network = networks.dense(outputs=1) if kind == "rules" else networks.OwnNetwork()
    model = model_of(network, output)
    run = tf.function(lambda z: model.predict_step((z,)), autograph=False)
    graph = run.get_concrete_function(tf.TensorSpec((None, 2), "float32")).graph
    bare = 2  # One product per layer.
    assert (_products(graph.outputs) == bare) == (output == "u")


def _products(outputs):
    """The number of matrix products among all that tensors of a graph are computed from."""
    waiting, seen, count = [tensor.op for tensor in outputs], set(), 0
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        count += op.type == "MatMul"
        waiting += [tensor.op for tensor in op.inputs]
    return count


def test_all_derivatives_may_be_outputs_with_a_loss_on_one():
    model = model_of(networks.dense(outputs=1), None)
    model.compile(keras.optimizers.SGD(0.1), {"u": "mse"})
    z, label = rows(64)
    history = model.fit(z, {"u": label}, batch_size=32, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    predicted = model.predict(z, verbose=0)
    assert sorted(predicted) == ["u", "u_t", "u_x", "u_xx"]


def test_terms_that_compare_with_the_label_find_it():
    def physics(z, u):
        return {"pde": u["u_t"], "same": u["u"] + 1}

    z = keras.Input((2,))
    u = kp.Derivatives(networks.dense(outputs=1), ["t"], inputs=["x", "t"])(z)
    terms = [kp.PhysicsTerm("pde"), kp.PhysicsTerm("same", reference="target", weight=0.0)]
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(physics, terms)(z, u)["u"])
    model.compile("sgd", "mse")
    given, label = rows(64)
    logs = model.evaluate(given, label, verbose=0, return_dict=True)
    predicted = model.predict(given, verbose=0)
    assert logs["same_loss"] == pytest.approx(np.mean((predicted + 1 - label) ** 2), rel=1e-5)


@tensorflow_only
def test_dropout_has_one_mask_for_the_output_and_its_derivatives():
    networks.use_float64()
    network = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(6, "tanh"),
            keras.layers.Dropout(0.5, seed=0),
            keras.layers.Dense(1, use_bias=False),
        ]
    )
    layer = kp.Derivatives(network, ["x", "xx"], inputs=["x", "t"])
    z = ops.convert_to_tensor(networks.points())
    found = {key: ops.convert_to_numpy(v) for key, v in layer(z, training=True).items()}
    kernel, bias, last = network.get_weights()
    hidden = networks.points() @ kernel + bias
    terms = {k: ACTIVATIONS["tanh"](hidden, k) * kernel[0] ** k * last[:, 0] * 2 for k in range(3)}
    for row in range(7):  # The mask of a row is the one that explains its output.
        masks = [np.array([(m >> j) & 1 for j in range(6)]) for m in range(64)]
        mask = min(masks, key=lambda m: abs(terms[0][row] @ m - found["u"][row, 0]))
        for order, key in enumerate(["u", "u_x", "u_xx"]):
            assert found[key][row, 0] == pytest.approx(terms[order][row] @ mask, abs=1e-12)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a limit of JAX")
def test_dropout_is_refused_on_jax():
    layers = [keras.layers.Dense(6, "tanh"), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    layer = kp.Derivatives(keras.Sequential([keras.Input((2,)), *layers]), ["x"], ["x", "t"])
    with pytest.raises(NotImplementedError, match="random"):
        layer(ops.convert_to_tensor(networks.points(dtype="float32")), training=True)


@tensorflow_only
@pytest.mark.slow
def test_diagnose_works_and_knows_no_floor():
    """The labels have no derivatives."""
    model = model_of(networks.dense(outputs=1))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    z, label = rows(100)
    model.fit(z, label, verbose=0)
    report = kp.diagnose(model, z, label)
    assert report["pde"].floor is None
    assert not [str(finding) for finding in report.findings if finding.severity == "error"]


@tensorflow_only
def test_gradients_of_tensorflow_in_the_physics_name_the_cure_where_they_cannot_work():
    import tensorflow as tf

    def decay(t, u):
        return tf.gradients(u, t)[0] + u

    t = keras.Input((1,))
    u = keras.layers.Dense(1)(keras.layers.Dense(4, "tanh")(t))
    model = kp.PhysicsModel(t, kp.PhysicsRegularization(decay, {"decay": 1.0})(t, u))
    model.compile("sgd", "mse")
    given = np.ones((8, 1), "float32")
    assert np.isfinite(model.fit(given, given, verbose=0).history["decay_loss"][0])
    with pytest.raises(RuntimeError, match=r"Let `keras_physreg\.Derivatives`"):
        model(ops.convert_to_tensor(given))
