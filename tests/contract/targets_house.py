"""A state folder with handmade images, for tests of the process target: real processes, no kitchen."""

from __future__ import annotations

import json
import os
import shutil
import site
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from gitserver.errors import Json, Problem
from gitserver.push import AppName
from gitserver.settings import Settings, read_settings
from gitserver.targets.contract import Spec, Target
from gitserver.targets.instance import Folder, Note
from gitserver.targets.process import ProcessTarget

ROOT = Path(__file__).resolve().parents[2]
PACK = "test_pack"
SERVE_PACKAGES = (
    "flask", "gunicorn", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "click", "blinker", "packaging",
)  # fmt: skip

# A web process of ten lines: answers GET / with what a tenant sees from inside, by running PROBE of its environment.
WEB = """
import http.server, os, json, sys
exec(os.environ.get("BEFORE", ""))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = repr(eval(os.environ.get("PROBE", "None"))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
print("listening", flush=True)
port = int(os.environ.get("LISTEN", os.environ["PORT"]))
http.server.ThreadingHTTPServer((os.environ.get("ON", os.environ["HOST"]), port), Handler).serve_forever()
"""

# The runtime's side of the contract with the target, and nothing else of it.
SHIM = """
import json, os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
exec(os.environ.get("BEFORE", ""))
path = os.environ["ALGO_BIND"].removeprefix("unix:")
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
with open(os.environ["ALGO_READY_FILE"] + "~", "w") as file:
    json.dump({"load_s": 0.5, "memory_mib": 10}, file)
os.rename(os.environ["ALGO_READY_FILE"] + "~", os.environ["ALGO_READY_FILE"])
while True:
    connection, _ = listener.accept()
    try:
        connection.sendall(f"pid {os.getpid()}".encode())
    except BrokenPipeError:
        pass
    connection.close()
"""


LAST_WORDS = "import sys; print('loading'); sys.stdout.flush(); "


def quiet(_line: str) -> None:
    """A start that nobody listens to."""


def make_settings(state: Path, **options: str) -> Settings:
    """A server's settings on a private folder."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return read_settings({"state": str(state), "owner": "alice", "memory_mib": "512", **options}, {})


class Store:
    """Images and layers by hand, as the kitchen lays them out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def layer(self, name: str, fill: Callable[[Path], None]) -> str:
        """A sealed layer; its diff id."""
        hex_id = _hex(name)
        folder = self.settings.state / "layers" / "sha256" / hex_id
        if not folder.exists():
            folder.mkdir(parents=True)
            fill(folder)
        return f"sha256:{hex_id}"

    def image(
        self, files: Mapping[str, str], command: Sequence[str], layers: Mapping[str, str] | None = None
    ) -> tuple[str, dict[str, Json]]:
        """A composed image: digest and config. layers: name in the image -> diff id; deps is added."""
        named = {"deps": self.layer("deps", fill_python), **(layers or {})}
        hex_id = _hex(json.dumps([dict(files), list(command), named]))
        root = self.settings.state / "images" / "sha256" / hex_id
        if not root.exists():
            self._compose(root, files, named)
        config: dict[str, Json] = {
            "layers": [
                {"diff_id": diff_id, "kind": "layer", "path": "", "size_bytes": 0} for diff_id in named.values()
            ],
            "processes": [{"type": "web", "command": list(command), "args": [], "default": True, "working-dir": ""}],
            "buildpacks": [{"id": PACK, "version": "1"}],
        }
        return f"sha256:{hex_id}", config

    def _compose(self, root: Path, files: Mapping[str, str], named: Mapping[str, str]) -> None:
        (root / "layers" / PACK).mkdir(parents=True)
        (root / "app").mkdir()
        for name, text in files.items():
            _write(root / "app" / name, text)
        for name, diff_id in named.items():
            target = self.settings.state / "layers" / "sha256" / diff_id.removeprefix("sha256:")
            (root / "layers" / PACK / name).symlink_to(os.path.relpath(target, root / "layers" / PACK))

    def web(self, instance: str = "r1", *, app_id: int = 1, **env: str) -> Spec:
        """A spec of the ten-line web process."""
        return self.spec(instance, self.image({"web.py": WEB}, ["python", "web.py"]), app_id=app_id, **env)

    def shim(self, instance: str = "r1", *, app_id: int = 1, **env: str) -> Spec:
        """A spec of the handmade shim."""
        layer = self.layer("shim", lambda folder: _write(folder / "_gitserver_runtime" / "__main__.py", SHIM))
        image = self.image({}, ["python", "-P", "-m", "_gitserver_runtime"], {"runtime": self._on_path(layer)})
        return self.spec(instance, image, app_id=app_id, **env)

    def real_shim(self, instance: str, predict: str, *, label: str = "main b1", app_id: int = 1) -> Spec:
        """A spec of the product's own runtime over a predict.py."""
        deps = self.layer("serve-deps", fill_serving)
        runtime = self._on_path(self.layer("runtime", lambda folder: _copy_runtime(folder / "_gitserver_runtime")))
        serve = {"kind": "function", "file": "predict.py", "name": "predict", "model_file": None, "written_by": None}
        layers = {"deps": deps, "runtime": runtime}
        image = self.image({"predict.py": predict}, ["python", "-P", "-m", "_gitserver_runtime"], layers)
        folder = self.settings.state / "layers" / "sha256" / _hex("serve")
        if not folder.exists():
            _write(folder / "env.launch" / "ALGO_SERVE", json.dumps({**serve, "example": None}))
        link = self.settings.state / "images" / "sha256" / image[0].removeprefix("sha256:") / "layers" / PACK / "serve"
        link.symlink_to(os.path.relpath(folder, link.parent))
        layer_list = image[1]["layers"]
        assert isinstance(layer_list, list)
        layer_list.append({"diff_id": f"sha256:{_hex('serve')}", "kind": "layer", "path": "", "size_bytes": 0})
        spec = self.spec(instance, image, app_id=app_id)
        return Spec(**{**{name: getattr(spec, name) for name in Spec.__slots__}, "label": label})

    def break_shim(self, spec: Spec) -> None:
        """Its next start fails; the one that runs goes on."""
        layer = self.settings.state / "layers" / "sha256" / runtime_layer(spec)
        _write(layer / "_gitserver_runtime" / "__main__.py", "raise SystemExit(3)")

    def spec(self, instance: str, image: tuple[str, dict[str, Json]], *, app_id: int = 1, **env: str) -> Spec:
        """Complete."""
        return Spec(
            instance=instance, app_id=app_id, app_name=AppName(owner="alice", app=f"app{app_id}"),
            label=f"main {instance}", image_digest=image[0], image=image[1], env=env,
            memory_mib=self.settings.memory_mib, ready_timeout_s=30,
        )  # fmt: skip

    def _on_path(self, diff_id: str) -> str:
        folder = self.settings.state / "layers" / "sha256" / diff_id.removeprefix("sha256:")
        _write(folder / "env.launch" / "PYTHONPATH.prepend", str(folder))
        _write(folder / "env.launch" / "PYTHONPATH.delim", ":")
        return diff_id


class Place(Protocol):
    """A target, images for it, and what is true beneath it."""

    @property
    def store(self) -> Store:
        """Images and specs."""
        ...

    @property
    def target(self) -> Target:
        """The one under test."""
        ...

    def refusal(self, spec: Spec) -> Problem:
        """Why it did not start; nothing of the attempt stays behind."""
        ...

    def pid(self, instance: str) -> int:
        """Its first process, as this machine numbers it."""
        ...

    def close(self) -> None:
        """Nothing of a test stays."""
        ...


class ProcessPlace:
    """Processes of this machine."""

    def __init__(self, settings: Settings) -> None:
        self.store = Store(settings)
        self.target: Target = ProcessTarget(settings, warm=False)

    def refusal(self, spec: Spec) -> Problem:
        """Why it did not start; nothing of the attempt stays behind."""
        return refusal_of(self.target, self.store.settings, spec)

    def pid(self, instance: str) -> int:
        """Its first process."""
        return noted_pid(self.store.settings, instance)

    def close(self) -> None:
        """Nothing of a test stays."""
        end(self.target)


def refusal_of(target: Target, settings: Settings, spec: Spec) -> Problem:
    """Why it did not start; neither an instance nor its folder stays."""
    with pytest.raises(Problem) as caught:
        target.start(spec, quiet)
    assert target.instances() == ()
    assert list((settings.run_dir / "instances").iterdir()) == []
    return caught.value


def noted_pid(settings: Settings, instance: str) -> int:
    """The pid in an instance's note. Raises ValueError while there is none."""
    note = Note.read(Folder(path=settings.run_dir / "instances" / instance))
    if note is None:
        raise ValueError(f"{instance} has no note")
    return note.life.pid


def runtime_layer(spec: Spec) -> str:
    """The hex digest of the layer that a shim of Store runs from."""
    layers = spec.image["layers"]
    assert isinstance(layers, list)
    last = layers[-1]
    assert isinstance(last, dict)
    return str(last["diff_id"]).removeprefix("sha256:")


def fill_python(folder: Path) -> None:
    """A virtual environment without packages: a link to the interpreter that runs the tests."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(sys.executable)).parent}\n")
    (folder / "lib" / f"python3.{sys.version_info[1]}" / "site-packages").mkdir(parents=True)


def fill_serving(folder: Path) -> None:
    """The same with what the runtime imports."""
    fill_python(folder)
    source = Path(site.getsitepackages()[0])
    for name in SERVE_PACKAGES:
        shutil.copytree(source / name, folder / "lib" / f"python3.{sys.version_info[1]}" / "site-packages" / name)


def call(address: str) -> str:
    """What an instance says to a caller."""
    kind, _, rest = address.partition(":")
    if kind == "unix":
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(rest)
            return _read_all(connection)
    host, _, port = rest.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return _read_all(connection).partition("\r\n\r\n")[2]


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether it becomes true in time; what cannot be asked yet (nobody listens, no such file) is not true yet."""
    deadline_at = time.monotonic() + seconds
    while time.monotonic() < deadline_at:
        with suppress(OSError, ValueError):
            if condition():
                return True
        time.sleep(0.02)
    return False


def end(target: Target) -> None:
    """Nothing of a test stays."""
    for instance in target.instances():
        target.stop(instance, grace_s=1)
    target.close()


def _read_all(connection: socket.socket) -> str:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()


def _copy_runtime(target: Path) -> None:
    shutil.copytree(ROOT / "runtime", target, ignore=shutil.ignore_patterns("__pycache__"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _hex(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()
