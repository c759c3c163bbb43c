"""MirroredStrategy over two virtual CPU devices, in a separate process."""

import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

PROGRAM = """
import json, sys, warnings
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import keras_physreg as kp
from tests import problems
from tests.derivatives import networks
from tests.derivatives.test_training import model_of, rows

def make(physics, model_class, terms):
    if physics is None:
        return problems.bare_model()
    physics = physics() if isinstance(physics, type) else physics
    return problems.physics_model(physics, terms, model_class)

def train(strategy, rows, *case):
    with strategy.scope():
        model = make(*case)
        model.compile(keras.optimizers.SGD(0.1), "mse")
    z, x = problems.data(rows)
    weight = np.linspace(0.5, 1.5, rows).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((z, x, weight)).batch(16)
    history = model.fit(dataset, epochs=2, verbose=0, validation_data=dataset).history
    kp.set_term_weights(model, {name: 2.0 for name in kp.get_term_weights(model)})
    history["after"] = model.evaluate(dataset, verbose=0)
    return history, [v.numpy().tolist() for v in model.trainable_variables]

def train_unlabelled(strategy, rows, kind):
    with strategy.scope():
        model = make(problems.doubling, kp.PhysicsModel, problems.terms())
        model.compile(keras.optimizers.SGD(0.1), "mse")
    z, x = problems.data(rows)
    weight = np.linspace(0.5, 1.5, rows).astype("float32")
    more, _ = problems.data(30, 1)
    given = {"unlabelled": more, "unlabelled_batch_size": 10}
    if kind == "arrays":
        given |= {"x": z, "y": x, "sample_weight": weight, "batch_size": 16}
    else:
        given["x"] = tf.data.Dataset.from_tensor_slices((z, x, weight)).batch(16)
    history = model.fit(**given, epochs=3, shuffle=False, verbose=0).history
    return history, [v.numpy().tolist() for v in model.trainable_variables]

def train_derivatives(strategy, kind):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = model_of(networks.dense(outputs=1) if kind == "rules" else networks.OwnNetwork())
        model.compile(keras.optimizers.SGD(0.1), "mse")
    logs = model.fit(*rows(64), batch_size=32, epochs=2, shuffle=False, verbose=0).history
    return {"pde_loss": logs["pde_loss"]}, [v.numpy().tolist() for v in model.trainable_variables]

def count_warnings(strategy, model_class, dead):
    def physics(z, x):
        return 2 * (keras.ops.stop_gradient(x) if dead else x) - z[:, :2]

    with strategy.scope():
        model = problems.physics_model(physics, {"r": 0.5}, model_class)
        model.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*problems.data(32), batch_size=16, epochs=2, verbose=0)
    return sum("trains nothing" in str(each.message) for each in caught)

results = {}
kinds = {"model": kp.PhysicsModel, "plain": keras.Model}
cases = {
    "constant": (32, problems.BoundedGain, kp.PhysicsModel, problems.terms()),
    "plain": (32, problems.residual, keras.Model, {"r": 0.5}),
    "bare": (37, None, None, None),
    "ragged": (37, problems.doubling, kp.PhysicsModel, problems.terms()),
}
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
strategies = tf.distribute.get_strategy(), mirrored
for name in sys.argv[1:]:
    if name.startswith("warnings"):
        kind, dead = name.split(", ")[1:]
        results[name] = count_warnings(mirrored, kinds[kind], dead == "dead")
    elif name.startswith("derivatives"):
        results[name] = [train_derivatives(s, name.split(", ")[1]) for s in strategies]
    elif name in cases:
        results[name] = [train(s, *cases[name]) for s in strategies]
    else:
        kind = name.split(", ")[1]
        results[name] = [train_unlabelled(s, 32, kind) for s in strategies]
print("RESULTS" + json.dumps(results))
"""


WARNINGS = [
    f"warnings, {kind}, {term}" for kind in ("model", "plain") for term in ("dead", "alive")
]
ALIKE = ["constant", "plain", "unlabelled, arrays", "unlabelled, dataset"]
DERIVATIVES = ["derivatives, rules", "derivatives, whole"]


@functools.cache
def results():
    """What all cases give on one device and on two, from one process."""
    cases = [*ALIKE, *DERIVATIVES, "ragged", "bare", *WARNINGS]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *cases],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("RESULTS")[1])


def worst_difference(one, two):
    """The largest relative difference of any logged value or trained weight."""
    pairs = zip(flat([*one[0].values(), one[1]]), flat([*two[0].values(), two[1]]), strict=True)
    return max(abs(a - b) / max(abs(a), 1e-3) for a, b in pairs)


def flat(values):
    return [x for v in values for x in flat(v)] if isinstance(values, list) else [values]


@pytest.mark.slow
@pytest.mark.parametrize("case", ALIKE)
def test_two_devices_train_as_one_with_the_same_global_batch(case):
    assert worst_difference(*results()[case]) < 1e-5


@pytest.mark.slow
def test_a_ragged_last_batch_differs_a_little_as_it_does_without_physics():
    """The means of all devices count the same, even of 2 and of 3 rows: see the README."""
    with_physics, bare = ([run[0]["loss"] for run in results()[c]] for c in ("ragged", "bare"))
    for one, two in (with_physics, bare):
        assert two == pytest.approx(one, rel=0.05)
        assert two != pytest.approx(one, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", DERIVATIVES)
def test_two_devices_train_as_one_by_derivatives(case):
    (alone, expected), (mirrored, weights) = results()[case]
    np.testing.assert_allclose(mirrored["pde_loss"], alone["pde_loss"], rtol=1e-5)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", WARNINGS)
def test_a_term_that_trains_nothing_is_told_once_on_two_devices(case):
    """On one device: see test_unreached_terms.py."""
    assert results()[case] == case.endswith("dead")
