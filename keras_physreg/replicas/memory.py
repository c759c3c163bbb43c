"""Estimate of the number of replicas that fit into memory at once."""

from pathlib import Path
from typing import Any

import keras

# Of a replica's weights: present, best, gradients, optimizer state, and intermediate tensors.
COPIES_PER_REPLICA = 8


def replicas_that_fit(weights: list[keras.Variable], step: Any) -> int:
    """Estimates how many replicas fit into half of the free memory; at least 1.

    It overestimates the memory of a replica, as it counts all tensors of a step as if they existed
    at once. If memory does not suffice after all, TensorFlow raises, and fewer replicas are tried.

    Args:
        weights: The variables that make up a replica.
        step: The traced step of one replica, a `tf.Graph`.
    """
    bytes_each = COPIES_PER_REPLICA * sum(v.value.dtype.size * _elements(v.shape) for v in weights)
    for operation in step.get_operations():
        for tensor in operation.outputs:
            if tensor.shape.is_fully_defined() and tensor.dtype.size:
                bytes_each += tensor.dtype.size * _elements(tensor.shape)
    return max(1, free_memory() // 2 // max(bytes_each, 1))


def free_memory() -> int:
    """Returns the free memory in bytes; 4 GiB if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        return 4 * 2**30


def _elements(shape: Any) -> int:
    count = 1
    for size in shape:
        count *= int(size)
    return count
