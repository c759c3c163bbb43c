"""Diagnosis: does the gradient arrive, does it fight the data, is there anything left to gain?"""

from keras_physreg.diagnosis.finding import Finding as Finding
from keras_physreg.diagnosis.report import Diagnosis as Diagnosis
from keras_physreg.diagnosis.report import diagnose as diagnose
from keras_physreg.diagnosis.thresholds import Thresholds as Thresholds
