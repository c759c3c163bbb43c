"""A linear model with one physics function per term, and the same training in NumPy."""

import keras
import numpy as np

import keras_physreg as kp
from tests.unlabelled.linear import batches, by_epoch, data, factors, more_inputs

RATE = 0.1
WEIGHTS = {"x": 0.5, "z": 0.25, "pde": 0.3, "wall": 0.2}
OF_POINTS = ("pde", "wall")


@keras.saving.register_keras_serializable(package="tests.points")
def at_label(z, x_pred):
    return 0.5 * x_pred + z[:, :2]


@keras.saving.register_keras_serializable(package="tests.points")
def doubled(z, x_pred):
    return {"z": 2 * x_pred}


@keras.saving.register_keras_serializable(package="tests.points")
def pde(z, x_pred):
    return x_pred - z[:, 1:]


@keras.saving.register_keras_serializable(package="tests.points")
def wall(z, x_pred):
    return (x_pred[:, :1] + x_pred[:, 1:],)


FUNCTIONS = {"x": at_label, "z": doubled, "pde": pde, "wall": wall}
REFERENCES = {
    "x": {"reference": "target"},
    "z": {"reference": "input", "components": [0, 1]},
}


def model(names=tuple(WEIGHTS), model_class=kp.PhysicsModel, loss="mse", **compile_args):
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    terms = [kp.PhysicsTerm(n, weight=WEIGHTS[n], **REFERENCES.get(n, {})) for n in names]
    layer = kp.PhysicsRegularization({n: FUNCTIONS[n] for n in names}, terms)
    made = model_class(z, layer(z, keras.layers.Dense(2)(z)))
    made.compile(keras.optimizers.SGD(RATE), loss, **compile_args)
    return made


def points(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype("float32")


POINTS = {"pde": points(7, 3), "wall": points(5, 4)}


def whole(step):
    return POINTS


def values(model):
    return [v.numpy() for v in model.trainable_variables]


def train(weights, epochs, points_of, unlabelled=False, share=None, weight=WEIGHTS):
    """SGD in NumPy on labelled rows and points: weights after each step, losses of each epoch.

    Args:
        weights: Kernel and bias at the start.
        epochs: Number of epochs.
        points_of: Function from the step to the points of each term.
        unlabelled: Whether there are unlabelled rows, too.
        share: Their share.
        weight: Weight of each term.
    """
    kernel, bias = (w.astype("float64") for w in weights)
    (z_all, y_all, trust_all), more = data(), more_inputs()
    course, logs = [], []
    for step, (labelled, numbers) in enumerate(batches(epochs)):
        z, y, w = z_all[labelled], y_all[labelled], trust_all[labelled, None]
        inputs = np.concatenate([z, more[numbers]]) if unlabelled else z
        x = inputs.astype("float64") @ kernel + bias
        n, rows = len(z), len(inputs)
        off_y, off_x = x[:n] - y, 0.5 * x[:n] + z[:, :2] - y
        off_z = 2 * x - inputs[:, :2]
        counts = factors(n, rows, share)
        losses = {
            "data_loss": np.mean(w * off_y**2),
            "x_loss": np.mean(w * off_x**2),
            "z_loss": np.sum(counts * off_z**2) / 2,
        }
        slope = weight["z"] * counts * 2 * off_z
        slope[:n] += w * (off_y + weight["x"] * 0.5 * off_x) / n
        gradients = [inputs.T @ slope, slope.sum(axis=0)]
        at_points, of_points = at_the_points(kernel, bias, points_of(step), weight)
        losses |= at_points
        physics = sum(weight[term] * losses[f"{term}_loss"] for term in weight)
        losses |= {"physics_loss": physics, "loss": losses["data_loss"] + physics}
        kernel = kernel - RATE * (gradients[0] + of_points[0])
        bias = bias - RATE * (gradients[1] + of_points[1])
        course.append((kernel, bias))
        logs.append((n, losses))
    return course, by_epoch(logs, epochs)


def at_the_points(kernel, bias, given, weight=WEIGHTS):
    """Losses at the points, and the gradient of their weighted sum."""
    losses, gradients = {}, [np.zeros_like(kernel), np.zeros_like(bias)]
    for term, inputs in given.items():
        inputs = inputs.astype("float64")
        x = inputs @ kernel + bias
        if term == "pde":
            off = x - inputs[:, 1:]
            slope = 2 * off / off.size
        else:
            off = x[:, :1] + x[:, 1:]
            slope = np.repeat(2 * off / off.size, 2, axis=1)
        losses[f"{term}_loss"] = np.mean(off**2)
        gradients[0] += weight[term] * inputs.T @ slope
        gradients[1] += weight[term] * slope.sum(axis=0)
    return losses, gradients


def train_on_points(weights, steps, points_of, weight=WEIGHTS):
    """The same without labelled rows: weights after each step, and losses of each step."""
    kernel, bias = (w.astype("float64") for w in weights)
    course, logs = [], []
    for step in range(steps):
        losses, gradients = at_the_points(kernel, bias, points_of(step), weight)
        total = sum(weight[term] * losses[f"{term}_loss"] for term in OF_POINTS)
        logs.append(losses | {"physics_loss": total, "loss": total})
        kernel, bias = kernel - RATE * gradients[0], bias - RATE * gradients[1]
        course.append((kernel, bias))
    return course, logs
