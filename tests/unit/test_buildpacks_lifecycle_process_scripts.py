"""Scripts in /cnb/process: each becomes its process, whatever stands in words, arguments and variables."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from buildpacks.image.oci import config_layer_tar, image_config
from buildpacks.image.process_scripts import process_scripts
from buildpacks.order import Json
from tests.services.documents import make_shelf

PRINT = "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ.get('a-b c'), os.environ.get('GONE'))"


def run(tmp_path: Path, start: dict[str, Json], *arguments: str) -> str:
    """What the script of a process type prints."""
    (script,) = process_scripts({"launch": {"types": {"task": start}}}).values()
    path = tmp_path / "task"
    path.write_bytes(script)
    path.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "GONE": "is still here"}
    return subprocess.run([path, *arguments], env=env, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.conformance("1.8-type", "1.8-arguments")
def test_a_script_changes_what_differs_and_its_arguments_are_replaced_by_the_users(tmp_path: Path) -> None:
    folder = tmp_path / "it's $HOME"
    folder.mkdir()
    start: dict[str, Json] = {
        "argv": ["python3", "-c", PRINT, "first $(x) 'q'\n"], "args": ["by", "* default"], "cwd": str(folder),
        "env": {"a-b c": "$x `y` 'z'\n"}, "without": ["GONE"],
    }  # fmt: skip
    first = "first $(x) 'q'\n"
    ending = f"{folder} $x `y` 'z'\n None\n"
    assert run(tmp_path, start) == f"{[first, 'by', '* default']} {ending}"
    assert run(tmp_path, start, "mine", "a b") == f"{[first, 'mine', 'a b']} {ending}"


def test_a_process_without_arguments_of_its_own_is_followed_by_the_users(tmp_path: Path) -> None:
    start: dict[str, Json] = {"argv": ["printf", "<%s>", "x"], "env": {}, "cwd": "/"}
    assert run(tmp_path, start) == "<x>"
    assert run(tmp_path, start, "mine") == "<x><mine>"


@pytest.mark.conformance("1.7-entrypoint")
def test_scripts_are_programs_of_root_and_an_image_of_one_process_has_none(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path)
    doc = shelf.document()
    launch = doc["launch"]
    assert isinstance(launch, dict)
    with tarfile.open(fileobj=io.BytesIO(config_layer_tar(doc))) as tar:
        assert tar.getnames() == ["layers", "layers/config", "layers/config/metadata.toml"]
    more: dict[str, Json] = {**doc, "launch": {**launch, "types": {"web": {"argv": ["x"], "env": {}, "cwd": "/"}}}}
    with tarfile.open(fileobj=io.BytesIO(config_layer_tar(more))) as tar:
        member = tar.getmember("cnb/process/web")
        assert (member.mode, member.uid, tar.getmember("cnb/process").mode) == (0o755, 0, 0o755)
    # and neither changes what the image starts
    for each in (doc, more):
        assert b'"Entrypoint":["python","-P","-m","_gitserver_runtime"]' in image_config(each)
