"""`make demo`: everything that a user does, with the real git, against a real server that is gone afterwards.

Nothing of yours is touched: the server's state, the repository and the home folder of the commands are temporary.
KEEP=1 leaves the server running and prints its address and token. TARGET=docker runs the models in containers: in the
engine that DOCKER_HOST names or that runs here, else in one that is started for the demo and stopped afterwards.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
STACKS = Path(sys.prefix) / "stacks"  # built once, in the virtual environment: `make clean` takes it away
START_S, STEP_S, STACK_S = 60, 600, 1800
USUAL_ENGINE = "unix:///var/run/docker.sock"
PROGRAMS = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # a daemon is often not on a user's PATH


class Demo:
    """A server, a repository, and a terminal that shows what is typed and what comes back."""

    def __init__(self, folder: Path, target: str) -> None:
        self.target, self.engine = target, ""
        self.daemon: subprocess.Popen[bytes] | None = None
        self.folder, self.state, self.repo = folder, folder / "state", folder / "iris"
        home = folder / "home"
        home.mkdir()
        # Git and algo see a fresh home; package indexes and certificates are those of this machine.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "ALGO_"))}
        self.env |= {
            "HOME": str(home), "PATH": f"{BIN}:{self.env['PATH']}", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0", "GIT_AUTHOR_NAME": "demo", "GIT_AUTHOR_EMAIL": "demo@example.com",
            "GIT_COMMITTER_NAME": "demo", "GIT_COMMITTER_EMAIL": "demo@example.com",
        }  # fmt: skip
        self.server: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> None:
        """`algo serve` on free ports; returns when it accepts pushes."""
        options = []
        if self.target == "docker":
            self.find_engine()
            self.find_stack()
            options = ["--target", "docker", "--docker-host", self.engine]
        say(" ".join(["algo serve --owner alice", *options]))
        log = self.folder / "server.log"
        with log.open("w") as output:
            self.server = subprocess.Popen(
                ["algo", "serve", "--owner", "alice", "--http", "127.0.0.1:0", "--ssh", "127.0.0.1:0",
                 "--state", str(self.state), *options],
                env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                text=True, start_new_session=True,
            )  # fmt: skip
        deadline_at = time.monotonic() + START_S
        while time.monotonic() < deadline_at and self.server.poll() is None:
            first = log.read_text().partition("\n")[0].split()
            if len(first) > 2 and self._is_healthy(first[2]):
                self.url = first[2]
                print(log.read_text())
                return
            time.sleep(0.1)
        raise SystemExit(f"the server did not start:\n{log.read_text()}")

    def find_engine(self) -> None:
        """The engine that is named or usual, when it answers; else one of the demo's own."""
        for host in (os.environ.get("DOCKER_HOST", ""), USUAL_ENGINE):
            if answers(host):
                tell(f"The Docker engine at {host} is used; containers and images of the demo go with it")
                self.engine = host
                return
        dockerd = shutil.which("dockerd", path=PROGRAMS)
        if dockerd is None or os.geteuid() != 0:
            raise SystemExit(
                "no Docker engine answers here, and only root can start one; on Debian and Ubuntu: apt-get install "
                "docker.io, then: sudo make demo TARGET=docker, or name one: DOCKER_HOST=unix:///PATH"
            )
        # It keeps its hands off bridges and iptables: models are called over a socket in a shared folder.
        tell("No Docker engine answers here: one is started for the demo, with folders of its own")
        self.engine = f"unix://{self.folder / 'docker.sock'}"
        (self.folder / "daemon.json").write_text("{}")
        with (self.folder / "docker.log").open("wb") as log:
            self.daemon = subprocess.Popen(
                [dockerd, "--config-file", str(self.folder / "daemon.json"), "--data-root", str(self.folder / "docker"),
                 "--exec-root", str(self.folder / "docker-run"), "--pidfile", str(self.folder / "docker.pid"),
                 "--host", self.engine, "--bridge", "none", "--iptables=false", "--ip6tables=false"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        deadline_at = time.monotonic() + START_S
        while not answers(self.engine):
            if self.daemon.poll() is not None or time.monotonic() > deadline_at:
                last = (self.folder / "docker.log").read_text(errors="replace").splitlines()[-5:]
                raise SystemExit("\n".join(["the Docker engine did not start; its last lines:", *last]))
            time.sleep(0.1)

    def find_stack(self) -> None:
        """What images stand on: Debian with Python. Made once, then kept beside the demo's tools."""
        if not (STACKS / "stacks").is_dir():
            tell("No stack is here yet: it is built once from Debian packages, which takes a minute or two")
            draft = STACKS.with_name(f".stacks-{os.getpid()}")
            self.run(f"algo stack build bookworm --state {draft}", timeout_s=STACK_S)
            draft.rename(STACKS)
        shutil.copytree(STACKS / "stacks", self.state / "stacks", symlinks=True)
        self.state.chmod(0o700)

    def run(self, command: str, *, fails: bool = False, timeout_s: float = STEP_S) -> str:
        """Type a command, show it, its output and its seconds; its exit status must be what the demo expects."""
        say(command)
        began = time.monotonic()
        done = subprocess.run(
            shlex.split(command), env=self.env, cwd=self.repo if self.repo.exists() else self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, check=False,
        )  # fmt: skip
        print("\n".join(line.rstrip() for line in done.stdout.splitlines()))
        print(f"  ({time.monotonic() - began:.2f} s)", flush=True)
        if (done.returncode != 0) != fails:
            raise SystemExit(f"that was not expected to end with status {done.returncode}")
        return done.stdout

    def commit(self, message: str, step: Path | None = None) -> None:
        """Lay a step's files over the repository and commit all of it."""
        if step is not None:
            shutil.copytree(step, self.repo, dirs_exist_ok=True)
        self.run("git add --all")
        self.run(f"git commit --quiet --message {shlex.quote(message)}")

    def call(self, path: str, body: str) -> str:
        """POST to the endpoint as any client would."""
        token = (self.state / "owner-token").read_text().strip()
        return (
            self.run(
                f"curl -sS --fail-with-body -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' "
                f"-d {shlex.quote(body)} {self.url}{path}"
            )
            if shutil.which("curl")
            else self.run(f"algo call --path {shlex.quote(path)} {shlex.quote(body)}")
        )

    def stop(self) -> None:
        """SIGTERM, and wait until nothing is left."""
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            status = self.server.wait(60)
            print(f"\nThe server stopped with status {status}.")

    def stop_engine(self) -> None:
        """The demo's own engine ends. Containers are gone with the server; images in another engine are told of."""
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(60)
        elif self.engine:
            print("Images of the demo are still in your engine; to remove those that nothing uses:")
            print("  docker image prune --all --filter label=algo.image")

    def _is_healthy(self, url: str) -> bool:
        import httpx

        try:
            return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


def answers(host: str) -> bool:
    """Whether an engine takes requests at unix:///PATH."""
    if not host.startswith("unix://"):
        return False
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(host.removeprefix("unix://"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def say(command: str) -> None:
    """A command as it is typed."""
    print(f"\n$ {command}", flush=True)


def tell(text: str) -> None:
    """What the next commands are for."""
    print(f"\n## {text}", flush=True)


FLOWER = "[[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]"


def play(demo: Demo) -> None:
    """The whole story."""
    tell("A model: scikit-learn on the flowers that ship with it")
    shutil.copytree(HERE / "iris", demo.repo, ignore=shutil.ignore_patterns("steps", "__pycache__"))
    demo.run(f"{sys.executable} train.py")
    demo.run("git init --quiet --initial-branch main")
    demo.commit("A trained model")

    tell("The server knows you; the app and the remote are made")
    demo.run(f"algo login {demo.url} --token-file {demo.state / 'owner-token'}")
    demo.run("algo create iris")

    tell("Push it: found, installed, tried, serving")
    demo.run("git push algo main")
    demo.call("/alice/iris/predict", f'{{"instances": {FLOWER}}}')
    demo.run("git tag v1")

    tell("Change the code: only the code moves")
    demo.commit("Answer with names", HERE / "iris/steps/names")
    demo.run("git push algo main")
    demo.call("/alice/iris/predict", f'{{"instances": {FLOWER}}}')
    demo.run("git tag v2")

    tell("A branch is a preview with an address of its own")
    demo.run("git checkout --quiet -b feature/confidence")
    demo.commit("Say how sure", HERE / "iris/steps/confidence")
    demo.run("git push algo feature/confidence")
    demo.call("/alice/iris@feature/confidence/predict", f'{{"instances": {FLOWER}}}')
    demo.run("git checkout --quiet main")

    tell("Tags are versions; pushing an old one puts it back")
    demo.run("git push algo v1")
    demo.run("git push algo v2")
    demo.run("git push algo v1")
    demo.call("/alice/iris/predict", f'{{"instances": {FLOWER}}}')
    demo.call("/alice/iris@v2/predict", f'{{"instances": {FLOWER}}}')

    tell("A broken push changes nothing")
    (demo.repo / "predict.py").write_text("def predict(rows:\n")
    demo.commit("A slip")
    demo.run("git push algo main", fails=True)
    demo.call("/alice/iris/predict", f'{{"instances": {FLOWER}}}')

    tell("The branch goes, and its preview with it")
    demo.run("git push algo :feature/confidence")
    demo.run("algo releases")


def main() -> None:
    """Play, then leave nothing behind (or, with KEEP=1, the server)."""
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    folder = Path(tempfile.mkdtemp(prefix="algo-demo-"))
    target = os.environ.get("TARGET") or "process"
    if target not in {"process", "docker"}:
        raise SystemExit(f"TARGET={target}: there are process and docker")
    demo = Demo(folder, target)
    began = time.monotonic()
    try:
        demo.start()
        play(demo)
        print(f"\nAll of it took {time.monotonic() - began:.0f} s.")
        if keep and demo.server is not None:
            print(f"\nThe server goes on (process {demo.server.pid}): {demo.url}")
            print(f"token: {(demo.state / 'owner-token').read_text().strip()}")
            print(f"stop it: kill {demo.server.pid}; then: rm -rf {folder}")
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            demo.stop()
            demo.stop_engine()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
