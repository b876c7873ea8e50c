"""The same lifecycle with the same buildpacks in a build container of a real engine, where only an interpreter is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildpacks.image.archive import write_archive
from buildpacks.image.contents import outbound
from buildpacks.image.settle import settle
from buildpacks.order import Child, Json
from buildpacks.stack.store import StackStore
from gitserver.targets.build_network import BuildNetwork
from gitserver.targets.container_runner import ContainerRunner, find_site
from gitserver.targets.engine import DockerEngine
from tests.contract.lifecycle_house import LIFECYCLE, House
from tests.contract.lifecycle_platform import PACKS, Platform
from tests.contract.targets_house import make_settings
from tests.services.engines import graphdriver_engine
from tests.services.stacks import install_stack

NAME = "algo-test/process-types:1"
WARNING = "       Warning: t/left left processes running; they were ended"


@pytest.fixture(name="engine")
def _engine() -> Iterator[DockerEngine]:
    found = DockerEngine(graphdriver_engine().host)
    yield found
    found.close()


@pytest.mark.conformance("1.8-type")
def test_every_process_type_of_an_image_is_a_program_in_its_container(tmp_path: Path) -> None:
    state = tmp_path / "state"
    stack = install_stack(state)
    stacks = StackStore(root=state / "stacks")
    profile = 'export FROM_PROFILE="$FROM_PROFILE, app"\n'
    platform = Platform(state, files={"plain.txt": "", "shell.txt": "", "sub/x": "", ".profile": profile})
    built = platform.build("demo/all")
    python: dict[str, Json] = {"version": stack.pythons[0].version, "path": stack.pythons[0].path}
    image = outbound(settle({**built.config, "python": python}, stack, platform.store), platform.store, stacks)
    archive = tmp_path / "image.tar"
    with archive.open("wb") as file:
        write_archive(image, [NAME], file.write)
    docker = graphdriver_engine().docker
    docker("load", "-i", str(archive))

    def run(kind: str, *arguments: str) -> str:
        return docker("run", "--rm", "--entrypoint", f"/cnb/process/{kind}", NAME, *arguments)

    try:
        assert run("worker") == "hello worker"  # greet lies in a layer, and a program of exec.d runs before it
        assert run("task") == "profile in workspace, typed, app\n/workspace"
        assert run("plain", "mine") == "<$FROM_PROFILE><mine>"
    finally:
        docker("rmi", "-f", NAME)


def test_buildpacks_run_alike_as_a_child_process_and_in_a_build_container(engine: DockerEngine, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "state")
    install_stack(settings.state)
    stack = StackStore(root=settings.state / "stacks").current()
    assert stack is not None
    house = House(settings.state / "builds" / "1" / "work")
    house.packs = [PACKS / name for name in ("tools", "server", "shell", "all")]
    house.pack("left", build="sleep 600 >/dev/null 2>&1 &")
    for name in ("plain.txt", "shell.txt"):
        (house.root / "app" / name).write_text("")
    here = house.ok("demo/all t/left")
    for name in ("layers", "tmp"):
        (house.root / name).rename(house.root / f"{name}-here")
        (house.root / name).mkdir()
    result = house.root / "tmp" / "result.json"
    job = json.loads(house.read("job.json"))
    (house.root / "job.json").write_text(json.dumps(job | {"result": str(result)}))
    site = find_site(settings, engine, stack, BuildNetwork.NONE, print)
    child = Child(
        argv=[site.python, "-I", "-S", str(LIFECYCLE), str(house.root / "job.json")], env={"PATH": "/usr/bin:/bin"},
        cwd=house.root / "app", readable=[LIFECYCLE.parents[1], PACKS, house.root],
        writable=[house.root / name for name in ("app", "layers", "tmp")], timeout_s=60, trusted=False, contained=True,
    )  # fmt: skip
    lines: list[str] = []

    status = ContainerRunner(settings, engine, site, 3, threading.Event(), memory_mib=512)(child, lines.append)

    assert (status, json.loads(result.read_text())["ok"]) == (0, here), lines
    assert lines[-2:] == ["server: hello server, building, words one", WARNING]
