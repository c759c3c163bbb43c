"""Programs on devices. No GPU is at hand: logical devices of a CPU stand in for several."""

import functools
import json
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.replicas import compiled, devices, engines
from keras_physreg.replicas.faster.layers import faster_layers
from keras_physreg.replicas.replica_step import ReplicaStep
from tests import kept_graphs

TWO = ["/device:CPU:0", "/device:CPU:1"]
# Trains 6 replicas, unplaced and on two devices, by XLA and without; prints where and how.
SCRIPT = """
import json
import keras, numpy as np, tensorflow as tf
import keras_physreg as kp
from keras_physreg.replicas import compiled, devices, engines
from keras_physreg.replicas.program import Program
from tests import kept_graphs

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
ran = []
build = Program.__init__
def count(self, *arguments):
    build(self, *arguments)
    ran.append(self)
Program.__init__ = count
keras.utils.set_random_seed(0)
z = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
model = kp.regularize(
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]),
    lambda z, x: x - z[:, :2],
    {"law": 0.0},
)
model.compile(keras.optimizers.Adam(0.1), "mse")

data = set()
place = devices.OnDevice.__call__
def noted(self, structure):
    placed = place(self, structure)
    data.update(t.device for t in keras.tree.flatten(placed) if t is not None)
    return placed
devices.OnDevice.__call__ = noted

def train(per_program):
    ran.clear()
    data.clear()
    kept_graphs.forget_programs()
    trainer = kp.ReplicaTrainer(
        model, {"law": np.linspace(0, 1, 6)}, seeds=range(6), replicas_per_program=per_program
    )
    history = trainer.fit(z, z[:, :2], epochs=2, validation_data=(z, z[:, :2]), verbose=0)
    programs = [p for p in ran if p.spec.epochs == 2]
    return {
        "engine": history.engine,
        "loss": history.history["loss"].tolist(),
        "val_loss": history.history["val_loss"].tolist(),
        "data": sorted(data),
        "variables": [
            sorted({v.value.device for v in [*p.trainable, *p.optimizer.variables, *p.best._kept]})
            for p in programs
        ],
        "dtypes": sorted({v.dtype for p in programs for v in p._variables}),
    }

compiled.cores = lambda: 1
unplaced = train(None)
engines.SLOW_BY_XLA, by_xla = ("MatMul",), engines.SLOW_BY_XLA
without = train(None)
devices.devices = lambda: ["/device:CPU:0", "/device:CPU:1"]
without = [without, train(None), train(2)]
engines.SLOW_BY_XLA = by_xla
print(json.dumps({"by XLA": [unplaced, train(None), train(2)], "without XLA": without}))
"""


@functools.cache
def results():
    """What both kinds of programs give, from one process."""
    command = [sys.executable, "-c", SCRIPT]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["by XLA", "without XLA"])
def test_replicas_are_shared_by_devices(kind):
    unplaced, placed, groups = results()[kind]
    assert ("without XLA" in unplaced["engine"]) == (kind == "without XLA")
    assert "(1 program of 6)" in unplaced["engine"]
    assert "(2 programs of 3 on CPU:0, CPU:1)" in placed["engine"]
    assert "(2 programs of 2 on CPU:0, CPU:1, 3 groups)" in groups["engine"]
    for found in (placed, groups):
        assert [len(names) for names in found["variables"]] == [1, 1]
        assert [names[0][-5:] for names in found["variables"]] == ["CPU:0", "CPU:1"]
        assert [name[-5:] for name in found["data"]] == ["CPU:0", "CPU:1"]
        assert found["dtypes"] == ["float32", "int64"]  # Those of int32 are never on a GPU.
        for key in ("loss", "val_loss"):
            np.testing.assert_allclose(found[key], unplaced[key], rtol=1e-5)


def test_names_of_devices():
    assert devices.shown("/job:localhost/replica:0/task:0/device:GPU:1") == "GPU:1"
    assert devices.shown("/device:CPU:0") == "CPU:0"


def test_without_a_gpu_there_is_a_program_per_core(monkeypatch):
    monkeypatch.setattr(compiled, "cores", lambda: 3)
    assert compiled.places() == [None, None, None]
    monkeypatch.setattr(devices, "devices", lambda: TWO)
    assert compiled.places() == TWO


def test_a_tensor_is_copied_once_per_device():
    tensors = [tf.constant([1.0]), {"y": None, "rows": tf.constant([2])}]
    assert devices.OnDevice(None)(tensors) is tensors
    placed = devices.OnDevice("/device:CPU:0")
    first, again = placed(tensors), placed(tensors)
    assert first[0] is again[0]
    assert first[1]["rows"] is again[1]["rows"]
    assert first[1]["y"] is None
    assert first[0].device.endswith("CPU:0")
    np.testing.assert_array_equal(first[1]["rows"], [2])


def test_on_gpus_convolutions_are_compiled_and_memory_is_not_estimated(monkeypatch):
    model = keras.Sequential([keras.Input((4, 1)), keras.layers.Conv1D(2, 2)])
    model.compile("sgd", "mse")
    model.train_on_batch(np.zeros((2, 4, 1)), np.zeros((2, 3, 2)))
    convolve = tf.function(lambda x: tf.nn.conv1d(x, tf.ones((2, 1, 2)), 1, "VALID"))
    graph = convolve.get_concrete_function(tf.TensorSpec((2, 4, 1))).graph
    on_cores = engines.candidates(ReplicaStep(model), "auto", graph)[0]
    monkeypatch.setattr(devices, "devices", lambda: TWO)
    on_gpus = engines.candidates(ReplicaStep(model), "auto", graph)[0]
    assert (on_cores.jit, on_gpus.jit) == (False, True)
    assert on_cores.max_replicas > 0
    assert on_gpus.max_replicas is None


def test_on_gpus_loops_are_stacked(monkeypatch):
    """In turn, a GPU would run many small operations, one after the other."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.train_on_batch(np.zeros((2, 2)), np.zeros((2, 1)))
    loop = tf.function(lambda n: tf.while_loop(lambda i: i < n, lambda i: (i + 1,), [0]))
    graph = loop.get_concrete_function(tf.TensorSpec((), tf.int32)).graph
    on_cores = engines.candidates(ReplicaStep(model), "auto", graph)[0]
    monkeypatch.setattr(devices, "devices", lambda: TWO)
    on_gpus = engines.candidates(ReplicaStep(model), "auto", graph)[0]
    assert (on_cores.name, on_gpus.name, on_gpus.jit) == ("in-turn", "stacked", False)


@pytest.mark.parametrize(
    ("replicas", "on_cores", "on_gpu"),
    [(1, True, True), (40, True, True), (64, True, True), (100, True, False), (1100, False, False)],
)
def test_which_jobs_take_programs_that_there_are(monkeypatch, replicas, on_cores, on_gpu):
    """On a GPU no groups run one after the other where one program could hold them."""
    there = types.SimpleNamespace(slots=64, programs=[types.SimpleNamespace(size=64)])
    engine = engines.Engine("stacked", "", engines.stacked, jit=True)
    assert compiled.CompiledTrainer(engine, None)._suits(there, replicas) == on_cores
    monkeypatch.setattr(devices, "devices", lambda: ["/device:CPU:0"])
    assert compiled.CompiledTrainer(engine, None)._suits(there, replicas) == on_gpu


@pytest.mark.parametrize(
    ("slots", "replicas", "suits"),
    [(1, 1, True), (1, 8, False), (2, 3, False), (4, 5, True), (4, 64, True), (4, 65, False)],
)
def test_cores_do_not_train_one_by_one_what_they_can_together(monkeypatch, slots, replicas, suits):
    monkeypatch.setattr(compiled, "cores", lambda: 2)
    there = types.SimpleNamespace(
        slots=slots, programs=[types.SimpleNamespace(size=slots // 2)] * 2
    )
    engine = engines.Engine("stacked", "", engines.stacked, jit=True)
    assert compiled.CompiledTrainer(engine, None)._suits(there, replicas) == suits


@pytest.mark.parametrize(("replicas", "suits"), [(8, False), (1023, False), (1024, True)])
def test_a_gpu_runs_no_programs_that_are_almost_empty(monkeypatch, replicas, suits):
    there = types.SimpleNamespace(slots=4096, programs=[types.SimpleNamespace(size=4096)])
    monkeypatch.setattr(devices, "devices", lambda: ["/device:CPU:0"])
    engine = engines.Engine("stacked", "", engines.stacked, jit=True)
    assert compiled.CompiledTrainer(engine, None)._suits(there, replicas) == suits


@pytest.mark.slow
def test_stacked_loops_train_as_those_in_turn(monkeypatch):
    z, x = np.random.default_rng(0).normal(size=(2, 20, 4, 2)).astype("float32")
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.GRU(3), keras.layers.Dense(1)])
    model = kp.regularize(model, lambda z, x: x - z[:, 0, :1], {"law": 0.0})
    model.compile("adam", "mse")

    def train():
        trainer = kp.ReplicaTrainer(model, {"law": [0.0, 1.0]}, seeds=[0, 1])
        return trainer.fit(z, x[:, 0, :1], epochs=2, verbose=0)

    on_cores = train()
    kept_graphs.forget_programs()
    monkeypatch.setattr(devices, "devices", lambda: ["/device:CPU:0"])
    on_gpu = train()
    assert on_cores.engine.startswith("in-turn: ")
    assert on_gpu.engine.startswith("stacked without XLA: ")
    np.testing.assert_allclose(on_gpu.history["loss"], on_cores.history["loss"], rtol=1e-5)


def test_replicas_do_without_the_operations_of_cudnn():
    model = keras.Sequential(
        [
            keras.Input((4, 2)),
            keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True)),
            keras.layers.GRU(3, use_cudnn=False),
        ]
    )
    both, last = model.layers
    parts = [both.forward_layer, both.backward_layer, last]
    with faster_layers(model):
        assert [layer.use_cudnn for layer in parts] == [False] * 3
    assert [layer.use_cudnn for layer in parts] == ["auto", "auto", False]
    with faster_layers(model, only_random=True):
        assert [layer.use_cudnn for layer in parts] == ["auto", "auto", False]
