"""What the server's own processes do first: read the settings, speak to the log, and not outlive the supervisor."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from pathlib import Path

from gitserver.settings import Settings, load_settings

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def begin(name: str, argv: list[str]) -> Settings:
    """The settings that the supervisor resolved; from here on SIGTERM comes when the supervisor dies."""
    settings = load_settings(Path(argv[1]))
    follow_parent(int(argv[2]))
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {name} %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )  # fmt: skip
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    return settings


def follow_parent(parent_pid: int) -> None:
    """SIGTERM for this process when its parent ends; at once when that happened before we could ask.

    Source  prctl(2), PR_SET_PDEATHSIG
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        raise SystemExit(0)
