"""Training of many replicas of a model in few compiled programs."""

from keras_physreg.replicas.history import ReplicaHistory as ReplicaHistory
from keras_physreg.replicas.trainer import ReplicaTrainer as ReplicaTrainer
