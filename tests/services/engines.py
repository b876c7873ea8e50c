"""Real Docker engines for tests, one of each image store, started by hand in folders of their own.

graphdriver_engine()   Debian's docker.io: images kept as chains of layers
containerd_engine()    a newer docker.io with its own containerd, unpacked into a cache: images kept as blobs
own_engine()           a graphdriver engine for one test alone: it may be stopped and killed

A machine without the parts skips the test and says what to install; where CI is set, they are installed.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.services import newer_docker
from tests.services.debian import need_debian

UP_S = 60.0
DOWN_S = 40.0
_engines = itertools.count()


@dataclass
class TestEngine:
    """One engine. host: for DOCKER_HOST. is_ours: it may be stopped; one that the developer named may not."""

    __test__ = False

    host: str
    store: str
    folder: Path | None = None
    command: Sequence[str] = ()
    path: str = ""
    is_ours: bool = False
    _daemon: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> TestEngine:
        """Up and answering; one that runs is left alone. Data of before a stop is still there."""
        assert self.folder is not None, "an engine of the developer is never started by tests"
        if self._daemon is not None and self._daemon.poll() is None:
            return self
        policy = forward_policy()
        environment = {**os.environ, "PATH": self.path or os.environ["PATH"]}
        environment.pop("DOCKER_HOST", None)
        with (self.folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=self.folder
            )
        deadline = time.monotonic() + UP_S
        while not answers(self.host):
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise EngineDidNotStart(self.log_tail())
            time.sleep(0.05)
        if policy == "ACCEPT" and forward_policy() != "ACCEPT":
            # dockerd sets DROP, and every other bridge of this machine loses its traffic.
            subprocess.run(["iptables", "-P", "FORWARD", "ACCEPT"], check=True)
        return self

    def stop(self) -> None:
        """As an operator stops it: containers get SIGTERM and are gone; images and stopped containers stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash ends it: SIGKILL, containers go on without it."""
        self._end(signal.SIGKILL)
        if self.folder is not None:
            # Its containerd dies with it, but where process 1 reaps nobody it stays a zombie that the next daemon
            # takes for one that runs.
            (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """It hangs: connections are taken and never answered."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """The end of pause()."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGCONT)

    def docker(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What the docker command says to it; fails with the command's own words."""
        client = need_program("docker", "docker.io")
        environment = {**os.environ, "DOCKER_HOST": self.host}
        done = subprocess.run(
            [client, *arguments], input=stdin, capture_output=True, env=environment, timeout=300, check=False
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode().strip()

    def log_tail(self) -> str:
        """The last lines that the daemon wrote."""
        assert self.folder is not None
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-15:])

    def close(self) -> None:
        """Stopped, and nothing of it left on the machine."""
        if self.folder is None:
            return
        self.stop()
        for process in processes_below(self.folder):
            os.kill(process, signal.SIGKILL)
        for bridge in self._bridges():
            subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True)
        for mounted in sorted(mounts_below(self.folder), reverse=True):
            subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _bridges(self) -> list[str]:
        """Bridges of networks that it ever made: a daemon that ends leaves them, and an address range with each."""
        assert self.folder is not None
        try:
            kept = (self.folder / "data/network/files/local-kv.db").read_bytes()
        except OSError:
            return []
        found = re.findall(rb"docker/network/v1\.0/bridge/([0-9a-f]{12})[0-9a-f]{52}/", kept)
        return sorted({f"br-{part.decode()}" for part in found})

    def _end(self, with_signal: signal.Signals) -> None:
        if self._daemon is None:
            return
        if self._daemon.poll() is None:
            self._daemon.send_signal(with_signal)
            try:
                self._daemon.wait(DOWN_S)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait(DOWN_S)
        self._daemon = None


class EngineDidNotStart(Exception):  # noqa: N818 -- says what happened
    """Carries the daemon's last lines."""


@functools.cache
def graphdriver_engine() -> TestEngine:
    """The session's engine with a graphdriver store: the one that DOCKER_HOST names, or one of our own."""
    named = os.environ.get("DOCKER_HOST", "")
    if named.startswith("unix://") and answers(named):
        engine = TestEngine(host=named, store="graphdriver")
        if "driver-type" not in engine.docker("info", "--format", "{{json .DriverStatus}}"):
            return engine
    return own_engine()


def own_engine(*, space_mib: int | None = None) -> TestEngine:
    """A graphdriver engine of the caller's own, up; closed when the tests end, or by close().

    space_mib  its data lies on a disk of this size; None: as much as there is
    """
    need_root()
    dockerd = need_program("dockerd", "docker.io")
    found: list[str] = []
    for driver in ("overlay2", "vfs"):  # overlay2 cannot lie on an overlay, where CI containers have their disk
        engine = _engine([dockerd, "--storage-driver", driver, *_bridge()], "graphdriver", os.environ["PATH"])
        if space_mib is not None and engine.folder is not None:
            (engine.folder / "data").mkdir()
            options = ["-t", "tmpfs", "-o", f"size={space_mib}m", "tmpfs", str(engine.folder / "data")]
            if subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
                pytest.skip("a disk of a small size is mounted by a root that may mount")
        try:
            return engine.start()
        except EngineDidNotStart as refused:
            found.append(str(refused))
            engine.close()
    pytest.fail("no Docker engine starts here:\n" + "\n".join(found))


@functools.cache
def containerd_engine() -> TestEngine:
    """The session's engine with the containerd store. It keeps its hands off iptables: containers reach no network."""
    need_root()
    root = newer_docker.unpacked()
    need_program("runc", "runc")
    path = os.pathsep.join([str(root / "usr/bin"), str(root / "usr/sbin"), os.environ["PATH"]])
    # Not `--bridge none`: that takes docker0 away from every other engine of the machine.
    network = ["--iptables=false", "--ip6tables=false", *_bridge()]
    return _engine(
        [str(root / "usr/sbin/dockerd"), "--feature", "containerd-snapshotter=true", *network], "containerd", path
    ).start()


def need_root() -> None:
    """An engine is started by root alone."""
    if os.geteuid() != 0:
        pytest.skip("a Docker engine is started by root alone; name one: DOCKER_HOST=unix:///var/run/docker.sock")


def need_program(name: str, package: str) -> str:
    """The path of a program, sbin folders included; its Debian package is needed where it is missing."""
    places = os.environ["PATH"] + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
    found = shutil.which(name, path=places)
    if found is None:
        need_debian(package)
        found = shutil.which(name, path=places)
    assert found is not None, f"{package} is installed, and {name} is not among its programs"
    return found


def answers(host: str) -> bool:
    """Does an engine take requests at unix:///path?"""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(urlsplit(host).path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def forward_policy() -> str:
    """ACCEPT or DROP; '' where there is no iptables."""
    if shutil.which("iptables") is None:
        return ""
    done = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].removeprefix("-P FORWARD ").strip()


def processes_below(folder: Path) -> list[int]:
    """Pids whose command line names the folder: shims that a killed daemon left."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if os.fsencode(str(folder)) in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # it ended while we looked
                continue
    return found


def mounts_below(folder: Path) -> list[str]:
    """Mount points inside the folder."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [point for line in lines if (point := line.split()[4]).startswith(f"{folder}/")]


def _engine(program: Sequence[str], store: str, path: str) -> TestEngine:
    # Short, for a socket's path ends at 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="algo-engine-", dir="/tmp"))
    host = f"unix://{folder}/sock"
    (folder / "daemon.json").write_text("{}")
    settings = ["--config-file", f"{folder}/daemon.json", "--data-root", f"{folder}/data", "--exec-root",
                f"{folder}/exec", "--pidfile", f"{folder}/pid", "--host", host]  # fmt: skip
    # The daemon must not outlive a test run that was killed. (The signal comes when the thread that started it ends: a
    # thread that a test lets go must not be the one to start an engine.)
    leash = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
    engine = TestEngine(
        host=host, store=store, folder=folder, command=[*leash, *program, *settings], path=path, is_ours=True
    )
    atexit.register(engine.close)
    return engine


def _bridge() -> list[str]:
    # Two engines on one machine share docker0; each then needs addresses of its own on it.
    done = subprocess.run(["ip", "-4", "-o", "address", "show", "docker0"], capture_output=True, text=True, check=False)
    for word in done.stdout.split():
        address, slash, bits = word.partition("/")
        if slash and bits == "16":
            first, second, *_ = address.split(".")
            return ["--fixed-cidr", f"{first}.{second}.{16 + (os.getpid() + next(_engines) * 7) % 230}.0/24"]
    return []
