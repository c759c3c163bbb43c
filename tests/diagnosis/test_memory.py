"""4e4 rows and a model of 1e6 parameters are diagnosed in bounded memory."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import keras, numpy as np
import keras_physreg as kp

z = keras.Input((8,))
hidden = keras.layers.Dense(1000, "relu")(z)
hidden = keras.layers.Dense(1000, "relu")(hidden)
physics = lambda z, x: {"a": x - z[:, :2], "b": x + z[:, 2:4]}
layer = kp.PhysicsRegularization(physics, {"a": 1.0, "b": 1.0})
model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(hidden)))
model.compile("adam", "mse")
assert model.count_params() >= 1_000_000

def peak_megabytes(rows):
    data = np.ones((rows, 8), "float32"), np.ones((rows, 2), "float32")
    report = kp.diagnose(model, *data, batch_size=500, max_samples=None)
    assert report.rows == rows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

few = peak_megabytes(5_000)
print(peak_megabytes(40_000) - few)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_rows():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    # The gradients of 70 more batches, were they kept, would be 70 * 3 * 4 MB.
    assert float(done.stdout.split()[-1]) < 200
