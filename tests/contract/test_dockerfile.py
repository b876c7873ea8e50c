"""A repository's Dockerfile, built by a real engine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.image.contents import base_outbound
from buildpacks.order import BuildFailed
from buildpacks.stack.store import StackStore
from gitserver.errors import Problem
from gitserver.explain import sentence
from gitserver.push import AppName
from gitserver.targets.build_network import BuildNetwork
from gitserver.targets.dockerfile import (
    Builder,
    DockerfileOrder,
    build_dockerfile,
    builders,
    document,
    find_dockerfile,
    refusal,
)
from gitserver.targets.engine import DockerEngine
from tests.contract.targets_house import within
from tests.services.engines import graphdriver_engine
from tests.services.stacks import install_stack

BASE = "algo-test/dockerfile-base:1"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """A real engine that has a base image."""
    state = tmp_path_factory.mktemp("state")
    stack = install_stack(state)
    found = DockerEngine(graphdriver_engine().host)
    found.ensure(base_outbound(stack.run, StackStore(root=state / "stacks"), state), BASE, print)
    yield found

    def is_free() -> bool:
        try:
            found.remove_image(BASE)
        except Problem:
            return False
        return True

    # An image that a container uses is not removed: so nothing of a cancelled or late build is left.
    assert within(20, is_free)
    found.close()


@pytest.fixture(params=builders(), ids=lambda builder: "buildkit" if builder.has_buildkit else "classic")
def builder(request: pytest.FixtureRequest) -> Builder:
    """Each docker command of this machine, and each with the classic builder."""
    found: Builder = request.param
    return found


class Push:
    """A tree with a Dockerfile, and what building it said."""

    def __init__(self, tmp_path: Path, engine: DockerEngine) -> None:
        self.tree, self.engine, self.lines = tmp_path / "tree", engine, list[str]()
        self.tree.mkdir()
        (tmp_path / "work").mkdir()
        self.cancelled = threading.Event()
        self.order = DockerfileOrder(
            tree_root=self.tree, work_dir=tmp_path / "work", app=AppName(owner="alice", app=f"docker{os.getpid()}"),
            app_id=3, commit="4f2c9e1" + "0" * 33, host=engine.host, network=BuildNetwork.OPEN, timeout_s=120,
        )  # fmt: skip

    def build(self, dockerfile: str, builder: Builder, **changed: object) -> Mapping[str, object]:
        (self.tree / "Dockerfile").write_text(dockerfile)
        order = replace(self.order, **changed)  # type: ignore[arg-type] # fields by name, in tests
        return build_dockerfile(order, self.lines.append, self.cancelled, builder).document

    def fails(self, dockerfile: str, builder: Builder, **changed: object) -> Problem:
        with pytest.raises(Problem) as caught:
            self.build(dockerfile, builder, **changed)
        return caught.value


@pytest.fixture
def push(tmp_path: Path, engine: DockerEngine) -> Iterator[Push]:
    made = Push(tmp_path, engine)
    yield made
    for image in engine.images({"algo.app": "3"}):
        for tag in image.tags:
            engine.remove_image(tag)


def test_an_image_is_built_labelled_and_tagged_and_its_command_is_kept(push: Push, builder: Builder) -> None:
    (push.tree / "app.py").write_text("print('served')\n")
    (push.tree / "secret.txt").write_text("CANARY")
    (push.tree / ".dockerignore").write_text("secret.txt\n")
    dockerfile = f"""
FROM {BASE}
WORKDIR /srv
COPY . /srv/
RUN ["/usr/bin/python3.11", "-c", "import os; print('FILES', sorted(os.listdir('/srv'))) # {time.time()}"]
ENTRYPOINT ["python3.11"]
CMD ["app.py"]
"""
    built = push.build(dockerfile, builder)
    (image,) = push.engine.images({"algo.image": "1", "algo.app": "3"})
    assert image.id == built["engine_image"]
    assert list(image.tags) == [f"algo/alice-docker{os.getpid()}:4f2c9e100000"]
    assert built["base"] == "dockerfile"
    assert built["processes"] == [
        {"type": "web", "command": ["python3.11", "app.py"], "args": [], "default": True, "working-dir": "/srv"}
    ]
    (files,) = [line for line in push.lines if "FILES" in line and "RUN" not in line and "Step" not in line]
    assert "app.py" in files
    assert "secret.txt" not in files


def test_a_failed_step_is_named_with_the_last_lines(push: Push, builder: Builder) -> None:
    code = "print('about to fail', flush=True); raise SystemExit(3)"
    problem = push.fails(f'FROM {BASE}\nRUN ["/usr/bin/python3.11", "-c", "{code}"]\nCMD ["x"]\n', builder)
    assert problem.failure.code == "dockerfile-failed"
    assert "RUN [" in str(problem.failure.fields["step"])
    assert any("about to fail" in line for line in problem.failure.log)
    assert "3" in str(problem.failure.fields["cause"])
    assert "docker build ." in sentence(problem.failure)


def test_a_dockerfile_that_cannot_be_read_says_where(push: Push, builder: Builder) -> None:
    problem = push.fails(f"FROM {BASE}\nINSTALL everything\n", builder)
    assert problem.failure.code == "dockerfile-failed"
    assert "install" in str(problem.failure.fields["cause"]).lower()


def test_a_base_that_cannot_be_had_is_named(push: Push, builder: Builder) -> None:
    problem = push.fails("FROM algo-test/nothing-here:9\nCMD x\n", builder)
    assert (problem.failure.code, problem.failure.fields["image"]) == (
        "dockerfile-base-missing", "algo-test/nothing-here:9",
    )  # fmt: skip


def test_an_image_that_starts_nothing_is_refused(push: Push, builder: Builder) -> None:
    (push.tree / "file").touch()
    assert push.fails(f"FROM {BASE}\nENTRYPOINT []\nCMD []\nCOPY file /\n", builder).failure.code == (
        "dockerfile-no-process"
    )  # fmt: skip


@pytest.mark.parametrize("network", [BuildNetwork.NONE, BuildNetwork.INDEXES])
def test_sec_35_run_steps_have_no_network_unless_the_policy_is_open(
    push: Push, builder: Builder, network: BuildNetwork
) -> None:
    code = "import socket; print('INTERFACES', [name for _, name in socket.if_nameindex()])"
    dockerfile = f'FROM {BASE}\nRUN ["/usr/bin/python3.11", "-c", "{code} #{time.time()}"]\nCMD ["x"]\n'
    push.build(dockerfile, builder, network=network)
    assert any("INTERFACES ['lo']" in line for line in push.lines)
    assert f"       RUN steps have no network (build network: {network.value})" in push.lines


def test_sec_35_no_frontend_of_the_dockerfiles_choice_is_loaded_under_a_limited_network(
    push: Push, builder: Builder
) -> None:
    dockerfile = f'# syntax=algo-test/hostile-frontend\nFROM {BASE}\nCMD ["x"]\n'
    push.build(dockerfile, builder, network=BuildNetwork.INDEXES)
    assert not any("hostile-frontend" in line for line in push.lines)


def test_sec_33_nothing_of_the_operators_reaches_the_builder(push: Push, builder: Builder, tmp_path: Path) -> None:
    os.environ["CANARY_OF_THE_SERVER"] = "CANARY"
    try:
        push.build(f'FROM {BASE}\nARG CANARY_OF_THE_SERVER\nARG HTTP_PROXY\nCMD ["x"]\n', builder)
    finally:
        del os.environ["CANARY_OF_THE_SERVER"]
    assert not any("CANARY=" in line for line in push.lines)
    assert sorted(path.name for path in (tmp_path / "work" / "home").iterdir() if path.suffix == ".json") == []


def test_a_cancelled_build_ends_at_once(push: Push, builder: Builder) -> None:
    threading.Timer(1.5, push.cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(BuildFailed) as caught:
        push.build(f'FROM {BASE}\nRUN ["/bin/sleep", "{60 + time.time() % 1}"]\nCMD ["x"]\n', builder)
    assert caught.value.code == "cancelled"
    assert time.monotonic() - began < 12


def test_its_time_is_limited(push: Push, builder: Builder) -> None:
    with pytest.raises(BuildFailed) as caught:
        push.build(f'FROM {BASE}\nRUN ["/bin/sleep", "{60 + time.time() % 1}"]\nCMD ["x"]\n', builder, timeout_s=2)
    assert (caught.value.code, caught.value.fields) == ("build-timeout", {"seconds": 2})


def test_an_engine_that_is_down_is_the_operators_move(push: Push, builder: Builder, tmp_path: Path) -> None:
    problem = push.fails(f"FROM {BASE}\n", builder, host=f"unix://{tmp_path}/nobody.sock")
    assert problem.failure.code == "engine-down"


def test_a_link_is_no_dockerfile(tmp_path: Path) -> None:
    assert find_dockerfile(tmp_path) is None
    (tmp_path / "Dockerfile").symlink_to("/etc/hostname")
    assert find_dockerfile(tmp_path) is None
    (tmp_path / "Dockerfile").unlink()
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    assert find_dockerfile(tmp_path) == tmp_path / "Dockerfile"


def test_a_refusal_says_whose_move_it_is() -> None:
    assert "this server does not build Dockerfiles" in sentence(refusal(has_engine=True).failure)
    assert "has no engine to build it" in sentence(refusal(has_engine=False).failure)


def test_entry_point_and_command_of_the_image_become_the_process() -> None:
    both = document("sha256:1", {"Entrypoint": ["serve"], "Cmd": ["--all"], "WorkingDir": ""})
    assert both["launch"] == {"argv": ["serve", "--all"], "env": {}, "cwd": "/"}
    assert document("sha256:1", {"Entrypoint": None, "Cmd": ["/bin/sh", "-c", "serve"]})["processes"] == [
        {"type": "web", "command": ["/bin/sh", "-c", "serve"], "args": [], "default": True, "working-dir": "/"}
    ]
