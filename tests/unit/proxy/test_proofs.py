"""Proofs are bounded by app, go with their blob, survive a restart, and nothing that is torn becomes one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pullgate_proxy.cache.blobs.ask import Place, Places
from pullgate_proxy.cache.blobs.proof_file import SLACK, ProofFile
from pullgate_proxy.cache.blobs.proofs import Proofs

A, B = "sha256:" + "a" * 64, "sha512:" + "b" * 128


def place(number: int, app: str = "my-app", digest: str = A) -> Place:
    return Place(digest, app, f"{number:032x}")


def test_a_proof_is_of_one_place_and_one_blob() -> None:
    proofs = Proofs()
    proofs.add(place(1))
    assert place(1) in proofs
    assert place(2) not in proofs
    assert place(1, digest=B) not in proofs


def test_the_proofs_of_a_blob_go_with_it() -> None:
    proofs = Proofs()
    for each in (place(1), place(2, "other"), place(1, digest=B)):
        proofs.add(each)
    assert proofs.forget(A)
    assert not proofs.forget(A)
    assert list(proofs) == [place(1, digest=B)]
    assert (len(proofs), proofs.digests()) == (1, [B])


def test_at_the_bound_an_app_displaces_its_own_oldest_proof_and_nobody_elses() -> None:
    proofs = Proofs(limit=10)
    proofs.add(place(0, "small"))
    for number in range(100):
        proofs.add(place(number, "greedy"))
        proofs.add(place(number, "greedy"))
    assert len(proofs) == 10
    assert place(0, "small") in proofs
    assert [each.key for each in proofs if each.app == "greedy"] == [f"{n:032x}" for n in range(91, 100)]


async def test_proofs_survive_a_restart_and_those_of_blobs_that_went_do_not(tmp_path: Path) -> None:
    first = ProofFile(tmp_path / "proofs")
    for each in (place(1), place(2, "other"), place(3, digest=B)):
        first.add(each)
        await first.save()
    first.forget(A)
    first.add(place(4))
    await first.save()
    second = ProofFile(tmp_path / "proofs")
    await second.load()
    assert (len(second), place(3, digest=B) in second, place(4) in second) == (2, True, True)
    second.retain(lambda digest: digest == A)
    await second.save()
    third = ProofFile(tmp_path / "proofs")
    await third.load()
    assert (len(third), place(4) in third) == (1, True)


@pytest.mark.parametrize(
    "line",
    [
        f"{A} my-app {'0' * 31}",
        f"{A} my-app {'0' * 33}",
        f"{A[:-1]} my-app {'0' * 32}",
        f"{A} {'0' * 32}",
        f"{A} my-app {'0' * 32} more",
        f"md5:{'a' * 64} my-app {'0' * 32}",
        "\0" * 100,
        "",
    ],
)
async def test_a_line_that_is_torn_is_no_proof_and_spoils_no_other(tmp_path: Path, line: str) -> None:
    path = tmp_path / "proofs"
    path.write_text(f"{line}\n{A} my-app {1:032x}\n{line}")
    proofs = ProofFile(path)
    await proofs.load()
    assert (len(proofs), place(1) in proofs) == (1, True)
    proofs.add(place(2))
    await proofs.save()
    again = ProofFile(path)
    await again.load()
    assert (len(again), place(2) in again) == (2, True)


async def test_the_file_grows_with_what_is_proven_and_not_with_what_ever_was(tmp_path: Path) -> None:
    path = tmp_path / "proofs"
    proofs = ProofFile(path, limit=10)
    longest = 0
    for number in range(3 * SLACK):
        proofs.add(place(number))
        if number % 100 == 0:
            await proofs.save()
            longest = max(longest, path.read_text().count("\n"))
    assert longest <= SLACK + 20
    again = ProofFile(path, limit=10)
    await again.load()
    assert len(again) == 10


async def test_what_could_not_be_written_is_written_by_the_next_try(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    proofs = ProofFile(folder / "proofs")
    proofs.add(place(1))
    with pytest.raises(FileNotFoundError):
        await proofs.save()
    os.mkdir(folder)
    proofs.add(place(2))
    await proofs.save()
    again = ProofFile(folder / "proofs")
    await again.load()
    assert (place(1) in again, place(2) in again) == (True, True)


def test_an_app_that_fills_the_table_of_places_displaces_its_own_and_nobody_elses() -> None:
    """A forgotten copy cannot be served when the upstream fails, so the flood would break another app's pulls."""
    places = Places(limit=100)
    digest = f"sha256:{'0' * 64}"
    victim = Place(digest, "victim", "0" * 32)
    places.tell(victim, 1.0)
    flood = [Place(digest, "rival", f"{number:032x}") for number in range(300)]
    for place in flood:
        places.tell(place, 2.0)
    assert places.told(victim) == 1.0
    assert (places.told(flood[0]), places.told(flood[-1])) == (None, 2.0)
    places.forget(victim)
    places.forget(victim)
    assert places.told(victim) is None
