"""Pure functions of time that say how large a term's weight is."""

from .chain import Chain as Chain
from .ramps import CosineRamp as CosineRamp
from .ramps import GeometricRamp as GeometricRamp
from .ramps import LinearRamp as LinearRamp
from .schedule import Schedule as Schedule
from .staircases import GeometricStaircase as GeometricStaircase
from .staircases import Staircase as Staircase
