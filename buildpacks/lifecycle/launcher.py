"""`python3 -I -S launcher.py APP PROGRAM... -- COMMAND...`: run exec.d programs, then become COMMAND.

It lies alone in a layer of images that have such programs, and is the first process there. Each program runs in APP
with its file descriptor 3 open for writing, and answers with TOML: names and strings, which become variables for the
programs behind it and for COMMAND. Working folder and environment are COMMAND's own.

Exit status: COMMAND's; 82 for a program that fails or cannot be understood, 127 for a COMMAND that is not there.
Source  buildpacks/spec buildpack.md 0.12, "exec.d"; platform.md, "launcher"
"""

from __future__ import annotations

import os
import signal
import sys

FAILED, NOT_STARTED, NOT_FOUND = 82, 126, 127
ANSWER = 3
MAX_ANSWER_BYTES = 1 << 20


class ProgramFailed(Exception):  # noqa: N818 -- a sentence on its way to the log
    """An exec.d program that no process may start behind."""


def ask(program: str, app: str, env: dict[str, str]) -> dict[str, str]:
    """Run one program; the variables that it answers. Raises ProgramFailed."""
    read_end, write_end = os.pipe()
    pid = os.fork()  # a process without threads may; and descriptor 3 is not subprocess' to give
    if pid == 0:
        _become(program, app, env, write_end)
    os.close(write_end)
    with open(read_end, "rb") as answer:
        data = answer.read(MAX_ANSWER_BYTES + 1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise ProgramFailed(f"{program} ended with status {status}")
    if len(data) > MAX_ANSWER_BYTES:
        raise ProgramFailed(f"{program} answered more than {MAX_ANSWER_BYTES} bytes")
    return parse(program, data)


def _become(program: str, app: str, env: dict[str, str], answer: int) -> None:
    try:
        os.dup2(answer, ANSWER)
        os.set_inheritable(ANSWER, True)  # dup2 of a descriptor to itself leaves it as it was
        os.chdir(app)
        restore_signals()
        os.execve(program, [program], env)  # noqa: S606 -- no shell: that is what exec is for
    except OSError as error:
        os.write(2, f" !     {program} could not be started: {error.strerror}\n".encode())
        os._exit(NOT_STARTED)


def restore_signals() -> None:
    """What the interpreter ignores for itself, its programs would otherwise ignore for good."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def parse(program: str, data: bytes) -> dict[str, str]:
    """Flat TOML of strings. Raises ProgramFailed."""
    import tomllib

    try:
        answer = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        raise ProgramFailed(f"{program} answered no TOML: {error}") from error
    for name, value in answer.items():
        if not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise ProgramFailed(f"{program}: the value of {name} is no string")
    return answer


def main(arguments: list[str]) -> int:
    """Only returns when COMMAND could not be started."""
    if "--" not in arguments[1:-1]:
        sys.stderr.write("usage: launcher.py APP PROGRAM... -- COMMAND...\n")
        return FAILED
    app, end = arguments[0], arguments.index("--", 1)
    env = dict(os.environ)
    try:
        for program in arguments[1:end]:
            env |= ask(program, app, env)
    except (ProgramFailed, OSError) as failed:
        sys.stderr.write(f" !     exec.d: {failed}\n")
        return FAILED
    command = arguments[end + 1 :]
    restore_signals()
    try:
        os.execvpe(command[0], command, env)  # noqa: S606 -- no shell: that is what exec is for
    except OSError as error:
        sys.stderr.write(f" !     {command[0]} could not be started: {error.strerror}\n")
        return NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
