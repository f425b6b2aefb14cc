"""All scenarios, in the order of the report."""

from __future__ import annotations

from tests.chaos import replicas, with_disk, without_disk
from tests.chaos.scenarios import SCENARIOS

__all__ = ["SCENARIOS", "replicas", "with_disk", "without_disk"]
