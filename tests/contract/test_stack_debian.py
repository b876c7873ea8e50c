"""The stack of Debian packages: reproducible, minimal, usable without an engine and in one."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from buildpacks.image.archive import write_archive
from buildpacks.image.contents import base_outbound
from buildpacks.image.tar import MTIME_S
from buildpacks.order import BuildFailed
from buildpacks.stack.debian import StackOptions, build_stack
from buildpacks.stack.layout import add_layout
from buildpacks.stack.probe import stack_python
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import BaseImage, Stack
from buildpacks.toolchain import host_arch
from tests.services.debian import need_debian
from tests.services.engines import TestEngine, graphdriver_engine
from tests.services.stacks import NAME, install_stack

ANOTHER_USER = 12345
MOST_RUN_BYTES = 125e6  # measured: 105 MB; python:3.11-slim has 130 MB
STATUS = "var/lib/dpkg/status"
EXTENSION = """
import subprocess, sys, sysconfig
source = '''#include <Python.h>
static struct PyModuleDef made = {PyModuleDef_HEAD_INIT, "made", 0, -1, 0};
PyMODINIT_FUNC PyInit_made(void) { return PyModule_Create(&made); }'''
subprocess.run(["gcc", "-shared", "-fPIC", "-I", sysconfig.get_path("include"), "-x", "c", "-", "-o", "/tmp/made.so"],
               input=source.encode(), check=True)
sys.path.insert(0, "/tmp")
import ensurepip, made, venv
print("compiled", made.__name__)
"""
SELF = """
import ctypes, hashlib, lzma, os, py_compile, sqlite3, ssl, sys, zlib, zoneinfo
libraries = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print(sys.version.split()[0], os.getuid(), all(path.startswith(ROOT) for path in libraries), len(libraries) > 5)
print(all(module.__file__.startswith(ROOT) for module in sys.modules.values() if getattr(module, "__file__", None)))
"""


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    # Not below pytest's folder, which other users cannot enter: one test is another user.
    folder = Path(tempfile.mkdtemp(prefix="algo-stack-"))
    folder.chmod(0o755)
    install_stack(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def store(state: Path) -> StackStore:
    return StackStore(root=state / "stacks")


@pytest.fixture(scope="module")
def stack(store: StackStore) -> Stack:
    found = store.current()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def engine() -> TestEngine:
    return graphdriver_engine()


def test_the_stack_is_described_from_its_files(stack: Stack) -> None:
    assert (stack.name, stack.arch, stack.distro, stack.distro_version) == (NAME, host_arch(), "debian", "12")
    assert stack.libc == "glibc 2.36"
    (python,) = stack.pythons
    assert python.path == "/usr/bin/python3.11"
    assert re.fullmatch(r"3\.11\.\d+", python.version)


def test_the_build_image_lies_on_the_run_image(stack: Stack) -> None:
    assert stack.build is not None
    assert stack.build.layers[: len(stack.run.layers)] == stack.run.layers
    assert len(stack.build.layers) == len(stack.run.layers) + 1


def test_the_configuration_names_the_stack_and_no_time(stack: Stack) -> None:
    config = stack.run.config["config"]
    assert isinstance(config, dict)
    assert config["User"] == "1000:1000"
    labels = config["Labels"]
    assert isinstance(labels, dict)
    assert labels["io.buildpacks.base.distro.name"] == "debian"
    assert labels["io.buildpacks.base.distro.version"] == "12"
    assert labels["io.buildpacks.stack.id"] == f"algo.{NAME}"
    assert stack.run.config["created"] == "1980-01-01T00:00:01Z"


def test_the_layer_holds_nothing_of_the_machine_that_made_it(store: StackStore, stack: Stack) -> None:
    with tarfile.open(store.blob_path(stack.run.layers[0].blob.digest)) as tar:
        members = {member.name: member for member in tar}
    assert sum(member.size for member in members.values()) < MOST_RUN_BYTES
    assert {member.mtime for member in members.values()} == {MTIME_S}
    assert not [member.name for member in members.values() if member.mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not [member.name for member in members.values() if member.isdev() or member.islnk()]
    gone = {"etc/apt", "etc/hostname", "etc/resolv.conf", "etc/machine-id", "usr/share/doc/bash/README"}
    assert gone & set(members) == set()
    assert not [name for name in members if re.match(r"(?:var/(?:log|cache)|tmp|dev|run)/", name)]
    assert {STATUS, "usr/share/doc/bash/copyright", "home/algo", "etc/ssl/certs/ca-certificates.crt"} <= set(members)


@pytest.mark.timeout(900)
def test_the_same_packages_make_the_same_images_whoever_makes_them(
    stack: Stack, store: StackStore, tmp_path: Path
) -> None:
    first, first_store = stack, store
    second = build_again(tmp_path / "a")
    if status_of(first_store, first.run) != status_of(second[1], second[0].run):
        # The one in the cache is of another day, and Debian has corrected something since.
        (first, first_store), second = second, build_again(tmp_path / "b")
    assert status_of(first_store, first.run) == status_of(second[1], second[0].run)
    assert second[0].run.image_id == first.run.image_id
    assert second[0].run.manifest_digest == first.run.manifest_digest
    assert first.build is not None
    assert second[0].build is not None
    assert second[0].build.image_id == first.build.image_id


def build_again(root: Path) -> tuple[Stack, StackStore]:
    """In surroundings that differ wherever they could leave a trace."""
    need_debian("mmdebstrap")
    elsewhere = Path(tempfile.mkdtemp(prefix="algo-elsewhere-"))
    elsewhere.chmod(0o755)
    store = StackStore(root=root)
    steps: list[str] = []
    before = os.umask(0o077)
    try:
        poisoned = {**os.environ, "TMPDIR": str(elsewhere), "PYTHONHASHSEED": "7", "LANG": "tr_TR.UTF-8"}
        stack = build_stack(NAME, StackOptions(), store, poisoned, steps.append)
    finally:
        os.umask(before)
        shutil.rmtree(elsewhere)
    assert "extracting archives" in steps
    return stack, store


def status_of(store: StackStore, image: BaseImage) -> str:
    return (store.rootfs(image) / STATUS).read_text()


@pytest.mark.timeout(300)
def test_a_stack_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    need_debian("mmdebstrap")
    options = StackOptions(mirrors=("http://127.0.0.1:9/debian",))
    with pytest.raises(BuildFailed) as caught:
        build_stack(NAME, options, StackStore(root=tmp_path), os.environ, print)
    assert caught.value.code == "stack-mirror-unreachable"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_stacks_own_python_runs_here_on_nothing_but_its_own_files(store: StackStore, stack: Stack) -> None:
    root = store.rootfs(stack.run)
    interpreter = stack_python(root, stack.pythons[0])
    user = ANOTHER_USER if os.geteuid() == 0 else None
    code = SELF.replace("ROOT", repr(f"{root}/"))
    done = subprocess.run(
        [*interpreter.argv, "-I", "-c", code], env=interpreter.env, cwd="/", user=user, group=user,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    uid = user if user is not None else os.geteuid()
    assert done.stdout.splitlines() == [f"{stack.pythons[0].version} {uid} True True", "True"]


def test_its_standard_library_is_compiled_and_never_checked(store: StackStore, stack: Stack) -> None:
    compiled = list((store.rootfs(stack.run) / "usr/lib/python3.11").rglob("*.pyc"))
    assert len(compiled) > 500
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\0\0\0"}


def test_the_unpacked_image_is_readable_for_everyone_and_runs_as_nobody_else(store: StackStore, stack: Stack) -> None:
    for path in store.rootfs(stack.run).rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            continue
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        assert stat.S_IMODE(mode) in ({0o755} if stat.S_ISDIR(mode) else {0o755, 0o644}), path


def test_the_run_image_runs_read_only_as_a_user_without_rights(
    state: Path, store: StackStore, stack: Stack, engine: TestEngine
) -> None:
    with loaded(state, store, stack.run, engine) as image:
        said = engine.docker(
            "run", "--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", image,
            "python3", "-c", "import os, pwd, ssl, sqlite3; print(os.getuid(), pwd.getpwuid(1000).pw_name)",
        )  # fmt: skip
    assert said == "1000 algo"


def test_the_build_image_compiles_an_extension(
    state: Path, store: StackStore, stack: Stack, engine: TestEngine
) -> None:
    assert stack.build is not None
    with loaded(state, store, stack.build, engine) as image:
        said = engine.docker("run", "--rm", "--network=none", image, "python3", "-c", EXTENSION)
    assert said == "compiled made"


def test_what_docker_saves_is_the_same_image(
    state: Path, store: StackStore, stack: Stack, engine: TestEngine, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.tar"
    with loaded(state, store, stack.run, engine) as image:
        engine.docker("save", image, "-o", str(saved))
    found = add_layout(saved, StackStore(root=tmp_path / "stacks"))
    assert found.image_id == stack.run.image_id
    assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in stack.run.layers]


@contextmanager
def loaded(state: Path, store: StackStore, image: BaseImage, engine: TestEngine) -> Iterator[str]:
    """The image in the engine under a name of its own, for a while."""
    tag = f"algo-test-stack/{image.reference.rpartition('-')[2]}:{secrets.token_hex(4)}"
    with tempfile.NamedTemporaryFile() as file:
        write_archive(base_outbound(image, store, state), [tag], file.write)
        file.flush()
        engine.docker("load", "-i", file.name)
    try:
        yield tag
    finally:
        engine.docker("rmi", "-f", tag)
