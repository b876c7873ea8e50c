"""The SSH process: git over SSH."""

from __future__ import annotations

import sys

from gitserver.serve.component import begin
from gitserver.wiring import run_ssh

if __name__ == "__main__":
    run_ssh(begin("ssh", sys.argv))
