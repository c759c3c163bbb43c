"""Schedules: pure functions from the epoch or step to the weight of a term."""

from keras_physreg.schedules.chain import Chain as Chain
from keras_physreg.schedules.ramps import CosineRamp as CosineRamp
from keras_physreg.schedules.ramps import GeometricRamp as GeometricRamp
from keras_physreg.schedules.ramps import LinearRamp as LinearRamp
from keras_physreg.schedules.schedule import Schedule as Schedule
from keras_physreg.schedules.staircases import GeometricStaircase as GeometricStaircase
from keras_physreg.schedules.staircases import Staircase as Staircase
