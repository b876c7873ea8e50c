"""`algo stack` on a state folder: what is printed, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from buildpacks.image.config import render_config
from buildpacks.image.values import CONFIG, MANIFEST
from buildpacks.stack.documents import base_config, base_manifest
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import BaseImage, BaseLayer, Stack, StackPython
from gitserver.cli.exits import Exit
from gitserver.cli.main import run


def image_of(store: StackStore, reference: str, size_bytes: int) -> BaseImage:
    blob = store.put_blob([b"x" * size_bytes])
    layers = (BaseLayer(diff_id=blob.digest, blob=blob),)
    config = base_config(arch="amd64", layers=layers, env=[], labels={}, user="1000:1000", made_by="test")
    config_blob = store.put_blob([render_config(config)], media_type=CONFIG)
    manifest = store.put_blob([base_manifest(config_blob, layers)], media_type=MANIFEST)
    return BaseImage(
        reference=reference, image_id=config_blob.digest, manifest_digest=manifest.digest, config=config, layers=layers
    )


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with two stacks."""
    store = StackStore(root=tmp_path / "stacks")
    run_image = image_of(store, "algo/bookworm-run", 2_000_000)
    for name, pythons in (("bookworm", (StackPython(version="3.11.2", path="/usr/bin/python3.11"),)), ("bare", ())):
        store.add(
            Stack(
                name=name,
                run=run_image,
                build=None,
                pythons=pythons,
                libc="glibc 2.36",
                arch="amd64",
                distro="debian",
                distro_version="12",
            )
        )
    return tmp_path


def test_the_list_marks_what_new_builds_lie_on(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stack", "list", "--state", str(state)]) == Exit.DONE
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    image_id = StackStore(root=state / "stacks").images()[0].image_id[7:19]
    assert lines == [
        ["bare", "debian", "12", "no", "Python", "glibc", "2.36", "2", "MB", image_id, "algo/bookworm-run"],
        ["*", "bookworm", "debian", "12", "3.11.2", "glibc", "2.36", "2", "MB", image_id, "algo/bookworm-run"],
    ]


def test_the_list_is_a_document_when_a_program_asks(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stack", "list", "--json", "--state", str(state)]) == Exit.DONE
    bare, bookworm = json.loads(capsys.readouterr().out)["stacks"]
    assert (bare["name"], bare["current"], bookworm["name"], bookworm["current"]) == ("bare", False, "bookworm", True)
    assert bookworm["pythons"] == [{"version": "3.11.2", "path": "/usr/bin/python3.11"}]


def test_a_state_folder_that_is_not_there_yet_has_no_stacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stack", "list", "--state", str(tmp_path / "new")]) == Exit.DONE
    assert capsys.readouterr().out == "No stacks yet. Next: algo stack build\n"
    assert not (tmp_path / "new").exists()


def test_another_stack_is_chosen_and_the_old_one_removed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stack", "use", "bare", "--state", str(state)]) == Exit.DONE
    assert run(["stack", "remove", "bookworm", "--state", str(state)]) == Exit.DONE
    assert capsys.readouterr().out == (
        "New builds lie on bare. Next: algo stack upgrade --all\n"
        "bookworm is removed.\n"
    )  # fmt: skip
    assert StackStore(root=state / "stacks").names() == ("bare",)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["use", "none"], "There is no stack none on this server; there is: bare, bookworm."),
        (["remove", "bookworm"], "The stack bookworm stays: new builds lie on it"),
        (["add", "x", "--run", "./none.tar"], "There is no file or folder ./none.tar."),
        (["build", "../x"], "'../x' cannot name a stack"),
        (["build", "new", "--suite", "-x"], "--suite is '-x', which is no suite that mmdebstrap could be given."),
    ],
)
def test_a_refusal_says_what_and_what_next(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert run(["stack", *arguments, "--state", str(state)]) == Exit.FAILED
    told = capsys.readouterr().err.splitlines()
    assert sentence in told[-2]
    assert told[-1].startswith(" !     Next: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_a_state_folder_of_another_user_is_left_alone(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chown(state, 12345, 12345)
    assert run(["stack", "use", "bare", "--state", str(state)]) == Exit.FAILED
    assert "belongs to user 12345, and this command runs as user 0" in capsys.readouterr().err
    assert StackStore(root=state / "stacks").current_name() == "bookworm"
