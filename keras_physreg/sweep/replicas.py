"""Former module path of `keras_physreg.replicas`, kept for imports."""

from keras_physreg.replicas import ReplicaHistory as ReplicaHistory
from keras_physreg.replicas import ReplicaTrainer as ReplicaTrainer
