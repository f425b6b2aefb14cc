"""When so much is missing at once that it is a mistake: a folder that is not mounted, another branch. Pure."""

from __future__ import annotations

from collections.abc import Collection

from pullgate.store.port import Key

_TOGETHER = (frozenset({"License"}), frozenset({"License", "Registry"}))


def lost_at_once(before: Collection[Key], wanted: Collection[Key]) -> frozenset[Key]:
    """Those of `before` that are not believed to be removed: all Licenses at once, or all of everything.

    The removal of the last one is believed: to remove all, first remove all but one.
    """
    lost: set[Key] = set()
    for kinds in _TOGETHER:
        had = {key for key in before if key.kind in kinds}
        if len(had) > 1 and not any(key.kind in kinds for key in wanted):
            lost |= had
    return frozenset(lost)


def words_for_loss(lost: Collection[Key]) -> str:
    """A sentence for the vendor: it names what is missing, and the next step."""
    counts = [(kind, sum(key.kind == kind for key in lost)) for kind in ("License", "Registry")]
    plurals = {"License": "Licenses", "Registry": "Registries"}
    named = " and ".join(f"{plurals[kind]} ({count})" for kind, count in counts if count)
    return (
        f"all {named} are missing at once: this is taken for a mistake, and they serve on; put the files back. "
        "To remove them, put one of them back first and remove it a second later"
    )
