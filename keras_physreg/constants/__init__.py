"""Unknown physical constants that train with the model."""

from keras_physreg.constants.constant import Constant as Constant
from keras_physreg.constants.constant import find_constants as find_constants
