"""MirroredStrategy over two virtual CPU devices, in a separate process."""

import json
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from tests.derivatives import networks
from tests.derivatives.test_training import model_of, rows

def train(strategy, network):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = model_of(network())
        model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(*rows(64), batch_size=32, epochs=2, shuffle=False, verbose=0).history
    return history["pde_loss"], [v.numpy().tolist() for v in model.trainable_variables]

print(json.dumps([
    [train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), network),
     train(tf.distribute.get_strategy(), network)]
    for network in (lambda: networks.dense(outputs=1), networks.OwnNetwork)
]))
"""


@pytest.mark.tensorflow
@pytest.mark.slow
def test_two_devices_train_as_one():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    for (mirrored, weights), (alone, expected) in json.loads(run.stdout.splitlines()[-1]):
        np.testing.assert_allclose(mirrored, alone, rtol=1e-5)
        for one, other in zip(weights, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
