"""Start weights while another thread draws from Python's generator, as Dask and Jupyter do."""

import random
import threading

import keras

from keras_physreg.replicas.fresh_weights import FreshWeights
from tests import problems


def test_other_threads_do_not_change_start_weights():
    model = problems.bare_model()
    expected = [FreshWeights(model).draw(seed) for seed in range(20)]
    stop = threading.Event()

    def other():
        while not stop.wait(1e-4):
            random.random()

    thread = threading.Thread(target=other)
    thread.start()
    try:
        found = [FreshWeights(model).draw(seed) for seed in range(20)]
    finally:
        stop.set()
        thread.join()
    for one, other in zip(found, expected, strict=True):
        assert problems.arrays_equal(one.values(), other.values())


def test_start_weights_are_those_of_keras():
    """A seed gives what Keras draws once Python's generator has it."""
    model = problems.bare_model()
    drawn = FreshWeights(model).draw(5)
    state = random.getstate()
    random.seed(5)
    shapes = [layer.kernel.shape for layer in model.layers if layer.weights]
    kernels = [keras.initializers.GlorotUniform()(shape) for shape in shapes]
    random.setstate(state)
    found = [drawn[id(layer.kernel)] for layer in model.layers if layer.weights]
    assert problems.arrays_equal(found, [keras.ops.convert_to_numpy(k) for k in kernels])
