"""The same app without us: `docker build` with a warm cache and `docker run`, in two forms.

on_our_image   the Dockerfile begins at our own finished image: stack, dependencies and runtime are there already, one
               COPY is all it has to do, and the server in it is our runtime. What people rarely have
as_written     what people write: a Python image, its packages in a cached layer, the app copied last, and Flask with
               gunicorn in front of the model
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.services.waiting import free_port

# The program of the benchmark calls itself `predict(instances)`; this is what serves it without us.
_FLASK = """\
from flask import Flask, jsonify, request

from predict import predict

app = Flask(__name__)


@app.post("/predict")
def answer():
    return jsonify(predict(**request.get_json()))
"""
_ON_OURS = "FROM {base}\nCOPY tree/ /workspace/\n"
_AS_WRITTEN = """\
FROM {base}
COPY site/ /site/
ENV PYTHONPATH=/site PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv
COPY tree/ /srv/
COPY app.py /srv/
ENTRYPOINT []
CMD ["python3.11", "-m", "gunicorn", "--bind", "0.0.0.0:8080", "--threads", "4", "app:app"]
"""


class DockerBuild:
    """One form of it, with a context of its own. docker: a command that has BuildKit, see buildkit_client."""

    def __init__(self, docker: str, host: str, folder: Path, name: str) -> None:
        self._docker, self._tag, self._context = docker, f"bench/{name}", folder / name
        self._env = {"PATH": os.environ["PATH"], "DOCKER_BUILDKIT": "1", "DOCKER_HOST": host, "HOME": str(folder)}
        self._context.mkdir()
        self._box = ""

    def on_our_image(self, image: str) -> DockerBuild:
        """Of an image of ours in the engine, by its id."""
        return self._from(image, _ON_OURS)

    def as_written(self, base: str, packages: Sequence[str]) -> DockerBuild:
        """Of a Python image, with packages installed and compiled as pip does."""
        uv = str(Path(sys.executable).parent / "uv")
        site = self._context / "site"
        subprocess.run([uv, "pip", "install", "-q", "--target", str(site), "--compile-bytecode", *packages], check=True)
        (self._context / "app.py").write_text(_FLASK, encoding="ascii")
        return self._from(base, _AS_WRITTEN)

    def _from(self, image: str, dockerfile: str) -> DockerBuild:
        # BuildKit looks a name up, and an id is none.
        self._call("tag", image, f"{self._tag}-base")
        (self._context / "Dockerfile").write_text(dockerfile.format(base=f"{self._tag}-base"), encoding="ascii")
        return self

    def take(self, tree: Path) -> None:
        """The work tree as it is now becomes the context: only what changed is written."""
        for path in sorted(tree.rglob("*")):
            if path.is_file() and ".git" not in path.relative_to(tree).parts:
                target = self._context / "tree" / path.relative_to(tree)
                if not target.exists() or target.read_bytes() != path.read_bytes():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target)

    def build(self) -> None:
        """docker build with what is cached."""
        self._call("build", "-q", "-t", self._tag, str(self._context))

    def run_until(self, number: int, body: object, within_s: float = 60) -> None:
        """docker run, then calls until the change of this number answers."""
        port = free_port()
        publish = f"127.0.0.1:{port}:8080"
        self._box = self._call("run", "-d", "--rm", "--read-only", "--tmpfs", "/tmp", "-p", publish, self._tag)
        deadline = time.monotonic() + within_s
        with httpx.Client(trust_env=False, timeout=30) as client:
            while time.monotonic() < deadline:
                try:
                    reply = client.post(f"http://127.0.0.1:{port}/predict", json=body)
                except httpx.TransportError:
                    time.sleep(0.005)
                    continue
                if reply.status_code == 200 and reply.json().get("change") == number:
                    return
                time.sleep(0.005)
        raise TimeoutError(f"change {number} of docker build did not answer within {within_s:g} s")

    def stop(self) -> None:
        """The container goes."""
        self._call("rm", "-f", self._box)

    def _call(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._docker, *arguments], env=self._env, capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode != 0:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()


def buildkit_client(host: str) -> str:
    """A docker command that can build with BuildKit: newer ones need a plugin that is not always there."""
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n", encoding="ascii")
        for place in os.environ["PATH"].split(os.pathsep):
            client = Path(place) / "docker"
            if not client.exists():
                continue
            env = {"PATH": os.environ["PATH"], "DOCKER_BUILDKIT": "1", "DOCKER_HOST": host, "HOME": empty}
            done = subprocess.run([str(client), "build", "-q", empty], env=env, capture_output=True, check=False)
            if done.returncode == 0:
                return str(client)
    raise SystemExit("no docker command here builds with BuildKit: apt-get install docker.io, or docker-buildx")
