"""What the package costs: training steps, prediction and import, as ratios.

Each row compares two ways to do the same work, in turn, in one process. A repeat runs both a few
times in the order ABBA and takes the ratio of their shortest times; the median of the repeats is
printed, with the quartiles. What else the machine does only lengthens a time, so that the shortest
ones are the surest. Absolute times are those of the machine at that moment.

Run: python tests/benchmarks/overhead.py [--repeats 20] [--rows abcdefg]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_physreg as kp

WEIGHTS = {"x": 0.1, "z": 0.01}
BATCHES = {32: 200, 4096: 40}  # batch size: steps in an epoch
RUNS = 4  # of each of two works in a repeat
EPOCHS = 5  # of the rows with unlabelled data


def physics(z, x_pred):
    return {"x": ops.tanh(z[:, :5]), "z": ops.concatenate([x_pred, x_pred[:, :3]], axis=-1)}


def costly_physics(z, x_pred):
    """About 20 times the operations of the encoder."""
    hidden = ops.tile(x_pred, (1, 32))
    for _ in range(10):
        hidden = ops.tanh(ops.matmul(hidden, ops.eye(160)))
    return {"x": hidden[:, :5], "z": hidden[:, :8]}


def encoder():
    keras.utils.set_random_seed(0)
    z = keras.Input((8,))
    hidden = keras.layers.Dense(64, activation="tanh")(z)
    hidden = keras.layers.Dense(64, activation="tanh")(hidden)
    return keras.Model(z, keras.layers.Dense(5)(hidden))


def with_physics(function=physics):
    terms = [
        kp.PhysicsTerm("x", "target", weight=WEIGHTS["x"]),
        kp.PhysicsTerm("z", "input", weight=WEIGHTS["z"]),
    ]
    return kp.regularize(encoder(), function, terms)


def by_hand_losses(model, z, x):
    x_pred = model(z, training=True)
    outputs = physics(z, x_pred)
    data = ops.mean((x - x_pred) ** 2)
    x_loss, z_loss = ops.mean((outputs["x"] - x) ** 2), ops.mean((outputs["z"] - z) ** 2)
    return data, x_loss, z_loss, data + WEIGHTS["x"] * x_loss + WEIGHTS["z"] * z_loss


class ByHand(keras.Model):
    """The same losses and the same logs in a `train_step` of one's own."""

    logged = ("data_loss", "x_loss", "z_loss", "physics_loss", "loss")

    def __init__(self):
        super().__init__()
        self.encoder = encoder()
        self.trackers = [keras.metrics.Mean(name=name) for name in self.logged]

    def call(self, z, training=None):
        return self.encoder(z, training=training)

    def train_step(self, data):
        z, x = data
        with tf.GradientTape() as tape:
            data_loss, x_loss, z_loss, total = by_hand_losses(self, z, x)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
        values = {"data_loss": data_loss, "x_loss": x_loss, "z_loss": z_loss, "loss": total}
        values["physics_loss"] = total - data_loss
        for tracker in self.trackers:
            tracker.update_state(values[tracker.name], sample_weight=ops.shape(z)[0])
        return {tracker.name: tracker.result() for tracker in self.trackers}


class OnlyLoss(ByHand):
    """The same without the terms in the logs."""

    logged = ("loss",)


def bare_loop(dataset):
    """A `tf.function` and nothing else: no logs, no callbacks."""
    model, optimizer = encoder(), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(z, x):
        with tf.GradientTape() as tape:
            total = by_hand_losses(model, z, x)[-1]
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))

    return lambda: [step(z, x) for z, x in dataset]


def batches(size, count, more=()):
    rng = np.random.default_rng(0)
    arrays = (rng.normal(size=(size * count, *more, width)) for width in (8, 5))
    tensors = tuple(tf.constant(array, tf.float32) for array in arrays)
    return tf.data.Dataset.from_tensor_slices(tensors).batch(size).cache()


def compiled(model, loss="mse"):
    model.compile("adam", loss)
    return model


def fitting(model, dataset, loss="mse"):
    compiled(model, loss)
    return lambda: model.fit(dataset, shuffle=False, verbose=0)


def predicting(model, rows, batch):
    z = np.random.default_rng(0).normal(size=(rows, 8)).astype("float32")
    return lambda: model.predict(z, batch_size=batch, verbose=0)


def scheduled(model, dataset, unit):
    """A fit in which both weights move at every epoch, or at every step."""
    ramp = kp.GeometricRamp(1e-10, 1.0, duration=10**6)
    scheduler = kp.WeightScheduler({"x": ramp, "z": ramp}, unit)
    return lambda: model.fit(dataset, shuffle=False, verbose=0, callbacks=[scheduler])


def fitting_arrays(z, x, unlabelled, batch):
    """A fit of arrays, some of whose rows may carry no label."""
    model = compiled(with_physics())
    more = {} if unlabelled is None else {"unlabelled": unlabelled}
    return lambda: model.fit(z, x, batch_size=batch, epochs=EPOCHS, verbose=0, **more)


def unlabelled_rows(repeats):
    """Half of the rows without labels, against the same batches of rows that all have them."""
    rng = np.random.default_rng(0)
    for batch, steps in BATCHES.items():
        half = batch * steps // 2
        z, x = (rng.normal(size=(2 * half, width)).astype("float32") for width in (8, 5))
        some = fitting_arrays(z[:half], x[:half], z[half:], batch // 2)
        name = f"(f) `fit`, {EPOCHS} epochs, half of the rows unlabelled, against all labelled"
        row(name, batch, some, fitting_arrays(z, x, None, batch), repeats)


def on_some_rows(z, x_pred):
    return {name: kp.on_rows(value, z[:, 7] > 0) for name, value in physics(z, x_pred).items()}


def pump_is_on(z):
    return z[:, 7] > 0


def with_options(function=physics, **options):
    """Both terms with options; a scale is one number per component of the second one."""
    scales = {"x": {"scale": 0.5}, "z": {"scale": [0.5] * 8}} if options.pop("scale", False) else {}
    terms = [
        kp.PhysicsTerm(name, reference, weight=WEIGHTS[name], **scales.get(name, {}), **options)
        for name, reference in (("x", "target"), ("z", "input"))
    ]
    return kp.regularize(encoder(), function, terms)


def sequence_model(mask):
    """The encoder for each of 10 steps, all of which the mask leaves in."""
    keras.utils.set_random_seed(0)
    z = keras.Input((10, 8))
    hidden = keras.layers.Dense(64, activation="tanh")(keras.layers.Masking(1e9)(z))
    x = keras.layers.Dense(5)(keras.layers.Dense(64, activation="tanh")(hidden))
    term = kp.PhysicsTerm("z", "input", components=range(5), weight=WEIGHTS["z"], mask=mask)
    return kp.PhysicsModel(z, kp.PhysicsRegularization(lambda z, x: 2 * x, [term])(z, x))


def option_rows(repeats):
    """Terms with options against the same terms without."""
    for batch, steps in BATCHES.items():
        dataset = batches(batch, steps)
        plain = fitting(with_physics(), dataset)
        for name, model in {
            "`scale`": with_options(scale=True),
            "`on_rows`": with_options(on_some_rows),
            "`where`": with_options(where=pump_is_on),
        }.items():
            name = f"(g) training step with {name} in both terms against without"
            row(name, batch, fitting(model, dataset), plain, repeats)
        scaled = fitting(with_physics(), dataset, kp.ScaledLoss("mse", [0.5] * 5))
        row("(g) training step with `ScaledLoss` against 'mse'", batch, scaled, plain, repeats)
        sequences = batches(batch // 8, steps, (10,))
        masked, plain = (fitting(sequence_model(mask), sequences) for mask in (True, False))
        name = "(g') training step on sequences of 10 with a masked term against `mask=False`"
        row(name, batch // 8, masked, plain, repeats)


IMPORTS = """
import time
start = time.perf_counter(); import keras
middle = time.perf_counter(); import keras_physreg
print((time.perf_counter() - start) / (middle - start))
"""


def import_ratio():
    """The package imports Keras anyway: what it adds is seen in one process."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, check=True)
    return float(done.stdout)


def ratios(first, second, repeats):
    """Returns a ratio per repeat: of the shortest times of two works that run in turn."""
    first(), second()  # Here they trace and compile.
    found = []
    for _ in range(repeats):
        times = {first: [], second: []}
        for run in range(RUNS):
            for work in (second, first) if run % 2 else (first, second):
                start = time.perf_counter()
                work()
                times[work].append(time.perf_counter() - start)
        found.append(min(times[first]) / min(times[second]))
    return found


def row(name, batch, first, second, repeats):
    print_row(name, batch, ratios(first, second, repeats))


def print_row(name, batch, values):
    low, _, high = statistics.quantiles(values, n=4)
    print(f"| {name} | {batch} | {statistics.median(values):.3f} | {low:.3f} to {high:.3f} |")
    sys.stdout.flush()


def training_rows(repeats):
    for batch, steps in BATCHES.items():
        dataset = batches(batch, steps)
        ours = fitting(with_physics(), dataset)
        for name, other in {
            "(a) training step against the same by hand, same logs": fitting(ByHand(), dataset),
            "(a') the same, by hand without the terms in the logs": fitting(OnlyLoss(), dataset),
            "(b) training step against a bare `tf.function` loop": bare_loop(dataset),
        }.items():
            row(name, batch, ours, other, repeats)


def prediction_rows(repeats):
    for batch, steps in BATCHES.items():
        bare = predicting(compiled(encoder()), batch * steps, batch)
        for name, function in {"": physics, ", costly physics": costly_physics}.items():
            model = predicting(compiled(with_physics(function)), batch * steps, batch)
            row(f"(c) `predict` against the bare encoder{name}", batch, model, bare, repeats)


def scheduling_rows(repeats):
    for unit, executed in (("epoch", 1), ("step", 1), ("step", 25)):
        for batch, steps in BATCHES.items():
            dataset = batches(batch, steps)
            model = with_physics()
            plain = fitting(model, dataset)
            model.compile("adam", "mse", steps_per_execution=executed)
            name = f"(e) `fit` with a WeightScheduler against without, unit {unit!r}"
            name += f", {executed} steps per execution" if executed > 1 else ""
            row(name, batch, scheduled(model, dataset, unit), plain, repeats)


def import_rows(repeats):
    imports = [import_ratio() for _ in range(repeats + 1)][1:]
    print_row("(d) `import keras_physreg` against `import keras`", "", imports)


ROWS = {
    "ab": training_rows,
    "c": prediction_rows,
    "e": scheduling_rows,
    "f": unlabelled_rows,
    "g": option_rows,
    "d": import_rows,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rows", default="abcdefg", help="letters of the rows to print")
    arguments = parser.parse_args()
    print("| what | batch size | ratio, median | quartiles |\n| --- | --- | --- | --- |")
    for letters, rows in ROWS.items():
        if set(letters) & set(arguments.rows):
            rows(arguments.repeats)


if __name__ == "__main__":
    main()
