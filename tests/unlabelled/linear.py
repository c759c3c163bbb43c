"""A linear model with physics, and the same training in NumPy."""

import keras
import numpy as np

import keras_physreg as kp

RATE = 0.1
WEIGHTS = {"x": 0.5, "z": 0.25}
ROWS, BATCH = 20, 8
MORE_ROWS, MORE = 11, 6
STEPS = 3  # in an epoch, the last one of 4 labelled rows


@keras.saving.register_keras_serializable(package="tests")
def physics(z, x_pred):
    return {"x": 0.5 * x_pred + z[:, :2], "z": 2 * x_pred}


def model(model_class=kp.PhysicsModel, **compile_args):
    keras.utils.set_random_seed(1)
    z = keras.Input((3,))
    terms = [
        kp.PhysicsTerm("x", "target", weight=WEIGHTS["x"]),
        kp.PhysicsTerm("z", "input", components=[0, 1], weight=WEIGHTS["z"]),
    ]
    layer = kp.PhysicsRegularization(physics, terms)
    made = model_class(z, layer(z, keras.layers.Dense(2)(z)))
    made.compile(keras.optimizers.SGD(RATE), "mse", **compile_args)
    return made


def data(rows=ROWS, seed=0):
    """Inputs, labels and sample weights."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 2)), rng.uniform(0, 2, rows)
    return tuple(part.astype("float32") for part in parts)


def more_inputs():
    return data(MORE_ROWS, seed=1)[0]


def batches(epochs, begin=0):
    """Row numbers, labelled and unlabelled, of the steps of an unshuffled fit."""
    for step in range(begin * STEPS, (begin + epochs) * STEPS):
        first = step % STEPS * BATCH
        labelled = np.arange(first, min(first + BATCH, ROWS))
        yield labelled, np.arange(step * MORE, (step + 1) * MORE) % MORE_ROWS


def factors(labelled, rows, share):
    """The factor of each row in the label-free term; the factors add up to 1."""
    counts = np.full((rows, 1), 1 / rows)
    if share is not None:
        counts[:labelled], counts[labelled:] = (1 - share) / labelled, share / (rows - labelled)
    return counts


def train(weights, epochs, share=None, trust=True):
    """SGD in NumPy: the weights after each step, and the losses of each epoch."""
    kernel, bias = (w.astype("float64") for w in weights)
    (z_all, y_all, trust_all), more = data(), more_inputs()
    course, logs = [], []
    for labelled, unlabelled in batches(epochs):
        z, y, w = z_all[labelled], y_all[labelled], trust_all[labelled, None]
        w = w if trust else np.ones_like(w)
        inputs = np.concatenate([z, more[unlabelled]]).astype("float64")
        x = inputs @ kernel + bias
        n, rows = len(z), len(inputs)
        off_y, off_x = x[:n] - y, 0.5 * x[:n] + z[:, :2] - y
        off_z = 2 * x - inputs[:, :2]
        counts = factors(n, rows, share)
        losses = {
            "data_loss": np.mean(w * off_y**2),
            "x_loss": np.mean(w * off_x**2),
            "z_loss": np.sum(counts * off_z**2) / 2,
        }
        weighted = [WEIGHTS[term] * losses[f"{term}_loss"] for term in WEIGHTS]
        losses |= {"physics_loss": sum(weighted), "loss": losses["data_loss"] + sum(weighted)}
        slope = WEIGHTS["z"] * counts * 2 * off_z
        slope[:n] += w * (off_y + WEIGHTS["x"] * 0.5 * off_x) / n
        kernel, bias = kernel - RATE * inputs.T @ slope, bias - RATE * slope.sum(axis=0)
        course.append((kernel, bias))
        logs.append((n, losses))
    return course, by_epoch(logs, epochs)


def by_epoch(logs, epochs):
    """The mean of each loss over the labelled rows of an epoch, as Keras logs it."""
    found = {key: [] for key in logs[0][1]}
    for epoch in range(epochs):
        steps = logs[epoch * STEPS : (epoch + 1) * STEPS]
        rows = [n for n, _ in steps]
        for key, values in found.items():
            values.append(np.average([losses[key] for _, losses in steps], weights=rows))
    return found


class Course(keras.callbacks.Callback):
    """Keeps the weights after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append([w.numpy() for w in self.model.trainable_variables])
