"""What the package costs: training steps, prediction and import, as ratios.

Each row compares two ways to do the same work. Both run in one process, each in a thread of its
own, and take turns of a few steps. A turn is compared with the mean of the turns of the other
before and after it, and the median of these ratios is taken. Which model is built first, and where
it lies in memory, shifts this median by some percent for as long as the models live. So each row
makes them anew a few times in both orders, takes the geometric mean of the two orders, and prints
the median of these means, with their quartiles. Rows (0) compare works with themselves: they
show the error of the method.

Run: python tests/benchmarks/overhead.py [--pairs 5] [--turns 100] [--rows 0abcdefgh] [--batch 32]
"""

import argparse
import os
import statistics
import subprocess
import sys
import warnings
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from turns import ratio

import keras_physreg as kp

# The physics of "x" takes the inputs alone.
warnings.filterwarnings("ignore", "Physics term 'x' .* trains nothing")

WEIGHTS = {"x": 0.1, "z": 0.01}
BATCHES = {32: 20, 4096: 3}  # batch size: steps in a turn
COUNT = 40  # batches of the data


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
    physics_loss = WEIGHTS["x"] * x_loss + WEIGHTS["z"] * z_loss
    return {
        "data_loss": data,
        "x_loss": x_loss,
        "z_loss": z_loss,
        "physics_loss": physics_loss,
        "loss": data + physics_loss,
    }


class ByHand(keras.Model):
    """The same losses and the same logs in a `train_step` of one's own."""

    logged = ("data_loss", "x_loss", "z_loss", "physics_loss", "loss")
    losses_of = by_hand_losses

    def __init__(self):
        super().__init__()
        self.encoder = encoder()
        self.trackers = [keras.metrics.Mean(name=name) for name in self.logged]

    def call(self, z, training=None):
        return self.encoder(z, training=training)

    def train_step(self, data):
        z, x = data
        with tf.GradientTape() as tape:
            values = self.losses_of(z, x)
        variables = self.trainable_variables
        gradients = tape.gradient(values["loss"], variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for tracker in self.trackers:
            tracker.update_state(values[tracker.name], sample_weight=ops.shape(z)[0])
        return {tracker.name: tracker.result() for tracker in self.trackers}


class OnlyLoss(ByHand):
    """The same without the terms in the logs."""

    logged = ("loss",)


class OnlyData(OnlyLoss):
    """Without physics."""

    def losses_of(self, z, x):
        return {"loss": ops.mean((x - self(z, training=True)) ** 2)}


def bare_loop(dataset):
    """A `tf.function` and nothing else: no logs, no callbacks."""
    model, optimizer = encoder(), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    @tf.function
    def one_step(z, x):
        with tf.GradientTape() as tape:
            total = by_hand_losses(model, z, x)["loss"]
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))

    def work(step):
        for z, x in dataset:
            step()
            one_step(z, x)

    return work


def batches(size, more=()):
    """Batches without end."""
    rng = np.random.default_rng(0)
    arrays = (rng.normal(size=(size * COUNT, *more, width)) for width in (8, 5))
    tensors = tuple(tf.constant(array, tf.float32) for array in arrays)
    return tf.data.Dataset.from_tensor_slices(tensors).batch(size).cache().repeat()


def fitting(model, dataset, loss="mse", callbacks=(), steps=10**7, **options):
    """A fit without end, in epochs of so many steps."""
    model.compile("adam", loss, **options)

    def work(step):
        each = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda *_, **__: step())
        more = {"epochs": 10**6, "steps_per_epoch": steps, "verbose": 0}
        model.fit(dataset, shuffle=False, callbacks=[each, *callbacks], **more)

    return work


def predicting(model, batch):
    model.compile("adam", "mse")
    z = batches(batch).map(lambda z, x: z)

    def work(step):
        each = keras.callbacks.LambdaCallback(on_predict_batch_begin=lambda *_, **__: step())
        model.predict(z, steps=10**7, verbose=0, callbacks=[each])

    return work


def scheduled(model, dataset, unit, **options):
    """A fit in which both weights move at every epoch, or at every step."""
    ramp = kp.GeometricRamp(1e-10, 1.0, duration=10**6)
    scheduler = kp.WeightScheduler({"x": ramp, "z": ramp}, unit)
    return fitting(model, dataset, callbacks=[scheduler], **options)


def fitting_arrays(z, x, batch, **more):
    """A fit of arrays, some of whose rows may carry no label; a step is an epoch."""
    model = with_physics()
    model.compile("adam", "mse")

    def work(step):
        each = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_, **__: step())
        model.fit(z, x, batch_size=batch, epochs=10**6, verbose=0, callbacks=[each], **more)

    return work


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


def doubled(z, x_pred):
    return 2 * x_pred


def doubled_on_some_rows(z, x_pred):
    return kp.on_rows(2 * x_pred, z[:, 0, 7] > 0)


def sequence_model(function=doubled, **options):
    """The encoder for each of 10 steps, all of which the mask leaves in."""
    keras.utils.set_random_seed(0)
    z = keras.Input((10, 8))
    hidden = keras.layers.Dense(64, activation="tanh")(keras.layers.Masking(1e9)(z))
    x = keras.layers.Dense(5)(keras.layers.Dense(64, activation="tanh")(hidden))
    term = kp.PhysicsTerm("z", "input", components=range(5), weight=WEIGHTS["z"], **options)
    return kp.PhysicsModel(z, kp.PhysicsRegularization(function, [term])(z, x))


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


def of_data(model, loss="mse"):
    """Returns a function from batches to a fit of a new model."""
    return lambda dataset: fitting(model(), dataset, loss)


def same_rows(batch):
    """The method's own error."""
    yield "(0) training step against the same", *[of_data(with_physics)] * 2
    yield "(0) the same by hand against the same", *[of_data(ByHand)] * 2


def training_rows(batch):
    name = "(a) no physics: `keras.Model` with 'mse' against the same by hand"
    yield name, of_data(encoder), of_data(OnlyData)
    for name, other in {
        "(a) training step against the same by hand, same logs": of_data(ByHand),
        "(a') the same, by hand without the terms in the logs": of_data(OnlyLoss),
        "(b) training step against a bare `tf.function` loop": bare_loop,
    }.items():
        yield name, of_data(with_physics), other


def prediction_rows(batch):
    for name, function in {"": physics, ", costly physics": costly_physics}.items():
        yield (
            f"(c) `predict` against the bare encoder{name}",
            lambda _, function=function: predicting(with_physics(function), batch),
            lambda _: predicting(encoder(), batch),
        )


def scheduling_rows(batch):
    steps, name = BATCHES[batch], "(e) `fit` with a WeightScheduler against without, unit"
    for unit, more, options, in_turn in (
        ("epoch", ", epochs of a turn", {"steps": steps}, steps),
        ("step", "", {}, steps),
        ("step", ", 25 steps per execution", {"steps_per_execution": 25}, 1),
    ):
        yield (
            f"{name} {unit!r}{more}",
            lambda data, unit=unit, options=options: scheduled(
                with_physics(), data, unit, **options
            ),
            lambda data, options=options: fitting(with_physics(), data, **options),
            in_turn,
        )


def unlabelled_rows(batch):
    """Half of the rows without labels, against the same batches of rows that all have them."""
    rng, half = np.random.default_rng(0), batch * COUNT // 2
    z, x = (rng.normal(size=(2 * half, width)).astype("float32") for width in (8, 5))
    yield (
        "(f) `fit` of arrays, half of the rows unlabelled, against all labelled",
        lambda _: fitting_arrays(z[:half], x[:half], batch // 2, unlabelled=z[half:]),
        lambda _: fitting_arrays(z, x, batch),
    )


def option_rows(batch):
    """Terms with options against the same terms without."""
    for name, model in {
        "`scale`": partial(with_options, scale=True),
        "`on_rows`": partial(with_options, on_some_rows),
        "`where`": partial(with_options, where=pump_is_on),
    }.items():
        name = f"(g) training step with {name} in both terms against without"
        yield name, of_data(model), of_data(with_physics)
    scaled = of_data(with_physics, kp.ScaledLoss("mse", [0.5] * 5))
    yield "(g) training step with `ScaledLoss` against 'mse'", scaled, of_data(with_physics)


def mask_rows(batch):
    """A term of sequences with a mask, alone and with `scale` and `on_rows`, against without."""
    name, data = f"(h) training step on {batch // 8} sequences of 10,", batches(batch // 8, (10,))
    with_more = partial(sequence_model, doubled_on_some_rows, scale=[0.5] * 5)
    for what, model in {
        "masked term": sequence_model,
        "masked term with `scale` and `on_rows`": with_more,
    }.items():
        yield (
            f"{name} {what} against `mask=False`",
            lambda _, model=model: fitting(model(), data),
            lambda _: fitting(sequence_model(mask=False), data),
        )


def print_row(name, batch, values):
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    print(f"| {name} | {batch} | {statistics.median(values):.3f} | {low:.3f} to {high:.3f} |")
    sys.stdout.flush()


def print_rows(rows, batch, data, arguments):
    for name, first, second, *steps in rows(batch):
        if name[1] not in arguments.rows:
            continue
        steps, values = steps[0] if steps else BATCHES[batch], []
        for _ in range(arguments.pairs):
            ordered = ratio(first(data), second(data), arguments.turns, steps)
            swapped = ratio(second(data), first(data), arguments.turns, steps)
            values.append((ordered / swapped) ** 0.5)
        print_row(name, batch, values)


ROWS = {
    "0": same_rows,
    "ab": training_rows,
    "c": prediction_rows,
    "e": scheduling_rows,
    "f": unlabelled_rows,
    "g": option_rows,
    "h": mask_rows,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="times to make the models of a row")
    parser.add_argument("--turns", type=int, default=100, help="turns of each work")
    parser.add_argument("--rows", default="0abcdefgh", help="letters of the rows to print")
    parser.add_argument("--batch", type=int, choices=[*BATCHES], help="one batch size alone")
    arguments = parser.parse_args()
    print("| what | batch size | ratio, median | quartiles |\n| --- | --- | --- | --- |")
    for letters, rows in ROWS.items():
        if set(letters) & set(arguments.rows):
            for batch in [arguments.batch] if arguments.batch else BATCHES:
                print_rows(rows, batch, batches(batch), arguments)
    if "d" in arguments.rows:
        imports = [import_ratio() for _ in range(arguments.pairs + 1)][1:]
        print_row("(d) `import keras_physreg` against `import keras`", "", imports)


if __name__ == "__main__":
    main()
