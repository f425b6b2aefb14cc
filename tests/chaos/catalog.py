"""All scenarios, in the order of the report."""

from __future__ import annotations

from tests.chaos.scenarios import SCENARIOS

# isort: off
from tests.chaos import without_disk, with_disk, replicas

__all__ = ["SCENARIOS", "replicas", "with_disk", "without_disk"]
