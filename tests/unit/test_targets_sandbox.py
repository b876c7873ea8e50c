"""Plans of the sandbox: what is hidden, which interpreters may be shown, what a configuration may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitserver.errors import Problem
from gitserver.reserved import is_reserved
from gitserver.targets.environment import web_process
from gitserver.targets.sandbox import Level, Limits, SandboxPlan, covered, interpreters
from gitserver.targets.spawn import blocked_at, open_way


def test_a_folder_inside_a_hidden_one_is_not_hidden_again(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    assert covered([inner, tmp_path / "a", other]) == [tmp_path / "a", other]


def test_the_root_of_the_file_system_is_never_hidden() -> None:
    assert covered([Path("/")]) == []


def test_a_hidden_link_hides_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert covered([tmp_path / "link"]) == [tmp_path / "real"]


def make_layer(folder: Path, target: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(target)
    return folder


def test_the_interpreter_that_a_layer_links_to_is_shown(tmp_path: Path) -> None:
    python = tmp_path / "pythons" / "3.11" / "bin" / "python3.11"
    python.parent.mkdir(parents=True)
    python.touch()
    layer = make_layer(tmp_path / "layer", python)
    assert interpreters([layer], [tmp_path / "pythons" / "3.11"]) == [tmp_path / "pythons" / "3.11"]
    assert interpreters([layer], [tmp_path / "pythons"]) == [tmp_path / "pythons" / "3.11"]


def test_sec_51_a_layer_cannot_name_a_folder_of_the_machine(tmp_path: Path) -> None:
    secret = tmp_path / "images" / "someone" / "else"
    secret.mkdir(parents=True)
    layer = make_layer(tmp_path / "layer", secret)
    assert interpreters([layer], [tmp_path / "pythons" / "3.11"]) == []


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("PORT", True), ("HOST", True), ("HOME", True), ("TMPDIR", True), ("LD_PRELOAD", True), ("PYTHONHOME", True),
        ("ALGO_BIND", True), ("ALGO_READY_FILE", True), ("ALGO_INSTANCE", True), ("ALGO_SERVE", True),
        ("ALGO_WORKERS", False), ("ALGO_DEBUG", False), ("PATH", True), ("DATABASE_URL", False), ("PORTAL", False),
    ],
)  # fmt: skip
def test_a_configuration_says_how_the_app_works_and_not_where(name: str, reserved: bool) -> None:
    assert is_reserved(name) is reserved


def test_an_image_without_a_web_process_is_refused_with_what_it_has() -> None:
    with pytest.raises(Problem) as caught:
        web_process({"processes": [{"type": "worker", "command": ["true"]}]})
    assert caught.value.failure.code == "no-web-process"
    assert caught.value.failure.fields == {"found": ["worker"]}


def test_a_plan_is_plain_json() -> None:
    plan = SandboxPlan(
        argv=["true"], env={"A": "b"}, cwd="/", level=Level.USER, uid=20001, readable=["/r"], writable=["/w"],
        hidden=["/h"], rooms=[("/x", True)], join=[], limits=Limits(), landlock=True, private_proc=False, parent=None,
    )  # fmt: skip
    document = json.loads(plan.render())
    assert (document["level"], document["uid"], document["rooms"]) == (1, 20001, [["/x", True]])
    assert document["limits"]["user_processes"] is None


def test_the_way_to_a_folder_opens_without_opening_what_lies_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "state"
    for name in ("git", "run/instances/r1/io"):
        (root / name).mkdir(parents=True)
    for path in (root, *root.rglob("*")):
        path.chmod(0o700)
    open_way(root, [root / "run" / "instances" / "r1" / "io"])
    modes = {
        path.relative_to(tmp_path).as_posix(): oct(path.stat().st_mode & 0o777) for path in (root, *root.rglob("*"))
    }
    assert modes == {
        "state": "0o701", "state/git": "0o700", "state/run": "0o701", "state/run/instances": "0o701",
        "state/run/instances/r1": "0o701", "state/run/instances/r1/io": "0o700",
    }  # fmt: skip


def test_the_folder_that_blocks_a_way_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "closed" / "inside").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    found = blocked_at(tmp_path / "closed" / "inside")
    assert found is not None
    assert (tmp_path / "closed").is_relative_to(found)
