"""Archives in real engines: a graph driver, a containerd store, containerd itself. What is loaded runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from buildpacks.image.archive import archive_manifest, write_archive
from buildpacks.image.contents import outbound
from buildpacks.image.oci import digest_of
from buildpacks.image.store import LayerStore
from buildpacks.image.values import OutboundImage
from buildpacks.order import Json
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack
from tests.services.documents import OneBase, Shelf, make_shelf
from tests.services.engines import TestEngine, containerd_engine, graphdriver_engine, need_program, need_root
from tests.services.stacks import install_stack

NAME = "algo-test/archive"
SERVER = b"""\
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d:%d VERSION" % (os.getuid(), os.path.getsize("model/iris.joblib")))
http.server.HTTPServer(("0.0.0.0", int(os.environ["PORT"])), Answer).serve_forever()
"""
ASK = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080', timeout=5).read().decode())"


class Kitchen:
    """A state folder with the real stack, where documents become images."""

    def __init__(self, state: Path) -> None:
        self.stack: Stack = install_stack(state)
        self.stacks = StackStore(root=state / "stacks")
        base = OneBase(base=self.stack.run, folder=state / "stacks" / "blobs" / "sha256")
        self.shelf = Shelf(layers=LayerStore(root=state), stacks=base)

    @property
    def python(self) -> str:
        return self.stack.pythons[0].path

    def image(self, version: str) -> OutboundImage:
        launch: dict[str, Json] = {
            "argv": [self.python, "-u", "predict.py"], "env": {"ALGO_SERVE": "{}"}, "cwd": "/workspace",
        }  # fmt: skip
        python: dict[str, Json] = {"version": self.stack.pythons[0].version, "path": self.python}
        code = SERVER.replace(b"VERSION", version.encode())
        return outbound(self.shelf.document(code, launch=launch, python=python), self.shelf.layers, self.stacks)


@pytest.fixture(name="kitchen", scope="module")
def _kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("state"))


@pytest.fixture(name="engine", params=[graphdriver_engine, containerd_engine], ids=["graphdriver", "containerd"])
def _engine(request: pytest.FixtureRequest) -> Iterator[TestEngine]:
    start: Callable[[], TestEngine] = request.param
    engine = start()
    yield engine
    for container in engine.docker("ps", "-aq", "--filter", f"label={NAME}").split():
        engine.docker("rm", "-f", "-v", container)
    for tag in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", NAME).split():
        engine.docker("rmi", "-f", tag)


def load(engine: TestEngine, path: Path, image: OutboundImage, tag: str, known: Sequence[str] = ()) -> int:
    """Write the archive and let the engine load it; how many bytes it took."""
    options: dict[str, Sequence[str]] = {"empty" if engine.store == "graphdriver" else "skip": known}
    with path.open("wb") as file:
        written = write_archive(image, [f"{NAME}:{tag}"], file.write, **options)
    said = engine.docker("load", "-i", str(path))
    assert said == f"Loaded image: {NAME}:{tag}"
    return written


def inspect(engine: TestEngine, name: str) -> dict[str, Any]:
    (found,) = json.loads(engine.docker("inspect", name))
    assert isinstance(found, dict)
    return found


def answer(engine: TestEngine, kitchen: Kitchen, tag: str) -> str:
    """What the image says when it runs with nothing of ours around it, and without rights."""
    container = engine.docker(
        "run", "--detach", "--label", NAME, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", f"{NAME}:{tag}"
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while True:
        try:
            return engine.docker("exec", container, kitchen.python, "-c", ASK)
        except AssertionError:
            assert time.monotonic() < deadline, engine.docker("logs", container)
            time.sleep(0.2)


def test_an_engine_takes_it_whole_knows_it_by_our_id_and_runs_it(
    engine: TestEngine, kitchen: Kitchen, tmp_path: Path
) -> None:
    image = kitchen.image("one")
    load(engine, tmp_path / "image.tar", image, "one")
    found = inspect(engine, f"{NAME}:one")
    assert found["Id"] == (image.image_id if engine.store == "graphdriver" else digest_of(archive_manifest(image)))
    assert found["RootFS"]["Layers"] == [layer.diff_id for layer in image.layers]
    assert found["Config"]["User"] == "1000:1000"
    assert found["Config"]["Labels"]["algo.image"] == "1"
    assert found["Config"]["Healthcheck"]["Test"][0] == "CMD"
    assert answer(engine, kitchen, "one") == "1000:900 one"


def test_a_change_of_code_moves_only_the_code(engine: TestEngine, kitchen: Kitchen, tmp_path: Path) -> None:
    first, second = kitchen.image("first"), kitchen.image("second")
    load(engine, tmp_path / "first.tar", first, "first")
    known = [layer.diff_id for layer in second.layers[:3]]
    assert known == [layer.diff_id for layer in first.layers[:3]]
    assert load(engine, tmp_path / "second.tar", second, "second", known) < 64 * 1024
    assert inspect(engine, f"{NAME}:second")["RootFS"]["Layers"] == [layer.diff_id for layer in second.layers]
    assert answer(engine, kitchen, "second") == "1000:900 second"


def test_a_compressed_base_is_taken_as_it_is(engine: TestEngine, tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf", is_gzip=True)
    image = outbound(shelf.document(), shelf.layers, shelf.stacks)
    load(engine, tmp_path / "image.tar", image, "gzip")
    assert inspect(engine, f"{NAME}:gzip")["RootFS"]["Layers"] == [layer.diff_id for layer in image.layers]


def test_the_health_check_of_the_image_passes(kitchen: Kitchen, tmp_path: Path) -> None:
    engine = graphdriver_engine()
    image = kitchen.image("health")
    check = json.loads(image.config)["config"]["Healthcheck"]["Test"][1:]
    load(engine, tmp_path / "image.tar", image, "health")
    try:
        answer(engine, kitchen, "health")
        (container,) = engine.docker("ps", "-q", "--filter", f"label={NAME}").split()
        engine.docker("exec", container, *check)  # fails the test with the check's own words
        with pytest.raises(AssertionError, match="ConnectionRefusedError"):
            engine.docker("exec", "--env", "PORT=8081", container, *check)
        with pytest.raises(AssertionError, match="FileNotFoundError"):
            engine.docker("exec", "--env", "ALGO_BIND=unix:/run/algo/none", container, *check)
    finally:
        for container in engine.docker("ps", "-aq", "--filter", f"label={NAME}").split():
            engine.docker("rm", "-f", "-v", container)
        engine.docker("rmi", "-f", f"{NAME}:health")


@pytest.fixture(name="ctr", scope="module")
def _ctr() -> Iterator[Callable[..., str]]:
    """The ctr command against a containerd of our own."""
    need_root()
    containerd, ctr = need_program("containerd", "containerd"), need_program("ctr", "containerd")
    folder = Path(tempfile.mkdtemp(prefix="algo-containerd-", dir="/tmp"))  # short: it holds a socket
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [containerd, "--root", f"{folder}/root", "--state", f"{folder}/state", "--address", f"{folder}/sock"],
            stdout=log, stderr=log,
        )  # fmt: skip

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [ctr, "--address", f"{folder}/sock", *arguments], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    deadline = time.monotonic() + 30
    while not (folder / "sock").exists():
        assert daemon.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield run
    daemon.terminate()
    daemon.wait(30)
    shutil.rmtree(folder)


@pytest.mark.parametrize("is_gzip", [False, True], ids=["plain", "gzip-base"])
def test_containerd_imports_it_complete(ctr: Callable[..., str], tmp_path: Path, is_gzip: bool) -> None:
    shelf = make_shelf(tmp_path / "shelf", is_gzip=is_gzip)  # a base of one file: nothing of it runs here
    image = outbound(shelf.document(SERVER), shelf.layers, shelf.stacks)
    with (tmp_path / "image.tar").open("wb") as file:
        write_archive(image, [f"{NAME}:ctr"], file.write)
    # Copies of each layer, not overlays: those cannot lie on an overlay, where CI containers have their disk.
    ctr("images", "import", "--snapshotter", "native", str(tmp_path / "image.tar"))
    (line,) = ctr("images", "ls").splitlines()[1:]
    listed = line.split()
    assert listed[0] == f"docker.io/{NAME}:ctr"
    assert listed[2] == digest_of(archive_manifest(image))
    (tmp_path / "root").mkdir()
    ctr("images", "mount", "--snapshotter", "native", f"docker.io/{NAME}:ctr", str(tmp_path / "root"))
    try:
        code = tmp_path / "root" / "workspace" / "predict.py"
        assert code.read_bytes() == SERVER
        assert (code.stat().st_uid, code.stat().st_mode & 0o777) == (1000, 0o644)
        assert os.access(tmp_path / "root" / "layers" / "config" / "metadata.toml", os.R_OK)
    finally:
        ctr("images", "unmount", str(tmp_path / "root"))
        ctr("images", "rm", f"docker.io/{NAME}:ctr")
