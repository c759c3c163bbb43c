"""Models of every kind with replicas that are trained quickly, one after the other."""

import functools

import keras

import keras_physreg as kp
from tests import problems
from tests.sweep import models

LAYERS = keras.layers


def _compiled(model):
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def norm():
    """Batch normalisation: the moving statistics are a replica's own."""
    return models.norm(0.2)


def adapted():
    """A layer that is adapted and one that is frozen."""
    scale = LAYERS.Normalization()
    scale.adapt(models.mlp_data()[0])
    z = keras.Input((3,))
    x = LAYERS.Dense(2)(LAYERS.Dense(4, trainable=False)(scale(z)))
    return _compiled(
        kp.PhysicsModel(z, kp.PhysicsRegularization(problems.doubling, problems.terms())(z, x))
    )


def nested():
    """A nested model whose layer is used twice, an operation, and a layer of a lambda."""
    z = keras.Input((3,))
    half = keras.Sequential([keras.Input((3,)), LAYERS.Dense(2, activation="tanh")], name="half")
    both = keras.Model(z, half(z) + half(2.0 * z), name="both")
    inputs = keras.Input((3,))
    x = LAYERS.Lambda(lambda t: 2.0 * t)(LAYERS.Dense(2)(both(inputs)))
    layer = kp.PhysicsRegularization(problems.doubling, problems.terms())
    return _compiled(kp.PhysicsModel(inputs, layer(inputs, x)))


def several_outputs():
    """A dict of outputs, and physics of one of them."""
    z = keras.Input((3,), name="z")
    hidden = LAYERS.Dense(4, activation="tanh")(z)
    x = LAYERS.Dense(2, name="x")(hidden)
    layer = kp.PhysicsRegularization(problems.residual, {"r": 0.1})
    outputs = {"x": layer(z, x), "more": LAYERS.Dense(1, name="more")(hidden)}
    model = kp.PhysicsModel(z, outputs)
    model.compile(keras.optimizers.SGD(0.05), {"x": "mse", "more": "mse"})
    return model


def listed_outputs():
    z = keras.Input((3,))
    x = LAYERS.Dense(2)(z)
    layer = kp.PhysicsRegularization(problems.residual, {"r": 0.1})
    model = kp.PhysicsModel(z, [layer(z, x), LAYERS.Dense(1)(z)])
    model.compile(keras.optimizers.SGD(0.05), ["mse", "mse"])
    return model


def sequential():
    """A plain model without physics."""
    return _compiled(keras.Sequential([keras.Input((3,)), LAYERS.Dense(3), LAYERS.Dense(2)]))


def several_outputs_data():
    z, x = models.mlp_data()
    return z, {"x": x, "more": z[:, :1]}


def listed_outputs_data():
    z, x = models.mlp_data()
    return z, [x, z[:, :1]]


KINDS = {
    "mlp": (models.mlp, models.mlp_data),
    "norm": (norm, models.mlp_data),
    "adapted": (adapted, models.mlp_data),
    "nested": (nested, models.mlp_data),
    "several inputs": (models.multi_input, models.multi_input_data),
    "several outputs": (several_outputs, several_outputs_data),
    "listed outputs": (listed_outputs, listed_outputs_data),
    "conv": (models.conv, models.sequences),
    "sequential": (sequential, models.mlp_data),
    "constants": (models.constants, models.mlp_data),
}
QUICK = {"several outputs"}  # Which the default run trains.


def trained(build, data, seeds=(1, 2, 3), epochs=2, **fit):
    """A trainer of replicas that went far enough to differ, with its inputs."""
    z, x = data()
    trainer = kp.ReplicaTrainer(build(), {}, list(seeds), engine="sequential")
    trainer.fit(z, x, epochs=epochs, batch_size=8, verbose=0, **fit)
    return trainer, z


@functools.cache
def of_kind(kind):
    """A trainer that tests share: they leave it, and the weights of its model, as they were."""
    return trained(*KINDS[kind])
