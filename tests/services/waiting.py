"""Waits of the tests: each has a deadline and says what it waited for, and optional parts are skipped in one way."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def eventually(check: Callable[[], T], *, within_s: float, what: str, every_s: float = 0.05) -> T:
    """Ask until the answer is true and return it; AssertionError names what did not happen."""
    deadline = time.monotonic() + within_s
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what} (last answer: {answer!r})")
        time.sleep(every_s)


def need_tool(name: str, how: str) -> str:
    """The path of a program of the machine; without it the test is skipped, or fails where CI is set."""
    path = shutil.which(name)
    if path is None:
        sentence = f"{name} is not installed; to run this test: {how}"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return path


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
