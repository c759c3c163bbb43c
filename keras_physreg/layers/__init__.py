"""The layer that turns physics into named, weighted loss terms."""

from keras_physreg.layers.physics_regularization import (
    PhysicsRegularization as PhysicsRegularization,
)
from keras_physreg.layers.physics_regularization import physics_layers as physics_layers
