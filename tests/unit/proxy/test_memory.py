"""The limit of the memory is found wherever a kernel or a container runtime lets it stand."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from pullgate_proxy.listen.memory import count_descriptors, find_memory_limit, give_back, read_resident

GIB = 2**30
V2_OF_A_POD = "0::/kubepods.slice/kubepods-pod1.slice/cri-abc.scope\n"
V1 = "12:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": f"{GIB}\n"}, GIB),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {}, None),
        (V2_OF_A_POD, {"kubepods.slice/kubepods-pod1.slice/cri-abc.scope/memory.max": f"{GIB}\n"}, GIB),
        (V2_OF_A_POD, {"kubepods.slice/memory.max": f"{4 * GIB}\n", "kubepods.slice/x/memory.max": "5\n"}, 4 * GIB),
        (
            V2_OF_A_POD,
            {
                "kubepods.slice/kubepods-pod1.slice/cri-abc.scope/memory.max": "max\n",
                "kubepods.slice/kubepods-pod1.slice/memory.max": f"{GIB}\n",
                "kubepods.slice/memory.max": f"{4 * GIB}\n",
            },
            GIB,
        ),
        (V2_OF_A_POD, {"memory.max": f"{GIB}\n"}, GIB),
        (V1, {"memory/docker/abc/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        (V1, {"memory/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        (V1, {"unified/memory.max": f"{GIB}\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}, GIB),
        ("0::/../../other\n", {"memory.max": f"{GIB}\n"}, GIB),
        ("nonsense\n\n", {"memory.max": f"{GIB}\n"}, None),
    ],
)
def test_the_least_limit_on_the_way_to_the_root_is_the_one(
    tmp_path: Path, own: str, files: dict[str, str], limit: int | None
) -> None:
    (tmp_path / "cgroup").write_text(own)
    assert find_memory_limit(tmp_path / "cgroup", tree(tmp_path / "sys", files)) == limit


def test_where_nothing_is_told_there_is_no_limit(tmp_path: Path) -> None:
    assert find_memory_limit(tmp_path / "none", tmp_path) is None


def test_memory_and_descriptors_are_those_of_the_process() -> None:
    before, opened = read_resident(), count_descriptors()
    with mmap.mmap(-1, 64 * 2**20) as pages:  # new pages: the allocator may have 64 MiB left over from other tests
        pages.write(bytes(len(pages)))
        assert read_resident() - before > 32 * 2**20
    with open("/dev/null") as _, open("/dev/null") as _:
        assert count_descriptors() == opened + 2
    give_back()
    assert read_resident() - before < 32 * 2**20
