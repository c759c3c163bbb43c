"""Known physics as named, weighted, scheduled, diagnosed and tunable loss terms of a Keras model."""

from keras_physreg.inspection import get_term_weights as get_term_weights
from keras_physreg.inspection import set_term_weights as set_term_weights
from keras_physreg.layers import PhysicsRegularization as PhysicsRegularization
from keras_physreg.models import PhysicsModel as PhysicsModel
from keras_physreg.surgery import regularize as regularize
from keras_physreg.surgery import strip_physics as strip_physics
from keras_physreg.terms import PhysicsTerm as PhysicsTerm

__version__ = "0.1.0"
