"""Starts the real shim as it is shipped: under its private name, in a folder of its own, by the real interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

RUNTIME_DIR = Path(__file__).resolve().parents[2] / "runtime"
READY_TIMEOUT_S = 60.0


@dataclass(kw_only=True)
class Shim:
    """One started shim. layer holds the package, app_dir the user's files, run_dir the socket and what it reports."""

    app_dir: Path
    run_dir: Path
    layer: Path
    env: dict[str, str]
    python: str = sys.executable
    ready_timeout_s: float = READY_TIMEOUT_S
    process: subprocess.Popen[bytes] | None = None
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "sock"

    @property
    def ready_path(self) -> Path:
        return self.run_dir / "ready.json"

    @property
    def log(self) -> str:
        return (self.run_dir / "log").read_text()

    def start(self) -> None:
        with (self.run_dir / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-P", "-m", "_gitserver_runtime"],
                cwd=self.app_dir,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> dict[str, Any]:
        assert self.process is not None
        deadline_at = time.monotonic() + self.ready_timeout_s
        while not self.ready_path.exists():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < deadline_at, f"not ready in time:\n{self.log}"
            time.sleep(0.005)
        facts: dict[str, Any] = json.loads(self.ready_path.read_text())
        return facts

    def wait_failed(self) -> dict[str, Any]:
        assert self.process is not None
        status = self.process.wait(timeout=self.ready_timeout_s)
        assert status not in (0, None)
        failure: dict[str, Any] = json.loads((self.run_dir / "termination.json").read_text())
        return failure

    def client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.socket_path))
        client = httpx.Client(transport=transport, base_url="http://model", timeout=30)
        self.clients.append(client)
        return client

    def terminate(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=45)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=10)


def make_shim(
    folder: Path, files: Mapping[str, str], serve: Mapping[str, Any], env: Mapping[str, str] | None = None
) -> Shim:
    app_dir, run_dir, layer = folder / "app", folder / "run", folder / "layer"
    for path in (app_dir, run_dir, layer):
        path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (app_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (app_dir / name).write_text(text)
    link = layer / "_gitserver_runtime"
    if not link.is_symlink():
        link.symlink_to(RUNTIME_DIR)
    return Shim(
        app_dir=app_dir,
        run_dir=run_dir,
        layer=layer,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(run_dir),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(layer),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ALGO_SERVE": json.dumps(serve),
            "ALGO_MODEL_NAME": "iris",
            "ALGO_OWNER": "alice",
            "ALGO_MODEL_VERSION": "v1",
            "ALGO_BIND": f"unix:{run_dir / 'sock'}",
            "ALGO_TERMINATION_LOG": str(run_dir / "termination.json"),
            "ALGO_READY_FILE": str(run_dir / "ready.json"),
            **(env or {}),
        },
    )


@contextmanager
def running(
    folder: Path, files: Mapping[str, str], serve: Mapping[str, Any], env: Mapping[str, str] | None = None
) -> Iterator[Shim]:
    shim = make_shim(folder, files, serve, env)
    try:
        shim.start()
        shim.wait_ready()
        yield shim
    finally:
        shim.close()


def failing(folder: Path, files: Mapping[str, str], serve: Mapping[str, Any]) -> dict[str, Any]:
    """The termination document of a shim that must not start."""
    shim = make_shim(folder, files, serve)
    try:
        shim.start()
        return shim.wait_failed()
    finally:
        shim.close()


FUNCTION = {"kind": "function", "file": "predict.py", "name": "predict"}
SKLEARN = {"kind": "model-file", "framework": "sklearn", "format": "pickle", "model_file": "model/iris.joblib"}


# Where a shim of make_shim answers on the two batch contracts.
V1_PREDICT, V2_INFER = "/v1/models/iris:predict", "/v2/models/iris/infer"


def serving(kind: str, file: str, name: str, **more: str) -> dict[str, Any]:
    """A serve document of user code."""
    return {"kind": kind, "file": file, "name": name, **more}


def tensor(name: str, data: list[Any], datatype: str = "FP64") -> dict[str, Any]:
    """A tensor of one dimension for V2_INFER."""
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def write_iris_model(path: Path, *, named: bool = False) -> None:
    """A real pipeline, trained on the iris data that ships with scikit-learn."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_iris()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(data.data, data.target)
    path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, path)
