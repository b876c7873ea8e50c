"""The door to asyncssh: git over SSH. Keys only, four commands, no shell, no forwarding (contracts/git.md section 5).

Rules of this file
1. Rights come from the key whose signature was completed, never from one that was only offered (CVE-2024-28080).
2. Of the client's environment one variable is looked at, GIT_PROTOCOL, and only its three good values.
3. The event loop moves bytes; a receive session runs in a thread of its own, and back-pressure reaches the client.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable

import asyncssh

from gitserver import explain
from gitserver.errors import Problem
from gitserver.ledger.records import Principal
from gitserver.push import AppName
from gitserver.remote.channel import RemoteDoors
from gitserver.remote.fetch import fetch_command
from gitserver.remote.hostkey import read_or_make
from gitserver.remote.native import limit_child
from gitserver.remote.refs import create_repository
from gitserver.remote.session import ReceiveSession
from gitserver.remote.socketwire import SocketWire
from gitserver.remote.sshcommand import Verb, parse_ssh_command

_LOG = logging.getLogger(__name__)
HOST_KEY_NAME = "ssh_host_ed25519_key"
LOGIN_TIMEOUT_S = 30
_KEEPALIVE_S = 30
_UNSIGNED_LIMIT, _UNSIGNED_LIMIT_PER_ADDRESS = 50, 10
_GOODBYE_S = 2.0
_CHANNELS_PER_KEY = 16
_SLOW_S = 2.0
_CHUNK_BYTES = 64 * 1024
# What a read or a write of a channel raises when its client goes, or sends a signal or a break instead of bytes
_GONE = (asyncssh.Error, asyncssh.BreakReceived, asyncssh.SignalReceived, asyncssh.TerminalSizeChanged, OSError)

Process = asyncssh.SSHServerProcess[bytes]


def serve_ssh(doors: RemoteDoors, ready: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT; then sessions that watch are told so, and running packs get time to end.

    ready   called with the port once connections are accepted
    Raises  Problem('address-taken' | 'host-key-unreadable')
    """

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_ssh(doors, ready, stop)

    asyncio.run(main())


async def run_ssh(doors: RemoteDoors, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    """serve_ssh inside a running loop, until `stop` is set."""
    front = _Front(doors)
    address = doors.settings.ssh
    try:
        acceptor = await asyncssh.create_server(
            lambda: _Door(front),
            address.host,
            address.port,
            server_host_keys=[_host_key(doors)],
            process_factory=front.serve,
            encoding=None,
            line_editor=False,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_scp=False,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            login_timeout=LOGIN_TIMEOUT_S,
            keepalive_interval=_KEEPALIVE_S,
            compression_algs=["none"],
            server_version="algopush",
        )
    except OSError as error:
        raise Problem("address-taken", address=str(address), option="ssh", detail=str(error)) from error
    ready(acceptor.get_port())
    try:
        await stop.wait()
    finally:
        acceptor.close()
        doors.stopping.set()
        await front.finish(doors.settings.drain_s)
        await acceptor.wait_closed()


def _host_key(doors: RemoteDoors) -> asyncssh.SSHKey:
    path = doors.settings.state / HOST_KEY_NAME
    text = read_or_make(path, lambda: asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    try:
        return asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise Problem("host-key-unreadable", path=str(path), detail=str(error)) from error


class _Front:
    """What all connections share. Lives in the loop's thread."""

    def __init__(self, doors: RemoteDoors) -> None:
        self.doors = doors
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.unsigned: Counter[str] = Counter()
        self.slow_until: dict[str, float] = {}
        self._channels: Counter[str] = Counter()
        self._served: set[asyncio.Task[None]] = set()

    async def finish(self, deadline_s: float) -> None:
        """Let what runs end, and its last words arrive; then cut."""
        if self._served:
            await asyncio.wait(set(self._served), timeout=deadline_s)
        # A client leaves by itself once its channel has ended and it has read everything; a disconnect from our side
        # could overtake what is still in the channel. Idle shared connections do not leave.
        loop = asyncio.get_running_loop()
        cut_at = loop.time() + _GOODBYE_S
        while self.connections and loop.time() < cut_at:
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.close()
        for connection in list(self.connections):
            await connection.wait_closed()

    async def serve(self, process: Process) -> None:
        """One channel: an exec request is answered, everything else gets a sentence and exit status 1."""
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        key = str(process.get_extra_info("algo_key"))
        self._channels[key] += 1
        try:
            status = await self._answer(process, key)
        except Problem as problem:
            status = await _tell(process, problem)
        except _GONE:
            status = 1
        except Exception:  # noqa: BLE001 -- the last net of a channel: the client gets a status, the log the trace
            _LOG.exception("an SSH channel of %s", key)
            status = 1
        finally:
            self._channels[key] -= 1
            self._served.discard(task)
        process.exit(status)

    async def _answer(self, process: Process, key: str) -> int:
        principal: Principal = process.get_extra_info("algo_principal")
        if self._channels[key] > _CHANNELS_PER_KEY:
            raise Problem("too-many-channels", limit=_CHANNELS_PER_KEY)
        if process.subsystem is not None:
            raise Problem("ssh-bad-command", found=f"subsystem {process.subsystem[:80]}")
        command = parse_ssh_command(process.command)
        if not self.doors.accounts.may_push(principal, command.app_name):
            raise Problem("app-unknown", app=str(command.app_name))
        match command.verb:
            case Verb.RECEIVE:
                return await self._receive(process, principal, command.app_name)
            case Verb.UPLOAD:
                return await self._upload(process, principal, command.app_name)

    async def _receive(self, process: Process, principal: Principal, app_name: AppName) -> int:
        (in_ours, in_theirs), (out_ours, out_theirs) = socket.socketpair(), socket.socketpair()
        wire = SocketWire(incoming=in_ours, outgoing=out_ours)
        address = str(process.get_extra_info("peername", ("",))[0])
        session = ReceiveSession(
            doors=self.doors, principal=principal, app_name=app_name, wire=wire, address=address
        )  # fmt: skip
        _, to_session = await asyncio.open_connection(sock=in_theirs)
        from_session, to_nowhere = await asyncio.open_connection(sock=out_theirs)
        outcome = _in_thread(session, wire)
        feeding = asyncio.create_task(_feed(process, to_session))
        try:
            await _relay(from_session, process.stdout)
        except _GONE:
            pass  # the client left: the session notices at its next word, the builds go on
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            to_session.close()
            to_nowhere.close()
        return 0 if await outcome else 1

    async def _upload(self, process: Process, principal: Principal, app_name: AppName) -> int:
        app = await asyncio.to_thread(self.doors.ledger.find_app, app_name)
        if app is None or not self.doors.accounts.may_read(principal, app):
            raise Problem("app-unknown", app=str(app_name))
        repo_path = self.doors.settings.repo_path(app.id)
        await asyncio.to_thread(create_repository, repo_path)
        argv, env = fetch_command(repo_path, process.env.get("GIT_PROTOCOL"))
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*argv, env=env, cwd="/", stdin=pipe, stdout=pipe, stderr=pipe)
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        limit_child(child.pid)
        feeding = asyncio.create_task(_feed(process, child.stdin))
        complaints = asyncio.create_task(_relay(child.stderr, process.stderr))
        try:
            await _relay(child.stdout, process.stdout)
            await complaints
            return 0 if await child.wait() == 0 else 1
        finally:
            feeding.cancel()
            complaints.cancel()
            await asyncio.gather(feeding, complaints, return_exceptions=True)
            if child.returncode is None:
                child.kill()
                await child.wait()


class _Door(asyncssh.SSHServer):
    """One connection's login."""

    def __init__(self, front: _Front) -> None:
        self._front = front
        self._address = ""
        self._connection: asyncssh.SSHServerConnection | None = None
        self._validated: tuple[str, Principal] | None = None
        self._is_signed = False

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        front, self._connection = self._front, conn
        self._address = str(conn.get_extra_info("peername", ("",))[0])
        front.connections.add(conn)
        front.unsigned[self._address] += 1
        if front.unsigned.total() > _UNSIGNED_LIMIT or front.unsigned[self._address] > _UNSIGNED_LIMIT_PER_ADDRESS:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            _LOG.debug("connection of %s: %s", self._address, exc)
        if self._connection is not None:
            self._front.connections.discard(self._connection)
        if not self._is_signed:
            self._count_down()
            now = asyncio.get_running_loop().time()
            wait_s = self._front.doors.accounts.note_failure(self._address)
            self._front.slow_until = {key: at for key, at in self._front.slow_until.items() if at > now}
            if wait_s:
                self._front.slow_until[self._address] = now + wait_s

    async def begin_auth(self, username: str) -> bool:
        if self._front.slow_until.get(self._address, 0.0) > asyncio.get_running_loop().time():
            await asyncio.sleep(_SLOW_S)
        _LOG.debug("login of %s from %s", username, self._address)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        fingerprint = key.get_fingerprint("sha256")
        principal = await asyncio.to_thread(self._front.doors.accounts.authenticate_key, fingerprint)
        # Nothing is awaited between here and the check of the signature: what is noted last is what was signed with.
        self._validated = None if principal is None or username != "git" else (fingerprint, principal)
        return self._validated is not None

    def auth_completed(self) -> None:
        assert self._connection is not None
        assert self._validated is not None
        self._is_signed = True
        self._count_down()
        key, principal = self._validated
        self._connection.set_extra_info(algo_key=key, algo_principal=principal)

    def _count_down(self) -> None:
        self._front.unsigned[self._address] -= 1
        if self._front.unsigned[self._address] <= 0:
            del self._front.unsigned[self._address]


def _in_thread(session: ReceiveSession, wire: SocketWire) -> asyncio.Future[bool]:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[bool] = loop.create_future()

    def run() -> None:
        is_good = False
        try:
            is_good = session.serve()
        except Exception:  # noqa: BLE001 -- a thread has nobody above it; the log does
            _LOG.exception("push to %s", session.app_name)
        finally:
            wire.close()
            loop.call_soon_threadsafe(_settle, outcome, is_good)

    threading.Thread(target=run, name=f"push-{session.app_name}", daemon=True).start()
    return outcome


def _settle(outcome: asyncio.Future[bool], is_good: bool) -> None:
    if not outcome.done():
        outcome.set_result(is_good)


async def _feed(process: Process, target: asyncio.StreamWriter) -> None:
    """Client -> target, as fast as it takes; when it takes no more the rest is thrown away, so the client can end."""
    is_open = True
    try:
        while data := await process.stdin.read(_CHUNK_BYTES):
            if not is_open:
                continue
            try:
                target.write(data)
                await target.drain()
            except OSError:
                is_open = False
    except _GONE:
        pass  # the end of the stream, told otherwise
    target.close()


async def _relay(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    while data := await source.read(_CHUNK_BYTES):
        target.write(data)
        await target.drain()


async def _tell(process: Process, problem: Problem) -> int:
    try:
        process.stderr.write(("\n".join(explain.lines(problem.failure)) + "\n").encode())
        await process.stderr.drain()
    except _GONE:
        pass  # nobody is there to be told
    return 1
