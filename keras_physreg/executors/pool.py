"""Pool: the workers of an executor, each of which trains one group at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from keras_physreg.executors.group import Group, GroupResult
from keras_physreg.executors.worker import Shared


class LostWorkersError(RuntimeError):
    """Workers died while they trained a group, and no other worker could finish it.

    Args:
        message: The reason.
        is_final: Whether the executor is of no use after that.
    """

    def __init__(self, message: str, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Pool(ABC):
    """The workers of an executor."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """The number of workers."""

    @abstractmethod
    def share(self, shared: Shared) -> Any:
        """Returns what stands for something that many groups need, in `run`."""

    @abstractmethod
    def run(
        self, program: Any, data: Any, groups: Sequence[Group]
    ) -> Iterator[tuple[int, GroupResult | BaseException]]:
        """Trains groups, and yields the position and the result of each as it is finished.

        Not more groups than workers are handed out at once, so that each is with a worker of its
        own. When the iteration ends early, groups that have not begun are cancelled.

        Args:
            program: What `share` returned for the model.
            data: What `share` returned for the data.
            groups: The groups.

        Yields:
            The position of a group, and its result, or the error that ended it:
            `LostWorkersError` where workers died.
        """
