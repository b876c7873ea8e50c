"""`python -I -S <here>/relay.py SOCKET PORT -- COMMAND...`: the first process of a build container.

It runs COMMAND, passes signals on, buries what COMMAND leaves behind, and ends with COMMAND's status. As a container's
first process COMMAND itself would have none of a process's ordinary ends: the kernel drops the signals it does not
handle, and its orphans stay as zombies.

With SOCKET (`-`: none) it also listens on 127.0.0.1:PORT of the container's empty network and carries each connection
to SOCKET, a proxy that the server put into the container as a file: the only way out.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

_PIECE_BYTES = 64 * 1024
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_NOT_FOUND, _NOT_STARTED = 127, 126  # as shells have it, POSIX.1-2017, 2.8.2


def proxied(env: Mapping[str, str], port: int) -> dict[str, str]:
    """The environment of a command whose only way out is the relay's port."""
    kept = {name: value for name, value in env.items() if name not in {"NO_PROXY", "no_proxy"}}
    return {**kept, **dict.fromkeys(_PROXIES, f"http://127.0.0.1:{port}")}


def main(arguments: Sequence[str]) -> int:
    """The command's exit status; 128 + signal when a signal ended it, 126 or 127 when it could not start."""
    if len(arguments) < 4 or arguments[2] != "--" or not arguments[1].isdigit():
        sys.stderr.write("usage: relay.py SOCKET PORT -- COMMAND...\n")
        return 2
    socket_path, port, command = arguments[0], int(arguments[1]), list(arguments[3:])
    env, listener = dict(os.environ), None
    if socket_path != "-":
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        env = proxied(env, port)
    pending: list[int] = []
    for number in _FORWARDED:
        signal.signal(number, lambda got, _: pending.append(got))
    # Forked before the first thread starts: a fork of a threaded process may inherit a held lock.
    child = os.fork()
    if child == 0:
        _become(command, env)
    for number in _FORWARDED:
        signal.signal(number, _pass_on(child))
    for early in pending:
        os.kill(child, early)
    if listener is not None:
        threading.Thread(target=_serve, args=(listener, socket_path), daemon=True).start()
    return _bury(child)


def _become(command: list[str], env: Mapping[str, str]) -> None:
    for number in _FORWARDED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, env)  # noqa: S606 -- no shell: that is what exec is for
    except OSError as error:
        os.write(2, f"{command[0]} could not be started: {error.strerror}\n".encode())
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED)


def _pass_on(child: int) -> Callable[[int, object], None]:
    def handle(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    return handle


def _bury(child: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _serve(listener: socket.socket, socket_path: str) -> None:
    while True:
        inside, _ = listener.accept()
        threading.Thread(target=_carry, args=(inside, socket_path), daemon=True).start()


def _carry(inside: socket.socket, socket_path: str) -> None:
    with inside, socket.socket(socket.AF_UNIX) as outside:
        try:
            outside.connect(socket_path)
        except OSError:
            return  # the server has gone; the build will see a closed connection, and be ended itself
        back = threading.Thread(target=pump, args=(outside, inside), daemon=True)
        back.start()
        pump(inside, outside)
        back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way until source ends or either side breaks; the end is passed on, the other way stays open."""
    try:
        while data := source.recv(_PIECE_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # Broken: both sides hear of it, so that the other direction ends too.
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
