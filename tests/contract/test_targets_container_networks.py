"""What children of a build in containers reach, and a real install from a real index."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.build import build
from buildpacks.ground import stack_ground
from buildpacks.order import BuildOrder, Child
from buildpacks.stack.store import StackStore
from buildpacks.toolchain import find_toolchain
from gitserver.settings import BUILD_ENV_NAMES
from gitserver.targets.build_network import BuildNetwork, Gate, Place, inside_env
from gitserver.targets.build_runner import SandboxRunner
from gitserver.targets.build_sites import BuildSites
from gitserver.targets.container_runner import BuildSite
from gitserver.targets.engine import DockerEngine
from gitserver.targets.index_hosts import find_gate
from gitserver.targets.probe import probe_isolation
from tests.contract.build_house import Kitchen, make_site
from tests.contract.targets_house import ROOT, within
from tests.services.engines import graphdriver_engine
from tests.services.stacks import install_stack


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with closing(DockerEngine(graphdriver_engine().host)) as found:
        yield found


@pytest.fixture(scope="module")
def site(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> BuildSite:
    return make_site(engine, tmp_path_factory.mktemp("stack"))


@pytest.fixture
def kitchen(tmp_path: Path, engine: DockerEngine, site: BuildSite) -> Iterator[Kitchen]:
    made = Kitchen(tmp_path, engine, site)
    yield made
    assert made.left() == []


# -- what they reach

REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1] if len(sys.argv) > 1 else {host!r}, {port}), 3)
    print("reached")
except OSError as error:
    print("not reached")
"""


def test_sec_35_under_the_policy_none_nothing_is_reached(kitchen: Kitchen) -> None:
    for host in ("203.0.113.1", "169.254.169.254", "172.17.0.1"):
        assert kitchen.run(REACH.format(host=host, port=80)) == 0
    assert set(kitchen.lines) == {"not reached"}


class Echo:
    """A plain HTTP server of one file, on this machine: an operator's own index."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self.asked.append(client.recv(65536).decode())
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nindex")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def index() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


FETCH = """
import sys, urllib.request, urllib.error
for url in {urls!r}:
    try:
        print(urllib.request.urlopen(url, timeout=10).read().decode())
    except urllib.error.HTTPError as error:
        print(error.code)
    except OSError as error:
        print(error)
"""


def test_an_index_that_the_operator_named_is_reached_even_on_this_machine_and_no_other_host(
    kitchen: Kitchen, index: Echo
) -> None:
    kitchen.reach(localhost=index.port)
    urls = [
        f"http://localhost:{index.port}/simple/",
        "http://example.com/",
        "https://example.org/x",
        f"http://127.0.0.1:{index.port}/",
    ]
    assert kitchen.run(FETCH.format(urls=urls)) == 0
    refused = "the build asked for {}, which is not one of the package indexes (build network: indexes)"
    told = [line.removeprefix(" !     ") for line in kitchen.lines if line.startswith(" !     ")]
    assert told == [refused.format(host) for host in ("example.com", "example.org", "127.0.0.1")]
    said = [line for line in kitchen.lines if not line.startswith(" !     ")]
    assert said == ["index", "403", "<urlopen error Tunnel connection failed: 403 Forbidden>", "403"]
    assert index.asked[0].startswith("GET /simple/ HTTP/1.1\r\nHost: localhost")


def test_an_index_may_not_send_builds_into_this_machine(kitchen: Kitchen, index: Echo) -> None:
    linked = frozenset({Place(host="localhost", port=index.port)})
    kitchen.site = replace(
        kitchen.site, network=BuildNetwork.INDEXES, gate=Gate(named=frozenset(), linked=linked)
    )  # fmt: skip
    assert kitchen.run(FETCH.format(urls=[f"http://localhost:{index.port}/"])) == 0
    assert max(kitchen.lines) == "403"
    assert "which no build may reach (build network: indexes)" in min(kitchen.lines)
    assert index.asked == []


def test_the_way_out_is_gone_with_the_build(kitchen: Kitchen, index: Echo) -> None:
    kitchen.reach(localhost=index.port)
    assert kitchen.run("pass") == 0
    assert list((kitchen.settings.run_dir / "builds").iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "index-proxy"] or within(
        3, lambda: not [thread for thread in threading.enumerate() if thread.name == "index-proxy"]
    )


def test_the_open_policy_gives_a_network_of_the_builds_own_and_takes_it_away(kitchen: Kitchen) -> None:
    kitchen.site = replace(kitchen.site, network=BuildNetwork.OPEN)
    assert kitchen.run("import socket; print(len(socket.if_nameindex()))") == 0
    assert kitchen.lines == ["2"]


# -- a real install

SETUP = """
import socket
from setuptools import setup
{extra}
setup(name="fromsource", version="1.0", py_modules=["fromsource"])
"""


def sdist(folder: Path, extra: str) -> Path:
    folder.mkdir()
    (folder / "setup.py").write_text(SETUP.format(extra=extra))
    (folder / "fromsource.py").write_text("value = 42\n")
    return folder


@pytest.fixture
def install(kitchen: Kitchen) -> Callable[[str], int]:
    """Install a source package with uv, its build requirements from the real index of this machine's settings."""
    operator = {name: os.environ[name] for name in BUILD_ENV_NAMES if name in os.environ}
    tools = find_toolchain()
    gate = find_gate(operator, tools.uv)
    place = next(iter(sorted(gate.named | gate.linked, key=str)), None)
    if place is None or not can_connect(place):
        pytest.skip("no package index can be reached from here")
    kitchen.site = replace(kitchen.site, network=BuildNetwork.INDEXES, gate=gate)
    kitchen.memory_mib = 2048

    def run(extra: str) -> int:
        source = sdist(kitchen.work / "source", extra)
        env = {
            **inside_env(operator, BuildNetwork.INDEXES, trusted=False), "UV_CACHE_DIR": str(kitchen.work / "cache"),
            "HOME": str(kitchen.work), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1",
            "TMPDIR": str(kitchen.work),
        }  # fmt: skip
        certificates = tuple({Path(value).parent for name, value in operator.items() if name == "SSL_CERT_FILE"})
        argv = [
            str(tools.uv),
            "pip",
            "install",
            "--python",
            kitchen.site.python,
            "--target",
            str(kitchen.work / "out"),
            str(source),
        ]
        wheels = tuple(Path(operator[name]) for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS") if name in operator)
        shown = (tools.uv, *certificates, *(path for path in wheels if path.is_dir()))
        return kitchen.child(argv, shown, env=env, timeout_s=200)

    return run


def can_connect(place: Place) -> bool:
    try:
        with socket.create_connection((place.host, place.port), 5) as plain:
            ssl.create_default_context().wrap_socket(plain, server_hostname=place.host).close()
    except OSError:
        return False
    return True


def test_a_source_package_is_built_with_requirements_from_the_real_index(
    kitchen: Kitchen, install: Callable[[str], int]
) -> None:
    status = install("")
    assert status == 0, "\n".join(kitchen.lines)
    assert (kitchen.work / "out" / "fromsource.py").read_text() == "value = 42\n"
    assert [line for line in kitchen.lines if "the build asked for" in line] == []


def test_sec_35_a_source_package_that_calls_somewhere_else_fails_with_one_clear_line(
    kitchen: Kitchen, install: Callable[[str], int]
) -> None:
    call = "import urllib.request; [urllib.request.urlopen('https://example.com/collect') for _ in range(2)]"
    assert install(call) != 0
    told = [line for line in kitchen.lines if "the build asked for" in line]
    line = "the build asked for example.com, which is not one of the package indexes (build network: indexes)"
    assert told == [f" !     {line}"]


def test_an_app_with_a_package_that_has_no_wheel_is_built_for_the_stack(
    kitchen: Kitchen, engine: DockerEngine, install: Callable[[str], int]
) -> None:
    settings = replace(kitchen.settings, build_env={n: os.environ[n] for n in BUILD_ENV_NAMES if n in os.environ})
    stack, stacks = install_stack(settings.state), StackStore(root=settings.state / "stacks")
    tree, caches = kitchen.work / "tree", [settings.state / "cache" / name for name in ("app", "wheels")]
    for folder in (tree, *caches):
        folder.mkdir(parents=True)
    (tree / "requirements.txt").write_text("docopt==0.6.2\n")  # published as source alone
    (tree / "predict.py").write_text("import docopt\n\ndef predict(x: float) -> float:\n    return x\n")
    order = BuildOrder(
        app_key="3", app_dir=tree, work_dir=kitchen.work, cache_dir=caches[0], wheel_dir=caches[1],
        store_dir=settings.state, previous=None, platform_env={}, install_env=settings.build_env, big_files={},
        runtime_dir=ROOT / "runtime", timeout_s=240,
        ground=stack_ground(stack, stacks.rootfs(stack.run), find_toolchain()),
    )  # fmt: skip
    isolation = probe_isolation(settings.state, required="auto")
    sandbox = SandboxRunner(settings, isolation, 3, kitchen.cancelled)
    contained: list[bool] = []

    def run(child: Child, log: Callable[[str], None]) -> int:
        contained.append(child.contained)
        runner = BuildSites(settings, engine, stacks).runner(3, kitchen.cancelled, log) if child.contained else sandbox
        return runner(child, log)

    built = build(order, run, kitchen.lines.append)
    assert contained == [False, True]
    layers = built.config["layers"]
    assert isinstance(layers, list)
    (deps,) = [layer for layer in layers if isinstance(layer, dict) and layer["path"] == "algo_python/deps"]
    packages = settings.state / "layers" / "sha256" / str(deps["diff_id"]).removeprefix("sha256:") / "lib"
    assert [path.name for path in packages.glob("python3*/site-packages/docopt.py")] == ["docopt.py"]
    assert [line for line in kitchen.lines if "the build asked for" in line] == []
