"""Words for people. Pure."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """`number` with `noun`: "1 pull", "2 pulls"; `noun` is a regular English noun in the singular."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
