"""The gateway process: public HTTP."""

from __future__ import annotations

import sys

from gitserver.gateway.main import run
from gitserver.serve.component import begin

if __name__ == "__main__":
    run(begin("gateway", sys.argv))
