"""Fixtures of the tests of the simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.harness import remove_observers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_log_observer_is_left() -> Iterator[None]:
    yield
    remove_observers()
