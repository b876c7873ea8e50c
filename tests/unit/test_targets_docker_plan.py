"""A container as it is planned: names, environment, places to write, and what a Dockerfile's image keeps for itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from buildpacks.order import BuildFailed
from gitserver.errors import Json, Problem
from gitserver.push import AppName
from gitserver.settings import Settings, read_settings
from gitserver.targets.containers import ContainerSpec
from gitserver.targets.contract import Spec
from gitserver.targets.docker_plan import Document, Naming, image_tag, plan_container, user_of
from gitserver.targets.instance import Folder

SHIM: list[Json] = ["python", "-P", "-m", "_gitserver_runtime"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({"state": str(tmp_path), "owner": "alice"}, {})


def make_spec(process: Mapping[str, Json], *, base: str = "algo/bookworm-run", **env: str) -> Spec:
    return Spec(
        instance="b1", app_id=3, app_name=AppName(owner="alice", app="iris"), label="main 4f2c9e1",
        image_digest=f"sha256:{'ab' * 32}", image={"base": base, "processes": [dict(process)]}, env=env,
        memory_mib=512, ready_timeout_s=1,
    )  # fmt: skip


def launch(_image: Document, process: Document, env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    words = process["command"]
    assert isinstance(words, list)
    return [str(word) for word in words], {**env, "FROM_LAYER": "layer", "BOTH": "layer"}


def plan(settings: Settings, spec: Spec, *, host_port: int | None = None) -> ContainerSpec:
    folder = Folder(path=settings.run_dir / "instances" / "b1")
    return plan_container(settings, spec, launch, folder, image="sha256:1", user=(20003, 20003), host_port=host_port)


def test_our_runtime_is_called_at_a_socket_and_needs_no_init(settings: Settings) -> None:
    found = plan(settings, make_spec({"type": "web", "command": SHIM}, BOTH="owner", ALGO_BIND="x", MINE="1"))
    assert found.argv == SHIM
    assert (found.publish, found.init, found.user, found.cwd) == ({}, False, "20003:20003", "/workspace")
    assert [(str(mount.host_path), mount.path) for mount in found.mounts] == [
        (str(settings.run_dir / "instances" / "b1" / "io"), "/run/algo")
    ]
    assert found.read_only_root
    assert found.tmpfs == {"/tmp": "size=512m,mode=1777,nosuid,nodev,exec"}
    assert found.env["ALGO_BIND"] == "unix:/run/algo/s"
    assert (found.env["BOTH"], found.env["FROM_LAYER"], found.env["MINE"]) == ("owner", "layer", "1")
    assert (found.env["HOME"], found.env["TMPDIR"]) == ("/tmp", "/tmp")
    assert "PORT" not in found.env


def test_a_web_process_gets_the_same_port_always_and_an_init(settings: Settings) -> None:
    process: dict[str, Json] = {"type": "web", "command": ["./server"], "working-dir": "sub"}
    found = plan(settings, make_spec(process, PORT="1"), host_port=4711)
    assert (dict(found.publish), found.init, found.cwd) == ({8080: 4711}, True, "/workspace/sub")
    assert (found.env["PORT"], found.env["HOST"], found.env["ALGO_BIND"]) == ("8080", "0.0.0.0", "0.0.0.0:8080")


def test_a_dockerfiles_image_keeps_its_own_environment_and_folder(settings: Settings) -> None:
    process: dict[str, Json] = {"type": "web", "command": ["./server"]}
    found = plan(settings, make_spec(process, base="dockerfile", MINE="1"), host_port=4711)
    assert found.cwd == ""
    assert not {"PATH", "LANG", "PYTHONUNBUFFERED"} & set(found.env)
    assert (found.env["MINE"], found.env["PORT"]) == ("1", "8080")


def test_names_are_of_this_server_alone(settings: Settings, tmp_path: Path) -> None:
    spec = make_spec({"type": "web", "command": SHIM})
    found, naming = plan(settings, spec), Naming.of(settings)
    other = Naming.of(read_settings({"state": str(tmp_path / "other"), "owner": "alice"}, {}))
    assert found.name == f"algo-{naming.mark}-b1"
    assert found.network == f"algo-{naming.mark}-3"
    assert found.labels == {"algo.server": naming.mark, "algo.app": "3", "algo.instance": "b1"}
    assert other.mark != naming.mark
    assert image_tag(spec) == "algo/alice-iris:abababababab"


def test_what_cannot_be_launched_is_a_problem(settings: Settings) -> None:
    def refuse(_image: Document, _process: Document, _env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        raise BuildFailed("launch-failed", detail="exec.d")

    folder = Folder(path=settings.run_dir / "instances" / "b1")
    spec = make_spec({"type": "web", "command": SHIM})
    with pytest.raises(Problem) as caught:
        plan_container(settings, spec, refuse, folder, image="i", user=(1, 1), host_port=None)
    assert (caught.value.failure.code, caught.value.failure.fields) == ("launch-failed", {"detail": "exec.d"})


def test_an_image_without_a_web_process_is_refused(settings: Settings) -> None:
    with pytest.raises(Problem, match="no-web-process"):
        plan(settings, make_spec({"type": "worker", "command": ["x"]}))


def test_only_root_gives_each_app_a_user_of_its_own() -> None:
    assert user_of(7, server_uid=0, server_gid=0) == (20007, 20007)
    assert user_of(7, server_uid=1000, server_gid=100) == (1000, 100)
    with pytest.raises(Problem, match="too-many-apps"):
        user_of(40000, server_uid=0, server_gid=0)
