"""From exec (or from a fork of the warm parent) to a ready server, or to the reason why not."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .budget import may_load_before_fork, native_thread_count, pool_environment, pool_size, usable_cpus
from .failure import BootFailed, write_json
from .forking import ForkGuard, names_unforkable
from .settings import Kind, RunSettings, parse_settings

BAD_SETTING_STATUS = 2
# Left over in an app's configuration these would make gunicorn adopt sockets or parents that are not there,
# or look for the app below a prefix.
FOREIGN_VARIABLES = ("GUNICORN_PID", "GUNICORN_FD", "GUNICORN_CMD_ARGS", "LISTEN_PID", "LISTEN_FDS", "SCRIPT_NAME")


def main() -> int:
    """Serve until SIGTERM; returns or exits with 0 after a clean stop, else with a status and a termination file."""
    for name in FOREIGN_VARIABLES:
        os.environ.pop(name, None)
    try:
        settings = parse_settings(os.environ, Path.cwd())
    except BootFailed as exc:
        report(exc, os.environ.get("ALGO_TERMINATION_LOG"))
        return BAD_SETTING_STATUS
    preload = export_thread_budget(settings) and not _needs_own_process(settings)
    # gunicorn after the thread budget and before the user's folder is on the path: see usercode, rule 1.
    from .server import Server

    server = Server(settings, preload=preload, report=lambda exc: report(exc, settings.termination_path))
    if preload:
        with ForkGuard(lambda name: _start_again_without_preload(f"{name} cannot be shared by a fork")):
            server.wsgi()
        if native_thread_count() > 1:
            _start_again_without_preload("the model's libraries started threads")
    sys.argv = ["algo-model"]  # gunicorn shows it as the process's name; ours holds nothing to start again with
    server.run()
    return 0


def export_thread_budget(settings: RunSettings) -> bool:
    """Set the pool sizes that the app does not set itself. Returns True when the model may load before the fork."""
    size = pool_size(usable_cpus(), settings.workers, settings.threads)
    os.environ.update(pool_environment(os.environ, size))
    return may_load_before_fork(os.environ, size)


def report(exc: BootFailed, termination: Path | str | None) -> None:
    """Tell why: a line and the user's frames to the log, the same as JSON to the termination file."""
    for line in (f"{exc.code}: {_sentence(exc.fields)}", *exc.log):
        print(line, file=sys.stderr)
    sys.stderr.flush()
    if termination:
        write_json(Path(termination), {"code": exc.code, "fields": dict(exc.fields), "log": list(exc.log)})


def _sentence(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in fields.items() if value not in (None, "", 0))


def _needs_own_process(settings: RunSettings) -> bool:
    """What is known before the load: a framework that starts threads whatever the pool sizes say."""
    if settings.serve.kind is not Kind.MODEL_FILE:
        return names_unforkable(settings.app_dir, settings.serve.file)
    from .frameworks import needs_own_process  # a bare file's alone: starts with user code do without it

    return needs_own_process(settings.serve)


def _start_again_without_preload(why: str) -> None:
    """A fork would lose what the load starts, or has started: begin anew and load in each worker.

    A new program, not a second load here: threads may be in this process already. Costs one more load of what there is
    so far, once per start.
    """
    print(f"{why}: each worker loads it itself", file=sys.stderr, flush=True)
    os.environ["ALGO_PRELOAD"] = "0"
    package = __name__.rpartition(".")[0]
    os.execv(sys.executable, [sys.executable, "-P", "-m", package])  # noqa: S606 -- the same program, no shell
