"""PhysicsModel, and functions that add physics to a model or remove it."""

from keras_physreg.models.functional_physics_model import (
    FunctionalPhysicsModel as FunctionalPhysicsModel,
)
from keras_physreg.models.physics_model import PhysicsModel as PhysicsModel
from keras_physreg.models.regularize import regularize as regularize
from keras_physreg.models.strip import strip_physics as strip_physics
