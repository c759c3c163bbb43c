"""A linear model with a term on some of the rows, and the same training written in NumPy."""

import keras
import numpy as np
from keras import ops

import keras_physreg as kp

RATE, WEIGHT = 0.1, 0.25
ROWS, MORE, BATCH = 12, 8, 4  # labelled and unlabelled rows; labelled rows of a step
STEPS, MORE_BATCH = 3, 3  # in an epoch; unlabelled rows of a step


def daytime(z):
    """Boolean, of shape (rows,): false on all rows of the second labelled batch."""
    return z[:, 2] > 0


def trust(z):
    """Weights >= 0 of shape (rows, 1), some of them 0."""
    return ops.relu(z[:, 2:])


def single(z):
    """One boolean per value, of shape (rows, 2)."""
    return ops.stack([z[:, 2] > 0, z[:, 2] < 0.5], axis=-1)


HOLDS = {"boolean": daytime, "weights": trust, "single values": single}


def as_numpy(hold, z):
    """The weights of shape (rows, 1) or (rows, 2)."""
    weights = np.asarray(hold(z), "float64")
    return weights.reshape(len(z), -1)


def off(z, x_pred):
    return {"z": 2 * x_pred - z[:, :2]}


def by_on_rows(hold):
    return lambda z, x_pred: {"z": kp.on_rows(off(z, x_pred)["z"], hold(z))}, {}


def by_where(hold):
    return off, {"where": hold}


def data(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    z, x = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 2))
    z[:, 2] = rng.uniform(-1, 1, rows)
    z[BATCH : 2 * BATCH, 2] = -0.5  # Nothing holds in the second batch.
    z[0, 2], z[-1, 2] = 0.7, 0.3
    return z.astype("float32"), x.astype("float32")


def more_inputs():
    return data(MORE, seed=1)[0]


def model(way, hold, model_class=kp.PhysicsModel, **compile_args):
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    physics, options = way(hold)
    layer = kp.PhysicsRegularization(physics, [kp.PhysicsTerm("z", weight=WEIGHT, **options)])
    made = model_class(z, layer(z, keras.layers.Dense(2)(z)))
    made.compile(keras.optimizers.SGD(RATE), "mse", **compile_args)
    return made


def mean_where(weights, squares):
    """Sum of weight times value over the sum of the weights, and its derivative by the values."""
    weights = np.broadcast_to(weights, squares.shape)
    total = weights.sum()
    slope = weights / total if total else np.zeros_like(weights)
    return float((slope * squares).sum()), slope


def train(weights, hold, epochs, share=None, unlabelled=False):
    """SGD by hand: the weights at the end, and the logs of each epoch."""
    kernel, bias = (w.astype("float64") for w in weights)
    (z_all, y_all), more, logs = data(), more_inputs(), []
    for step in range(epochs * STEPS):
        rows = np.arange(BATCH) + step % STEPS * BATCH
        others = (np.arange(MORE_BATCH) + step * MORE_BATCH) % MORE if unlabelled else []
        z, y = z_all[rows], y_all[rows]
        inputs = np.concatenate([z, more[others]]) if unlabelled else z
        x = inputs.astype("float64") @ kernel + bias
        residual, counts = 2 * x - inputs[:, :2], as_numpy(hold, inputs)
        if share is None:
            loss, slope = mean_where(counts, residual**2)
        else:
            first, slope_1 = mean_where(counts[:BATCH], residual[:BATCH] ** 2)
            second, slope_2 = mean_where(counts[BATCH:], residual[BATCH:] ** 2)
            loss = (1 - share) * first + share * second
            slope = np.concatenate([(1 - share) * slope_1, share * slope_2])
        error = x[:BATCH] - y
        gradient = WEIGHT * slope * 2 * residual * 2
        gradient[:BATCH] += 2 * error / error.size
        kernel = kernel - RATE * inputs.T @ gradient
        bias = bias - RATE * gradient.sum(axis=0)
        logs.append({"data_loss": np.mean(error**2), "z_loss": loss})
    means = {}
    for key in logs[0]:
        each = np.array([log[key] for log in logs]).reshape(epochs, STEPS)
        means[key] = list(each.mean(axis=1))
    means["physics_loss"] = [WEIGHT * loss for loss in means["z_loss"]]
    means["loss"] = [a + b for a, b in zip(means["data_loss"], means["physics_loss"], strict=True)]
    return (kernel, bias), means
