"""Buildpacks of strangers in the sandbox of the process target: what they write outside, what they leave."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildpacks.order import Child
from gitserver.targets.build_runner import SandboxRunner
from gitserver.targets.probe import Isolation, probe_isolation
from tests.contract.lifecycle_house import LIFECYCLE, House
from tests.contract.targets_house import make_settings, within

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="run the tests as root: builds get users of their own then")
PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(name="isolation")
def _isolation(tmp_path: Path) -> Iterator[Isolation]:
    found = probe_isolation(tmp_path / "probe", required="auto")
    yield found
    if found.cgroups is not None:
        found.cgroups.remove()


def build(tmp_path: Path, isolation: Isolation, script: str) -> tuple[House, list[str]]:
    """One buildpack's bin/build in the sandbox: the house, the lines that it wrote."""
    settings = make_settings(tmp_path / "state")
    house = House(settings.state / "builds" / "1" / "work")
    house.pack("a")
    house.ok("a")  # which also writes the job
    (house.packs[0] / "bin" / "build").write_text(f"#!/bin/sh\n{script}\n")
    (settings.state / "secret").write_text("the server's")
    lines: list[str] = []
    child = Child(
        argv=[PYTHON, "-I", "-S", str(LIFECYCLE), str(house.root / "job.json")], env={"PATH": "/usr/bin:/bin"},
        cwd=house.root / "app", readable=[LIFECYCLE.parents[1], Path(sys.base_prefix), house.root],
        writable=[house.root / name for name in ("app", "layers", "tmp")], timeout_s=60, trusted=False,
    )  # fmt: skip
    (house.root / "result.json").unlink()
    job = (house.root / "job.json").read_text().replace("work/result.json", "work/tmp/result.json")
    (house.root / "job.json").write_text(job)
    status = SandboxRunner(settings, isolation, 3, threading.Event())(child, lines.append)
    assert status == 0, lines
    return house, lines


@needs_root
def test_a_buildpack_reaches_nothing_outside_its_own_folders(tmp_path: Path, isolation: Isolation) -> None:
    state = tmp_path / "state"
    script = (
        f'for place in {state}/owned "$1/../../owned" /etc/owned /usr/owned "$(dirname "$0")/owned"; do\n'
        f'  (echo x > "$place") 2>/dev/null && echo "wrote $place"\ndone\n'
        f"cat {state}/secret 2>/dev/null && echo read\n"
        'echo x > owned && echo x > "$1/owned" && echo done'
    )
    house, lines = build(tmp_path, isolation, script)
    assert lines == ["done"]
    assert sorted(str(path.relative_to(house.root)) for path in state.rglob("owned")) == [
        "app/owned",
        "layers/t_a/owned",
    ]


@needs_root
def test_what_a_buildpack_starts_in_a_session_of_its_own_does_not_outlive_the_build(
    tmp_path: Path, isolation: Isolation
) -> None:
    if isolation.cgroups is None:
        pytest.skip("without control groups a process that leaves its session is lost sight of")
    script = "setsid sleep 601.25 >/dev/null 2>&1 &\nsleep 0.3"
    build(tmp_path, isolation, script)
    assert within(5, lambda: not any("601.25" in text for text in _commands()))


def _commands() -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
        except OSError:
            continue
    return found
