"""A reactor for real sockets that the test runs step by step."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock


class HandReactor(Clock):
    """A `Clock` that also has lists of readers and writers. The test calls their `doRead` and `doWrite`."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:  # noqa: N802
        self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        self.readers = [other for other in self.readers if other is not reader]

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        self.writers = [other for other in self.writers if other is not writer]
