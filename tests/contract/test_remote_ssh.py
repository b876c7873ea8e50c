"""The real OpenSSH client against git over SSH."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from gitserver.accounts.keys import parse_public_key
from gitserver.errors import Failure, Problem
from gitserver.ledger.records import BuildKind
from gitserver.remote.ssh import HOST_KEY_NAME, run_ssh
from tests.contract.remote_house import CLIENT_ENV, House, build_house, commit, git, push, wait_for


@dataclass(slots=True)
class Front:
    house: House
    port: int
    folder: Path
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event

    def url(self, app: str = "alice/iris") -> str:
        return f"ssh://git@127.0.0.1:{self.port}/{app}.git"

    def env(self, key: str = "alice") -> dict[str, str]:
        return {"GIT_SSH_COMMAND": " ".join(map(shlex.quote, self.ssh(key)))}

    def ssh(self, key: str = "alice") -> list[str]:
        return [
            "ssh", "-F", "/dev/null", "-i", str(self.folder / key), "-o", "IdentitiesOnly=yes",
            "-o", "IdentityAgent=none",
            "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes",
            "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
        ]  # fmt: skip

    def run(
        self, command: str, key: str = "alice", user: str = "git", *options: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.ssh(key), *options, "-p", str(self.port), f"{user}@127.0.0.1", command], env=CLIENT_ENV,
            capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    house = build_house(tmp_path / "state")
    for name, principal in (("alice", house.alice), ("bob", house.bob), ("stranger", None)):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
        if principal is not None:
            key = parse_public_key((tmp_path / f"{name}.pub").read_text())
            house.ledger.add_key(principal.id, fingerprint=key.fingerprint, public_key=key.text, label="test")
    started = threading.Event()
    found: list[Front] = []

    async def main() -> None:
        stop = asyncio.Event()

        def ready(port: int) -> None:
            found.append(Front(house, port, tmp_path, asyncio.get_running_loop(), stop))
            started.set()

        await run_ssh(house.doors, ready, stop)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert started.wait(20)
    [one] = found
    public = asyncssh.read_private_key(tmp_path / "state" / HOST_KEY_NAME).export_public_key().decode()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{one.port} {public}")
    yield one
    if thread.is_alive():
        one.loop.call_soon_threadsafe(one.stop.set)
    thread.join(20)
    assert not thread.is_alive()
    house.ledger.close()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    commit(tmp_path / "repo", {"app.py": "print('one')\n"}, "one")
    return tmp_path / "repo"


def test_a_push_over_ssh_makes_the_app_streams_the_log_and_moves_main(front: Front, repo: Path) -> None:
    done = push(repo, front.url(), "main", env=front.env())
    assert done.returncode == 0, done.stderr
    assert "remote: -----> built by a script" in done.stderr
    assert front.house.refs() == {"refs/heads/main": git(["rev-parse", "HEAD"], repo)}


def test_sec_31_a_failed_build_ends_the_client_with_a_status_over_ssh(front: Front, repo: Path) -> None:
    front.house.desk.fail_with = Failure(code="cancelled", fields={"actor": "alice", "build": 1})
    done = push(repo, front.url(), "main", env=front.env())
    assert done.returncode == 1
    assert "! [remote rejected] main -> main (cancelled by alice)" in done.stderr


def test_a_large_push_a_tag_a_rollback_and_a_clone_work_over_ssh(front: Front, repo: Path, tmp_path: Path) -> None:
    commit(repo, {"model.bin": os.urandom(5_000_000)})
    git(["tag", "v1"], repo)
    assert push(repo, front.url(), "main", "v1", env=front.env()).returncode == 0
    assert push(repo, front.url(), "v1", env=front.env()).returncode == 0
    assert front.house.desk.orders[-1].kind is BuildKind.ROLLBACK
    git(["clone", "-q", front.url(), str(tmp_path / "clone")], None, **front.env())
    assert (tmp_path / "clone/model.bin").read_bytes() == (repo / "model.bin").read_bytes()
    for version in ("0", "1", "2"):
        out = git(["-c", f"protocol.version={version}", "ls-remote", front.url()], tmp_path, **front.env())
        assert "refs/tags/v1" in out


def test_f13_nothing_to_push_is_success(front: Front, repo: Path) -> None:
    push(repo, front.url(), "main", env=front.env())
    done = push(repo, front.url(), "main", env=front.env())
    assert (done.returncode, done.stderr) == (0, "Everything up-to-date")


def test_f17_a_pack_that_is_refused_early_still_gets_its_verdict_over_ssh(front: Front, repo: Path) -> None:
    blob = git(["hash-object", "-w", "app.py"], repo)
    entry = f"100644 blob {blob}\t.git\n"
    made = subprocess.run(
        ["git", "mktree"], cwd=repo, input=entry, capture_output=True, text=True, env=CLIENT_ENV, check=True
    ).stdout.strip()
    bad = git(["commit-tree", made, "-m", "bad"], repo)
    done = push(repo, front.url(), f"{bad}:refs/heads/main", env=front.env())
    assert done.returncode == 1
    assert "remote rejected" in done.stderr
    assert front.house.ledger.apps("alice") == []


def test_f11_silence_is_filled_with_signs_of_life(front: Front, repo: Path) -> None:
    front.house.desk.hold.set()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(push(repo, front.url(), "main", env={**front.env(), "GIT_TRACE_PACKET": "1"}))
    )
    thread.start()
    wait_for(lambda: len(front.house.ledger.queued()) == 1)
    threading.Event().wait(6)
    front.house.desk.finish(front.house.ledger.queued()[0])
    thread.join()
    assert results[0].returncode == 0
    assert any(line.endswith(r"sideband< \1") or r"< \1" in line for line in results[0].stderr.splitlines())


def test_two_channels_on_one_connection_work(front: Front, repo: Path, tmp_path: Path) -> None:
    control = f"-o ControlMaster=auto -o ControlPath={tmp_path / 'mux'} -o ControlPersist=5"
    env = {"GIT_SSH_COMMAND": front.env()["GIT_SSH_COMMAND"] + " " + control}
    assert push(repo, front.url(), "main", env=env).returncode == 0
    assert "refs/heads/main" in git(["ls-remote", front.url()], repo, **env)


def test_an_unknown_key_and_a_wrong_user_are_refused(front: Front, repo: Path) -> None:
    assert "Permission denied (publickey)" in push(repo, front.url(), "main", env=front.env("stranger")).stderr
    assert "Permission denied (publickey)" in front.run("git-upload-pack 'alice/iris'", "alice", "root").stderr


def test_sec_18_somebody_elses_app_is_an_app_that_does_not_exist(front: Front, repo: Path) -> None:
    push(repo, front.url(), "main", env=front.env())
    answers = []
    for verb in ("git-upload-pack", "git-receive-pack"):
        for app in ("iris", "none"):
            done = front.run(f"{verb} '/alice/{app}.git'", "bob")
            answers.append((done.returncode, done.stdout, done.stderr.replace(f"alice/{app}", "APP")))
    assert answers[0][0] == 1
    assert answers[0][2]
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    "command",
    [
        "git-upload-pack --help", "git-upload-pack '--help'", "git-receive-pack '/alice/iris.git' x", "ls",
        "git-upload-pack '/alice/iris.git'; touch canary", "git-upload-pack '$(touch canary)'", "git-shell -c x",
        "git-upload-archive '/alice/iris.git'", "git-receive-pack /../../etc", "git-receive-pack  '/alice/iris.git'",
        "git-receive-pack '/alice/../alice/iris.git'", "scp -t /tmp", "git-lfs-authenticate alice/iris upload",
    ],
)  # fmt: skip
def test_sec_04_only_the_grammar_starts_anything(front: Front, command: str) -> None:
    done = front.run(command)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(" !     ")


def test_sec_04_no_shell_no_pty_no_subsystem_no_forwarding(front: Front) -> None:
    shell = subprocess.run(
        [*front.ssh(), "-tt", "-p", str(front.port), "git@127.0.0.1"], env=CLIENT_ENV, capture_output=True, text=True,
        timeout=30, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert shell.returncode != 0
    assert "subsystem request failed" in front.run("sftp", "alice", "git", "-s").stderr
    assert front.run("other", "alice", "git", "-s").returncode == 1
    tunnel = front.run("x", "alice", "git", "-W", "127.0.0.1:22")
    assert tunnel.returncode != 0


def test_sec_05_the_clients_environment_stays_outside(front: Front, repo: Path, tmp_path: Path) -> None:
    push(repo, front.url(), "main", env=front.env())
    canary = tmp_path / "trace"
    names = {
        "GIT_TRACE": str(canary),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "x.y",
        "LD_PRELOAD": "/nonexistent.so",
    }
    options = [part for name in names for part in ("-o", f"SetEnv={name}={names[name]}")]
    done = subprocess.run(
        [*front.ssh(), *options, "-p", str(front.port), "git@127.0.0.1", "git-upload-pack '/alice/iris.git'"],
        env=CLIENT_ENV, capture_output=True, timeout=30, check=False, input=b"0000",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"refs/heads/main" in done.stdout
    assert b"LD_PRELOAD" not in done.stderr
    assert not canary.exists()
    for bad in ("version=3", "version=2:x", "--split-string=x"):
        done = subprocess.run(
            [*front.ssh(), "-o", f"SetEnv=GIT_PROTOCOL={bad}", "-p", str(front.port), "git@127.0.0.1",
             "git-upload-pack '/alice/iris.git'"],
            env=CLIENT_ENV, capture_output=True, timeout=30, check=False, input=b"0000",
        )  # fmt: skip
        assert b"version 2" not in done.stdout


def test_sec_13_the_key_that_signed_decides_not_the_one_that_was_offered(front: Front) -> None:
    # Of this identity only the public half exists: it is offered, accepted as an offer, and cannot be signed with.
    (front.folder / "offered.pub").write_text((front.folder / "alice.pub").read_text())
    done = front.run("git-receive-pack '/alice/iris.git'", "offered", "git", "-i", str(front.folder / "bob"), "-v")
    assert "Server accepts key" in done.stderr
    assert done.returncode == 1
    assert done.stdout == ""


def test_sec_14_a_password_is_never_asked_for(front: Front) -> None:
    done = front.run("x", "stranger", "git", "-o", "PreferredAuthentications=password,keyboard-interactive")
    assert "Permission denied (publickey)" in done.stderr


def test_sec_19_the_host_key_is_private_stays_and_is_never_replaced(front: Front, tmp_path: Path) -> None:
    path = front.house.settings.state / HOST_KEY_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    other = build_house(tmp_path / "other")
    broken = other.settings.state / HOST_KEY_NAME
    broken.write_text("not a key")
    with pytest.raises(Problem) as caught:
        asyncio.run(run_ssh(other.doors, lambda _: None, asyncio.Event()))
    assert caught.value.failure.code == "host-key-unreadable"
    assert broken.read_text() == "not a key"
    other.ledger.close()


def test_d2_a_client_killed_while_it_waits_changes_nothing(front: Front, repo: Path) -> None:
    front.house.desk.hold.set()
    client = subprocess.Popen(
        ["git", "push", front.url(), "main"], cwd=repo, env={**CLIENT_ENV, **front.env()}, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(front.house.ledger.queued()) == 1)
    os.killpg(client.pid, 9)
    client.wait()
    front.house.desk.finish(front.house.ledger.queued()[0])
    assert front.house.refs() == {"refs/heads/main": git(["rev-parse", "HEAD"], repo)}


def test_a_client_killed_while_it_sends_leaves_nothing(front: Front, repo: Path) -> None:
    client = subprocess.Popen(
        [*front.ssh(), "-p", str(front.port), "git@127.0.0.1", "git-receive-pack '/alice/iris.git'"], env=CLIENT_ENV,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert client.stdin is not None
    line = f"{'0' * 40} {'1' * 40} refs/heads/main\0report-status".encode()
    client.stdin.write(f"{len(line) + 4:04x}".encode() + line + b"0000" + b"PACK\0\0\0\2\0\0\0\x05")
    client.stdin.flush()
    folder = front.house.settings.state / "git"
    wait_for(lambda: any(folder.iterdir()))
    client.kill()
    client.wait()
    client.stdin.close()
    wait_for(lambda: not any(folder.iterdir()))
    assert front.house.ledger.apps("alice") == []


def test_a_stopping_server_tells_who_waits_and_the_build_stays(front: Front, repo: Path) -> None:
    front.house.desk.hold.set()
    results = []
    thread = threading.Thread(target=lambda: results.append(push(repo, front.url(), "main", env=front.env())))
    thread.start()
    wait_for(lambda: len(front.house.ledger.queued()) == 1)
    front.loop.call_soon_threadsafe(front.stop.set)
    thread.join()
    [build] = front.house.ledger.queued()
    assert f"restarting; build {build.id} continues" in results[0].stderr
    assert results[0].returncode == 128


def test_sec_29_an_address_has_ten_connections_that_are_not_signed_in(front: Front) -> None:
    connections = [socket.create_connection(("127.0.0.1", front.port), timeout=10) for _ in range(10)]
    greetings = [connection.recv(100) for connection in connections]
    assert all(greeting.startswith(b"SSH-2.0-algopush") for greeting in greetings)
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as eleventh:
        assert _everything(eleventh) in {b"", b"SSH-2.0-algopush\r\n"}
    for connection in connections:
        connection.close()
    wait_for(lambda: front.run("git-upload-pack '/alice/none.git'").returncode == 1)


def _everything(connection: socket.socket) -> bytes:
    """What comes until the server hangs up; a greeting may go out before it does, a key exchange never."""
    data = b""
    try:
        while piece := connection.recv(4096):
            data += piece
    except ConnectionResetError:
        pass  # a hang-up with bytes of ours unread
    return data
