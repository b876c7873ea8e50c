"""A real `algo serve` in a process of its own, on free ports, with a temporary state folder."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.services.processes import kill_all
from tests.services.targets import Ground, Model, kill_one, the_ground
from tests.services.waiting import eventually, free_port

START_S = 60.0
STOP_S = 45.0
# What the server may know of this machine: where packages come from and how certificates are checked. Nothing else.
INDEX_PREFIXES = ("PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_")


def algo_command() -> Path:
    """The installed `algo`, beside the interpreter that runs the tests."""
    path = Path(sys.executable).parent / "algo"
    assert path.exists(), f"{path} is missing; install the project: uv pip install -e '.[dev]'"
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one server listens."""

    http_port: int
    ssh_port: int

    @property
    def url(self) -> str:
        """What users type, without a slash at the end."""
        return f"http://127.0.0.1:{self.http_port}"


class Server:
    """One server and its state folder; it can be stopped, killed and started again on the same ports."""

    owner = "alice"

    def __init__(self, state: Path, settings: dict[str, str] | None = None, *, ground: Ground | None = None) -> None:
        self.state = state
        self.ground = ground or the_ground()
        self.at = Address(http_port=free_port(), ssh_port=free_port())
        self.settings = {**self.ground.settings(), **(settings or {})}
        self.output = state.with_name(state.name + ".out")
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What users type, without a slash at the end."""
        return self.at.url

    @property
    def token(self) -> str:
        """The owner's token, as the first start wrote it."""
        return (self.state / "owner-token").read_text(encoding="ascii").split()[-1]

    @property
    def printed(self) -> str:
        """Everything that the server wrote to its terminal."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(INDEX_PREFIXES)}
        home = self.state.with_name(self.state.name + ".home")
        home.mkdir(exist_ok=True)
        return {
            **kept,
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ALGO_STATE": str(self.state),
            "ALGO_HTTP": f"127.0.0.1:{self.at.http_port}",
            "ALGO_SSH": f"127.0.0.1:{self.at.ssh_port}",
            "ALGO_OWNER": self.owner,
            **{f"ALGO_{name.upper()}": value for name, value in self.settings.items()},
        }

    def start(self) -> Server:
        """Start and wait until pushes and calls are accepted."""
        assert self._child is None, "it runs already"
        self.ground.prepare(self.state)
        with self.output.open("ab") as output:
            self._child = subprocess.Popen(
                [str(algo_command()), "serve"],
                env=self._environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_healthy()
        return self

    def refused_start(self, *options: str, within_s: float = START_S) -> str:
        """`algo serve OPTIONS` must end by itself with a status other than 0; everything it printed."""
        done = subprocess.run(
            [str(algo_command()), "serve", *options],
            env=self._environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode != 0, f"it ended with status 0:\n{done.stdout}"
        return done.stdout

    def is_healthy(self) -> bool:
        """GET /healthz answers 200 now."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def wait_healthy(self, within_s: float = START_S) -> None:
        """Until /healthz is 200; on failure the server's own output is the message."""
        deadline = time.monotonic() + within_s
        while not self.is_healthy():
            assert self._child is not None
            status = self._child.poll()
            if status is not None or time.monotonic() > deadline:
                what = "is not healthy" if status is None else f"ended with status {status}"
                raise AssertionError(f"the server {what} after {within_s:g} s; it wrote:\n{self.printed[-6000:]}")
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM, as systemd or Ctrl-C would; returns the exit status."""
        child, self._child = self._child, None
        assert child is not None, "it does not run"
        child.send_signal(signal.SIGTERM)
        try:
            return child.wait(STOP_S)
        except subprocess.TimeoutExpired as error:
            left = self.ground.left_over(self.state)
            self.ground.cut_power(self.state)
            child.wait(5)
            raise AssertionError(
                f"still running {STOP_S:g} s after SIGTERM: {left}; it wrote:\n{self.printed[-6000:]}"
            ) from error

    def kill(self) -> None:
        """SIGKILL to the supervisor, its children and the models, all at once."""
        child, self._child = self._child, None
        self.ground.cut_power(self.state)
        if child is not None:
            child.wait(10)

    def kill_server(self) -> None:
        """SIGKILL to the supervisor and its children; models that are not their children go on."""
        child, self._child = self._child, None
        kill_all(self.state)
        if child is not None:
            child.wait(10)

    def close(self) -> None:
        """Nothing of it is left afterwards, whatever the test did."""
        if self._child is not None:
            self.stop()
        self.ground.clean(self.state)

    def left_over(self, within_s: float = 10) -> dict[str, str]:
        """What still runs of this server a little later; empty is clean."""
        deadline = time.monotonic() + within_s
        while (found := self.ground.left_over(self.state)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    # Models that run ------------------------------------------------------------------------------------------------
    def models(self, app: str) -> set[str]:
        """Keys of an app's models that run now: a model that was started again has another one."""
        return {model.key for model in self.ground.models(self.state, app)}

    def kill_model(self, app: str) -> None:
        """SIGKILL to the first process of each model of an app."""
        found: list[Model] = self.ground.models(self.state, app)
        assert found, f"no model of {app} runs"
        for model in found:
            kill_one(model)

    # Calls to models ------------------------------------------------------------------------------------------------
    def request(
        self, method: str, path: str, *, json: Any = None, token: str | None = "", content: bytes | None = None
    ) -> httpx.Response:
        """One HTTP request; token "" is the owner's, None sends none, anything else is sent as it is."""
        headers = {} if token is None else {"Authorization": f"Bearer {token or self.token}"}
        return httpx.request(
            method, self.url + path, json=json, content=content, headers=headers, timeout=60, trust_env=False
        )

    def call(
        self, app: str, json: Any, *, ref: str | None = None, path: str = "/predict", token: str | None = ""
    ) -> httpx.Response:
        """POST to an app's endpoint, of production or of a version, branch or commit."""
        at = f"@{ref}" if ref else ""
        return self.request("POST", f"/{self.owner}/{app}{at}{path}", json=json, token=token)

    def answer(self, app: str, json: Any, *, ref: str | None = None, path: str = "/predict") -> Any:
        """The JSON of a call that must succeed."""
        reply = self.call(app, json, ref=ref, path=path)
        assert reply.status_code == 200, f"{reply.status_code} {reply.text}"
        return reply.json()

    def wait_answer(self, app: str, json: Any, expected: Any, *, ref: str | None = None, within_s: float = 60) -> None:
        """Until a call is answered with exactly this."""

        def same() -> bool:
            try:
                reply = self.call(app, json, ref=ref)
            except httpx.TransportError:
                return False
            return reply.status_code == 200 and reply.json() == expected

        eventually(same, within_s=within_s, what=f"{app}@{ref or 'production'} answers {expected!r}")

    # A second person ------------------------------------------------------------------------------------------------
    def add_user(self, name: str) -> str:
        """Another account, made as an operator would; returns its token."""
        from gitserver.ledger.store import Ledger

        token_id, secret = secrets.token_hex(8), secrets.token_hex(32)
        ledger = Ledger.open(f"sqlite:///{self.state / 'ledger.sqlite'}")
        try:
            person = ledger.find_principal(name) or ledger.add_principal(name)
            ledger.add_token(
                person.id,
                token_id=token_id,
                secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
                label="test",
                last4=secret[-4:],
                expires_at=None,
            )
        finally:
            ledger.close()
        return f"algo_{token_id}_{secret}"
