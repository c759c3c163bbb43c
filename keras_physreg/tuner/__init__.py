"""The tuner search: KerasTuner over term weights, ramps and the user's own hyperparameters."""

from importlib.util import find_spec

# KerasTuner imports TensorBoard in every trial; without it, every trial is recorded as failed.
if find_spec("tensorboard") is None:
    raise ImportError(
        "A KerasTuner search needs TensorBoard, which neither KerasTuner nor TensorFlow installs: "
        'without it every trial fails. Install it: pip install "keras_physreg[tuner]"'
    )

from keras_physreg.tuner.hypermodel import PhysicsHyperModel as PhysicsHyperModel
from keras_physreg.tuner.pareto import ParetoFront as ParetoFront
from keras_physreg.tuner.pareto import pareto_front as pareto_front
from keras_physreg.tuner.replica_tuner import ReplicaTuner as ReplicaTuner
