"""Sweeps: many trainings that differ in term weights and seeds, and a verdict on each term."""

from keras_physreg.replicas import ReplicaHistory as ReplicaHistory
from keras_physreg.replicas import ReplicaTrainer as ReplicaTrainer
from keras_physreg.sweep.result import SweepResult as SweepResult
from keras_physreg.sweep.sanity import sanity_sweep as sanity_sweep
from keras_physreg.sweep.verdict import TermVerdict as TermVerdict
