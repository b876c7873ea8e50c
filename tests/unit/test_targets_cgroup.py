"""Control groups over plain folders: which files are written, and what is read from them."""

from __future__ import annotations

from pathlib import Path

from gitserver.targets.cgroup import Cgroup, CgroupTree

MIB = 1024 * 1024


def version_1(tmp_path: Path) -> Cgroup:
    for controller in ("memory", "pids"):
        (tmp_path / controller / "r1").mkdir(parents=True)
    return CgroupTree(memory=tmp_path / "memory", pids=tmp_path / "pids", version=1).group("r1")


def version_2(tmp_path: Path) -> Cgroup:
    (tmp_path / "algo" / "r1").mkdir(parents=True)
    return CgroupTree(memory=tmp_path / "algo", pids=tmp_path / "algo", version=2).group("r1")


def test_version_1_limits_memory_and_processes_in_two_trees(tmp_path: Path) -> None:
    group = version_1(tmp_path)
    group.make(memory_mib=64, processes=20)
    assert (tmp_path / "memory/r1/memory.limit_in_bytes").read_text() == str(64 * MIB)
    assert (tmp_path / "pids/r1/pids.max").read_text() == "20"
    assert len(group.join_files()) == 2


def test_version_2_limits_both_in_one_and_ends_all_of_an_instance_together(tmp_path: Path) -> None:
    group = version_2(tmp_path)
    for name in ("memory.swap.max", "memory.oom.group"):
        (tmp_path / "algo/r1" / name).touch()
    group.make(memory_mib=64, processes=20)
    found = {path.name: path.read_text() for path in (tmp_path / "algo/r1").iterdir()}
    assert found == {
        "memory.max": str(64 * MIB), "pids.max": "20", "memory.swap.max": "0", "memory.oom.group": "1",
    }  # fmt: skip
    assert group.join_files() == [str(tmp_path / "algo/r1/cgroup.procs")]


def test_a_kernels_kill_for_memory_is_counted_in_either_version(tmp_path: Path) -> None:
    one, two = version_1(tmp_path), version_2(tmp_path)
    assert (one.oom_kills(), two.oom_kills()) == (0, 0)
    (one.memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    (two.memory / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n")
    assert (one.oom_kills(), two.oom_kills()) == (1, 2)


def test_the_peak_is_unknown_on_a_kernel_that_does_not_say(tmp_path: Path) -> None:
    group = version_2(tmp_path)
    assert group.peak_mib() is None
    (group.memory / "memory.peak").write_text(str(96 * MIB) + "\n")
    assert group.peak_mib() == 96.0
