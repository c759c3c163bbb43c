"""Times replicas in compiled programs against `model.fit`, in turn in one process.

Steady state: microseconds per step and replica in a second training, which compiles nothing.
"shared": all replicas see the same batches. "own": every replica has rows and a seed of its own, as
in a cross-validated sweep, where nothing is shared; drawing the weights by seed counts, too. The
factors against `fit` are those of "own". The best `fit` is the fastest of steps_per_execution 32
and 128, with and without jit_compile. Compile time and the peak memory of the process stand beside
it.

Run: python tests/benchmarks/sweep.py [--models mlp norm conv gru] [--replicas 64]
For a comparison with KerasTuner in which replicas compile: --models mlp --replicas --tuner
With `--models mlp512`, or another number, both hidden layers of the MLP are that wide.
"""

import argparse
import itertools
import os
import resource
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

import keras_physreg as kp

LAYERS = keras.layers
BATCH = 64


def calc_reg_terms(z, x_pred):
    first = keras.ops.reshape(z, (-1, int(np.prod(z.shape[1:]))))[:, :5]
    return {"x": keras.ops.tanh(first + 0.1 * x_pred), "z": keras.ops.exp(0.1 * x_pred) - first}


def has_rows_of_numbers(kind):
    """Whether a row of the inputs is 8 numbers, else a sequence."""
    return kind.startswith(("mlp", "norm"))


def width(kind):
    return int(kind.removeprefix("mlp") or 64) if kind.startswith("mlp") else 64


def hidden_layers(kind, z):
    if kind == "conv":
        h = LAYERS.Conv1D(16, 5, activation="relu")(z)
        return LAYERS.Flatten()(LAYERS.MaxPooling1D(2)(h))
    if kind in ("gru", "lstm"):
        return {"gru": LAYERS.GRU, "lstm": LAYERS.LSTM}[kind](16)(z)
    h = z
    for _ in range(2):
        h = LAYERS.Dense(width(kind), activation="tanh")(h)
        if kind == "norm":
            h = LAYERS.Dropout(0.1)(LAYERS.BatchNormalization()(h))
    return h


def build(kind, **compile_args):
    shape = (8,) if has_rows_of_numbers(kind) else (32, 4)
    z = keras.Input(shape)
    x = LAYERS.Dense(5)(hidden_layers(kind, z))
    terms = [kp.PhysicsTerm("x", "target", weight=0.1), kp.PhysicsTerm("z", weight=0.1)]
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(calc_reg_terms, terms)(z, x))
    model.compile(keras.optimizers.Adam(1e-3), "mse", **compile_args)
    return model


def make_data(kind, rows):
    rng = np.random.default_rng(0)
    shape = (rows, 8) if has_rows_of_numbers(kind) else (rows, 32, 4)
    return rng.normal(size=shape).astype("float32"), rng.normal(size=(rows, 5)).astype("float32")


def steps_of(data):
    """Steps per epoch."""
    return len(data[0]) // BATCH


def time_fit(kind, data, epochs, **compile_args):
    """Microseconds per step of `fit`, the second call: the first one compiles."""
    model = build(kind, **compile_args)
    fit = {"batch_size": BATCH, "verbose": 0}
    model.fit(*data, epochs=2, **fit)
    start = time.perf_counter()
    model.fit(*data, epochs=epochs, **fit)
    return (time.perf_counter() - start) / epochs / steps_of(data) * 1e6


def best_fit(kind, data, epochs, steps_per_execution):
    found = {}
    for steps, jit in itertools.product(steps_per_execution, (False, True)):
        try:
            found[steps, jit] = time_fit(
                kind, data, epochs, steps_per_execution=steps, jit_compile=jit
            )
        except tf.errors.OpError:
            continue  # XLA does not know one of the operations.
    best = min(found, key=found.get)
    return found[best], f"steps_per_execution={best[0]}, jit_compile={best[1]}"


def train_replicas(kind, data, replicas, epochs, own, engine="auto"):
    """A trainer of replicas that has trained so many epochs, with its history.

    Args:
        kind: The model.
        data: Inputs and labels.
        replicas: Number of replicas.
        epochs: Epochs to train.
        own: Whether each replica has a seed, and trains on four fifths of rows drawn by it.
        engine: As in `ReplicaTrainer`.
    """
    rows, seeds = None, None
    if own:
        count = len(data[0])
        data = [np.concatenate([part, part[: count // 4]]) for part in data]
        seeds = list(range(replicas))
        rows = [np.random.default_rng(seed).permutation(len(data[0]))[:count] for seed in seeds]
    weights = {"x": np.geomspace(1e-10, 1.0, replicas)}
    trainer = kp.ReplicaTrainer(build(kind), weights, seeds, engine=engine)
    return trainer, trainer.fit(*data, batch_size=BATCH, epochs=epochs, rows=rows, verbose=0)


def time_replicas(kind, data, replicas, epochs, own, engine="auto"):
    """Microseconds per step and replica, seconds to compile, and the engine."""
    trainer, first = train_replicas(kind, data, replicas, 2, own, engine)
    # The first training also compared the engine with `fit`.
    again = trainer.refit(first.weights, trainer.seeds, epochs=epochs, verbose=0)
    micro = sum(again.seconds) / epochs / steps_of(data) / replicas * 1e6
    return micro, first.seconds[0], first.engine


def time_tuner(kind, data, epochs, trials):
    """Seconds per trial of KerasTuner's RandomSearch, which builds and compiles each model anew."""
    import keras_tuner

    def build_trial(hp):
        model = build(kind, steps_per_execution=32)
        weight = hp.Float("x", 1e-10, 1.0, sampling="log")
        kp.set_term_weights(model, {"x": weight})
        return model

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            build_trial,
            keras_tuner.Objective("val_data_loss", "min"),
            max_trials=trials,
            directory=folder,
        )
        start = time.perf_counter()
        tuner.search(*data, validation_data=data, epochs=epochs, batch_size=BATCH, verbose=0)
        return (time.perf_counter() - start) / trials


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(kind, arguments):
    data = make_data(kind, arguments.rows)
    default = time_fit(kind, data, arguments.fit_epochs)
    best, how = best_fit(kind, data, arguments.fit_epochs, arguments.fit_steps)
    print(f"\n{kind}: fit {default:.0f} us per step by default, {best:.0f} at best ({how})")
    print(f"{'K':>5}{'shared':>9}{'own':>9}{'x best':>8}{'x default':>11}{'compile s':>11}", end="")
    print(f"{'peak MiB':>10}  engine")
    slowness = (width(kind) / 64) ** 2 if has_rows_of_numbers(kind) else 10
    for replicas, asked in itertools.product(arguments.replicas, arguments.engines):
        epochs = max(2, int(arguments.replica_steps / slowness / replicas / steps_of(data)))
        shared = float("nan")
        if not arguments.own:
            shared, _, _ = time_replicas(kind, data, replicas, epochs, False, asked)
        micro, compiling, engine = time_replicas(kind, data, replicas, epochs, True, asked)
        row = f"{replicas:5}{shared:9.1f}{micro:9.1f}{best / micro:8.1f}{default / micro:11.1f}"
        print(f"{row}{compiling:11.1f}{peak_memory():10.0f}  {engine}", flush=True)
    if arguments.tuner:
        compare_with_tuner(kind, data, arguments.fit_epochs)


def compare_with_tuner(kind, data, epochs):
    seconds = time_tuner(kind, data, epochs, trials=3)
    start = time.perf_counter()
    train_replicas(kind, data, 64, epochs, own=True)
    replicas = (time.perf_counter() - start) / 64
    print(
        f"KerasTuner: {seconds:.2f} s per trial of {epochs * steps_of(data)} steps (3 trials); 64 "
        f"replicas with compiling {replicas:.3f} s each: {seconds / replicas:.0f} times"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mlp", "norm", "conv", "gru"])
    parser.add_argument("--replicas", nargs="*", type=int, default=[1, 8, 64, 256])
    parser.add_argument("--engines", nargs="+", default=["auto"])
    # 128 steps per epoch by default, so that `fit` can take them in one execution.
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--fit-epochs", type=int, default=5, help="of each timed fit")
    parser.add_argument("--fit-steps", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--own", action="store_true", help="leave out shared batches")
    parser.add_argument("--replica-steps", type=int, default=200_000, help="of all replicas")
    parser.add_argument("--tuner", action="store_true", help="compare with KerasTuner, too")
    arguments = parser.parse_args()
    gpus = tf.config.list_physical_devices("GPU")
    chips = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
    on = ", ".join([f"{os.cpu_count()} cores", *chips])
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {on}")
    print(f"Load of the machine in the last minute: {os.getloadavg()[0]:.1f}")
    for kind in arguments.models:
        measure(kind, arguments)
    print(f"Load of the machine in the last minute: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
