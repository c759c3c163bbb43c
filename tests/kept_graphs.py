"""Lets go of graphs that TensorFlow keeps for ever, which fill the memory of a long test run.

Every `tf.custom_gradient` that is traced into a graph is entered into a registry of TensorFlow's,
and holds the graph. No public function takes it out: where a TensorFlow has no such registry,
graphs are kept, and nothing else changes.
"""

import sys

PREFIX = "CustomGradient-"


def _registry():
    ops = sys.modules.get("tensorflow.python.framework.ops")
    return getattr(getattr(ops, "gradient_registry", None), "_registry", {})


def registered():
    """Returns the names of the custom gradients that are registered."""
    return {name for name in _registry() if name.startswith(PREFIX)}


def let_go(kept):
    """Takes the custom gradients out that are not in `kept`: nothing may differentiate by them."""
    for name in registered() - kept:
        del _registry()[name]


def forget_programs():
    """Drops the programs that trainings of replicas keep for later ones, if there were any."""
    known = sys.modules.get("keras_physreg.replicas.known_trainers")
    if known is not None:
        known.KnownTrainers.clear()
