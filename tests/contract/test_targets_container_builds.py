"""Children of a build in containers of a real engine: what they see, what they reach, how they end."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.build import build
from buildpacks.ground import stack_ground
from buildpacks.order import BuildFailed, BuildOrder, Child
from buildpacks.stack.store import StackStore
from buildpacks.toolchain import find_toolchain
from gitserver.settings import BUILD_ENV_NAMES
from gitserver.targets.build_lines import MAX_LINE_BYTES
from gitserver.targets.build_network import BuildNetwork, Gate, Place, inside_env
from gitserver.targets.build_runner import WHEEL_UID, SandboxRunner
from gitserver.targets.build_sites import BuildSites
from gitserver.targets.container_runner import LABEL, BuildSite, ContainerRunner, find_site, sweep
from gitserver.targets.containers import ContainerSpec
from gitserver.targets.engine import DockerEngine
from gitserver.targets.environment import server_mark
from gitserver.targets.index_hosts import find_gate
from gitserver.targets.probe import probe_isolation
from tests.contract.targets_house import ROOT, make_settings, within
from tests.services.engines import graphdriver_engine
from tests.services.stacks import install_stack

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="run the tests as root: builds get users of their own then")


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    found = DockerEngine(graphdriver_engine().host)
    yield found
    found.close()


@pytest.fixture(scope="module")
def site(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> BuildSite:
    """The build image of a real stack, in the engine."""
    settings = make_settings(tmp_path_factory.mktemp("stack") / "state")
    install_stack(settings.state)
    stack = StackStore(root=settings.state / "stacks").current()
    assert stack is not None
    return find_site(settings, engine, stack, BuildNetwork.NONE, print)


class Kitchen:
    """One build's folders and its runner."""

    def __init__(self, tmp_path: Path, engine: DockerEngine, site: BuildSite) -> None:
        self.settings = make_settings(tmp_path / "state")
        self.engine, self.site, self.memory_mib = engine, site, 512
        self.cancelled = threading.Event()
        self.work = self.settings.state / "builds" / "1" / "work"
        self.work.mkdir(parents=True)
        self.lines: list[str] = []

    def run(self, code: str, *, trusted: bool = False, timeout_s: float = 60, **env: str) -> int:
        argv = [self.site.python, "-I", "-S", "-c", code]
        return self.child(argv, env=env, trusted=trusted, timeout_s=timeout_s)

    def child(
        self, argv: list[str], readable: tuple[Path, ...] = (), *, env: Mapping[str, str] | None = None,
        trusted: bool = False, timeout_s: float = 60,
    ) -> int:  # fmt: skip
        child = Child(
            argv=argv, env={"PATH": "/usr/bin:/bin", **(env or {})}, cwd=self.work, readable=list(readable),
            writable=[self.work], timeout_s=timeout_s, trusted=trusted, contained=True,
        )  # fmt: skip
        runner = ContainerRunner(
            self.settings, self.engine, self.site, 3, self.cancelled, memory_mib=self.memory_mib
        )  # fmt: skip
        return runner(child, self.lines.append)

    def left(self) -> list[str]:
        return [found.name for found in self.engine.containers({LABEL: server_mark(self.settings.state)})]

    def reach(self, **names: int) -> None:
        """Let builds reach these hosts, as if the operator's settings named them as indexes."""
        gate = Gate(named=frozenset(Place(host=host, port=port) for host, port in names.items()))
        self.site = replace(self.site, network=BuildNetwork.INDEXES, gate=gate)


@pytest.fixture
def kitchen(tmp_path: Path, engine: DockerEngine, site: BuildSite) -> Iterator[Kitchen]:
    made = Kitchen(tmp_path, engine, site)
    yield made
    assert made.left() == []


# -- what they say, how they end


def test_lines_arrive_as_they_are_written_and_the_status_is_the_childs(kitchen: Kitchen) -> None:
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr); print('no end', end=''); sys.exit(7)"
    assert kitchen.run(code) == 7
    assert sorted(kitchen.lines) == ["no end", "one", "two"]


def test_a_child_that_a_signal_ended_says_which(kitchen: Kitchen) -> None:
    assert kitchen.run("import os; os.kill(os.getpid(), 15)") == 143


def test_a_command_that_is_not_there_says_so(kitchen: Kitchen) -> None:
    assert kitchen.child(["/usr/bin/nothing-here"]) == 127
    assert kitchen.lines == ["/usr/bin/nothing-here could not be started: No such file or directory"]


def test_sec_08_control_bytes_are_taken_out_and_long_lines_are_cut(kitchen: Kitchen) -> None:
    code = "import sys; sys.stdout.buffer.write(b'\\x1b[31mred\\x07\\r\\n' + b'x' * 40000 + b'\\nno end')"
    assert kitchen.run(code) == 0
    assert kitchen.lines[0] == "[31mred"
    assert [len(line) for line in kitchen.lines[1:4]] == [MAX_LINE_BYTES, MAX_LINE_BYTES, 40000 - 2 * MAX_LINE_BYTES]
    assert kitchen.lines[-1] == "no end"


def test_its_time_ends_all_of_it_and_the_container_is_gone(kitchen: Kitchen) -> None:
    began = time.monotonic()
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("import os, time; os.fork() or os.setsid(); time.sleep(60)", timeout_s=3)
    assert (caught.value.code, caught.value.fields) == ("build-timeout", {"seconds": 3})
    assert time.monotonic() - began < 15


def test_a_cancelled_build_ends_at_once(kitchen: Kitchen) -> None:
    threading.Timer(2, kitchen.cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("import time; time.sleep(60)")
    assert caught.value.code == "cancelled"
    assert time.monotonic() - began < 15


def test_a_daemon_that_a_build_leaves_behind_neither_delays_nor_outlives_it(kitchen: Kitchen) -> None:
    began = time.monotonic()
    assert kitchen.run("import os, time; os.fork() or (os.setsid(), time.sleep(60)); time.sleep(0.3)") == 0
    assert time.monotonic() - began < 20


def test_a_build_that_takes_too_much_memory_is_told_so(kitchen: Kitchen) -> None:
    kitchen.memory_mib = 64
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("x = bytearray(400 * 2**20); import time; time.sleep(30)")
    assert (caught.value.code, caught.value.fields) == ("build-memory", {"limit_mib": 64})


def test_what_a_dead_worker_left_is_removed_and_containers_of_others_stay(kitchen: Kitchen) -> None:
    def container(name: str, mark: str) -> str:
        spec = ContainerSpec(
            name=name, image=kitchen.site.image, argv=["/bin/sleep", "60"], env={}, cwd="/", user="65534:65534",
            labels={LABEL: mark}, network="none", memory_mib=64, processes=16,
        )  # fmt: skip
        made = kitchen.engine.create(spec)
        kitchen.engine.start(made)
        return made

    mark = server_mark(kitchen.settings.state)
    foreign = container(f"fhelper-foreign-{os.getpid()}", "0123456789ab")
    try:
        container(f"fhelper-left-{os.getpid()}", mark)
        assert sweep(kitchen.settings, kitchen.engine) == 1
        assert kitchen.left() == []
        state = kitchen.engine.inspect(foreign)
        assert state is not None
        assert state.is_running
    finally:
        kitchen.engine.remove(foreign)


# -- what they see


@needs_root
def test_sec_32_a_build_container_owns_nothing_but_its_workspace(kitchen: Kitchen) -> None:
    code = """
import os
print(os.getresuid(), os.getresgid(), len([p for p in os.listdir("/proc") if p.isdigit()]))
lines = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
print([lines[n].strip() for n in ("CapEff", "CapBnd", "NoNewPrivs")])
print([os.path.exists(p) for p in ("/run/docker.sock", "/var/run/docker.sock")])
for path in ("/made", "/usr/made", "/etc/made", "/root/made"):
    try:
        open(path, "w")
    except OSError as error:
        print(error.errno)
open("made", "w").close()
open("/tmp/made", "w").close()
"""
    assert kitchen.run(code) == 0
    *seen, caps, sockets, _, _, _, _ = kitchen.lines
    assert seen == ["(20003, 20003, 20003) (20003, 20003, 20003) 2"]
    assert (caps, sockets) == ("['0000000000000000', '0000000000000000', '1']", "[False, False]")
    assert set(kitchen.lines[3:]) <= {"30", "13"}
    assert (kitchen.work / "made").stat().st_uid == 20003


@needs_root
def test_a_child_that_executes_nothing_of_the_repository_has_the_wheel_cache_user(kitchen: Kitchen) -> None:
    assert kitchen.run("import os; print(os.getuid())", trusted=True) == 0
    assert kitchen.lines == [str(WHEEL_UID)]


def test_sec_33_neither_the_servers_files_nor_the_operators_passwords_reach_a_build(kitchen: Kitchen) -> None:
    secret = kitchen.settings.state / "owner-token"
    secret.write_text("CANARY")
    os.environ["CANARY_OF_THE_SERVER"] = "CANARY"
    code = f"""
import os
print(sorted(os.environ.items()))
for path in ({str(secret)!r}, "/root/.netrc", "/root/.docker/config.json"):
    try:
        print(open(path).read())
    except OSError as error:
        print(type(error).__name__)
"""
    try:
        index = "https://reader:CANARY@index.example/simple"
        assert kitchen.run(code, UV_DEFAULT_INDEX=index, UV_INDEX=f"one={index} two={index}") == 0
    finally:
        del os.environ["CANARY_OF_THE_SERVER"]
    assert "https://index.example/simple" in kitchen.lines[0]
    assert "CANARY" not in "".join(kitchen.lines)
    assert set(kitchen.lines[1:]) <= {"FileNotFoundError", "PermissionError"}


def test_what_is_only_readable_is_not_written(kitchen: Kitchen) -> None:
    tool = kitchen.settings.state / "tool"
    tool.mkdir()
    (tool / "file").write_text("as it was")
    tool.chmod(0o777)
    code = f"import os; print(open({str(tool / 'file')!r}).read(), flush=True); os.mkdir({str(tool / 'made')!r})"
    assert kitchen.child([kitchen.site.python, "-c", code], (tool,)) == 1
    assert "as it was" in kitchen.lines  # two pipes have no order
    assert any("Read-only file system" in line for line in kitchen.lines)


def test_the_servers_usr_bin_never_hides_the_images_own(kitchen: Kitchen) -> None:
    assert kitchen.child([kitchen.site.python, "-c", "print('here')"], (Path("/usr/bin"), Path("/usr"))) == 0
    assert kitchen.lines == ["here"]


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
