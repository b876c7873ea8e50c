"""The code-only push, from `git push` to the first good answer, beside the least it could take.

Run     python benchmarks/push.py [--runs 10]
Floor   what no design can avoid without keeping the program warm: importing the app's dependencies in a fresh
        interpreter, plus a bare `git push` of the same change to a local repository over a file path
Prints  a Markdown table of medians; both are measured in the same run, alternately, on the same machine
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the server and the user of the tests are used here too; they are not installed

from tests.services.client import Repo, User  # noqa: E402 -- the path above comes first
from tests.services.server import Server  # noqa: E402

APP = "iris"
ROWS = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
IMPORTS = (
    "import flask, gunicorn.app.base, gunicorn.workers.gthread, joblib, numpy, sklearn.pipeline, sklearn.linear_model"
)


def main() -> None:
    """Start a server, push the example, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="algo-bench-") as folder:
        server = Server(Path(folder) / "state")
        try:
            server.start()
            print(render(measure(server, Path(folder), runs), runs))
        finally:
            server.close()


def measure(server: Server, folder: Path, runs: int) -> dict[str, list[float]]:
    """Seconds of each step, one number a run."""
    user = User(folder / "home", server)
    repo = Repo(folder / "iris", user, APP)
    shutil.copy(ROOT / "examples/iris/train.py", repo.path)
    subprocess.run([sys.executable, "train.py"], cwd=repo.path, check=True, stdout=subprocess.DEVNULL)
    bare = folder / "bare.git"
    user.run("git", "init", "-q", "--bare", str(bare))
    repo.git("remote", "add", "bare", str(bare))
    repo.commit(program(0))
    first = repo.push()
    repo.git("push", "-q", "bare", "main")
    repo.git("tag", "v1")
    repo.push("v1")

    seconds: dict[str, list[float]] = {"first push": [first.seconds]}
    for run in range(1, runs + 1):
        repo.commit(program(run))
        record(seconds, "fresh interpreter imports the app", time_of([sys.executable, "-c", IMPORTS], repo.path))
        record(seconds, "bare git push", time_of(["git", "push", "-q", "bare", "main"], repo.path, user))
        began = time.monotonic()
        push = repo.start_push("main")
        record(seconds, "git push to first good answer", first_answer(server, run) - began)
        record(seconds, "git push to its end", push.wait().seconds)
        record(seconds, "rollback by pushing a known tag", repo.push("v1").seconds)
    return seconds


def program(number: int) -> dict[str, str | bytes | None]:
    """A change of code alone: the answer carries its number."""
    lines = [
        "import joblib",
        "",
        'MODEL = joblib.load("model/iris.joblib")',
        "",
        "",
        "def predict(instances):",
        f'    return {{"change": {number}, "predictions": MODEL.predict(instances).tolist()}}',
        "",
    ]
    return {"predict.py": "\n".join(lines)}


def time_of(argv: list[str], cwd: Path, user: User | None = None) -> float:
    """Wall seconds of one child that must succeed."""
    began = time.monotonic()
    subprocess.run(argv, cwd=cwd, env=user.environment() if user else None, check=True, timeout=120)
    return time.monotonic() - began


def first_answer(server: Server, number: int, within_s: float = 120) -> float:
    """The moment at which a caller on a kept connection got the first answer of this change."""
    connection = http.client.HTTPConnection("127.0.0.1", server.at.http_port, timeout=30)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    body = json.dumps(ROWS)
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    try:
        while time.monotonic() < deadline:
            connection.request("POST", f"/{server.owner}/{APP}/predict", body, headers)
            reply = connection.getresponse()
            content: Any = json.loads(reply.read())
            if reply.status == 200 and content.get("change") == number:
                return time.monotonic()
            pause.wait(0.005)  # often enough to see it, seldom enough to leave the machine to the push
    finally:
        connection.close()
    raise TimeoutError(f"change {number} did not answer within {within_s:g} s")


def record(seconds: dict[str, list[float]], name: str, value: float) -> None:
    """Add one measurement."""
    seconds.setdefault(name, []).append(value)


def render(seconds: dict[str, list[float]], runs: int) -> str:
    """A Markdown table of medians, and the ratio to the floor."""
    lines = [f"| step ({runs} runs) | median s | min | max |", "|---|---|---|---|"]
    for name, values in seconds.items():
        lines.append(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
    floors = [
        sum(pair) for pair in zip(seconds["fresh interpreter imports the app"], seconds["bare git push"], strict=True)
    ]
    floor, ours = statistics.median(floors), statistics.median(seconds["git push to first good answer"])
    lines += [f"| **floor: imports + bare push** | {floor:.3f} | {min(floors):.3f} | {max(floors):.3f} |", ""]
    lines.append(f"Code-only push to first good answer: {ours:.3f} s, {ours / floor:.2f} × the floor of {floor:.3f} s.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
