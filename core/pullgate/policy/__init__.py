"""Decisions on pulls (license, image, registry): pure functions of facts, without I/O and without a clock."""
