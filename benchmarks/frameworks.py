"""TensorFlow and PyTorch apps, wheels cached: from `git push` to the first good answer, beside the least it could take.

Run     python benchmarks/frameworks.py [--runs 3] [--family tensorflow --model keras]
Floor   first push: uv links the same lock from the same cache, offline, into a new environment, and its interpreter
        imports the framework and loads the model (which compiles what it imports). Code-only push: that interpreter
        once more, its byte-code there, plus a bare `git push` of the same change to a local repository
Steps   `first push`: a lock that the server has never installed, every wheel of which is in its cache (another app has
        installed them). `same lock`: the versions that another app has, as most apps of one framework ask for.
        `code-only push`: a changed text file, when the warm parent that the release leaves behind is ready
Prints  a Markdown table of medians; both sides are measured in the same run, alternately, on the same machine. CPU is
        what the server, its children and git used: on a machine with others on it, believe that rather than the clock
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the server and the user of the tests are used here too; they are not installed

from tests.services.client import Repo, User  # noqa: E402 -- the path above comes first
from tests.services.model_makers import FAMILIES, ModelCase, answer_of, close_to, model_cases  # noqa: E402
from tests.services.server import Server  # noqa: E402
from tests.services.torch_index import torch_index  # noqa: E402

LOADS = {
    "keras": "import keras; keras.saving.load_model({path!r}, compile=False)",
    "savedmodel": "import tensorflow as tf; tf.saved_model.load({path!r})",
    "torchscript": "import torch; torch.jit.load({path!r})",
    "torch-export": "import torch; torch.export.load({path!r})",
}
DEFAULTS = [("tensorflow", "keras"), ("torch", "torchscript")]
# Small packages, one for each run: a lock that is new, of wheels that are not.
MARKERS = ("iniconfig==2.0.0", "toolz==1.0.0", "pluggy==1.5.0", "attrs==24.2.0", "colorama==0.4.6")
TICKS = os.sysconf("SC_CLK_TCK")
SETTLED_S, QUIET_CPU_S = 300.0, 0.15
PUSH_S = 900.0  # the first one downloads, and the machine may be busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one step: seconds on the clock, seconds of a processor."""

    wall_s: float
    cpu_s: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(wall_s=self.wall_s + other.wall_s, cpu_s=self.cpu_s + other.cpu_s)


def main() -> None:
    """A server of its own for each model; the first push fills the cache and is not counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, choices=range(1, len(MARKERS) + 1))
    parser.add_argument("--family", choices=sorted(FAMILIES))
    parser.add_argument("--model", choices=sorted(LOADS))
    chosen = parser.parse_args()
    models = [(chosen.family, chosen.model)] if chosen.family and chosen.model else DEFAULTS
    print("| model | step | algopush s | floor s | ratio | algopush CPU s | floor CPU s | ratio |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for family, name in models:
        with tempfile.TemporaryDirectory(prefix="algo-bench-") as folder:
            for row in measure(Path(folder), family, name, chosen.runs):
                print(row, flush=True)


def measure(folder: Path, family: str, name: str, runs: int) -> list[str]:
    """The rows of one model."""
    case = model_cases(family)[name]
    first, same, changed = (Pair() for _ in range(3))
    with serving(folder, family) as user:
        with app(user, folder, case, "warm-up", MARKERS) as repo:
            push_and_ask(repo, case)
        for run in range(runs):
            marker = MARKERS[run : run + 1]
            with app(user, folder, case, f"first-{run}", marker) as repo:
                ours = cost(partial(push_and_ask, repo, case), user.server)
            site = folder / f"site-{run}"
            installed = cost(partial(install, site, user.server, folder / "lock.txt"))
            loading = partial(load, site, name, case)
            floor = installed + cost(loading)
            first.add(ours, floor)
            with app(user, folder, case, f"same-{run}", marker) as repo:
                same.add(cost(partial(push_and_ask, repo, case), user.server), floor)
                settle(user.server)
                bare = folder / f"bare-{run}.git"
                user.run("git", "init", "-q", "--bare", str(bare))
                repo.git("remote", "add", "bare", str(bare))
                bare_push = partial(repo.git, "push", "-q", "bare", "HEAD:main")
                bare_push()
                repo.commit({"notes.txt": f"change {run}\n"})
                ours = cost(partial(push_and_ask, repo, case), user.server)
                changed.add(ours, cost(bare_push) + cost(loading))
    return [
        first.row(f"{name} | first push"), same.row(f"{name} | same lock"), changed.row(f"{name} | code-only push")
    ]  # fmt: skip


class Pair:
    """What both sides of one comparison took, run by run."""

    def __init__(self) -> None:
        self._ours: list[Cost] = []
        self._floor: list[Cost] = []

    def add(self, ours: Cost, floor: Cost) -> None:
        """One run, told at once: the whole takes minutes."""
        print(f"ours {ours}, floor {floor}", file=sys.stderr, flush=True)
        self._ours.append(ours)
        self._floor.append(floor)

    def row(self, head: str) -> str:
        """One row of the table, of medians."""
        cells = []
        for unit in ("wall_s", "cpu_s"):
            ours, floor = (
                statistics.median(getattr(cost, unit) for cost in side) for side in (self._ours, self._floor)
            )
            cells.append(f"{ours:.2f} | {floor:.2f} | {ours / floor:.2f}")
        return f"| {head} | {' | '.join(cells)} |"


@contextmanager
def serving(folder: Path, family: str) -> Iterator[User]:
    """A server with an empty cache, and its owner."""
    with ExitStack() as stack:
        index = {"torch_index": stack.enter_context(torch_index())} if family == "torch" else {}
        server = Server(folder / "state", {"ready_timeout_s": "120", **index})
        stack.callback(server.close)
        server.start()
        user = User(folder / "home", server)
        user.login()
        yield user


@contextmanager
def app(user: User, folder: Path, case: ModelCase, name: str, more: tuple[str, ...]) -> Iterator[Repo]:
    """A new app with the model and these packages beside it; it is gone after, and the server is quiet."""
    repo = Repo(folder / name, user, name)
    case.put(repo.path)
    repo.commit({"requirements.txt": "".join(f"{line}\n" for line in more)})
    full_name = f"{user.name}/{name}"
    settle(user.server)
    try:
        yield repo
    finally:
        repo.close()
        user.algo("destroy", full_name, "--confirm", full_name)
        settle(user.server)


def push_and_ask(repo: Repo, case: ModelCase) -> None:
    """Until the model has given the framework's own answer."""
    pushed = repo.start_push("main").wait(PUSH_S)
    if pushed.rc != 0:
        raise SystemExit(pushed.text)
    call = case.calls[0]
    found = answer_of(repo.user.server.request("POST", f"/{repo.user.name}/{repo.app}{call.path}", json=call.body))
    if not close_to(found, call.answer):
        raise SystemExit(f"{case.name} answers {found}, not {call.answer}")


def install(site: Path, server: Server, lock: Path) -> None:
    """The packages of the newest image, from the server's own cache of wheels."""
    with sqlite3.connect(f"file:{server.state / 'ledger.sqlite'}?mode=ro", uri=True) as ledger:
        (config,) = ledger.execute("SELECT config FROM images ORDER BY id DESC LIMIT 1").fetchone()
    packs = json.loads(config)["lifecycle"]["buildpacks"]
    lock.write_text(next(pack["layers"]["deps"]["data"]["lock"] for pack in packs if "deps" in pack["layers"]))
    uv = str(Path(sys.executable).parent / "uv")
    environment = {**os.environ, "UV_CACHE_DIR": str(server.state / "cache" / "wheels")}
    if "torch_index" in server.settings:
        environment["UV_INDEX"] = server.settings["torch_index"]
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(site)], check=True, env=environment)
    command = [uv, "pip", "install", "-q", "--offline", "--no-deps", "--python", str(site / "bin/python")]
    subprocess.run([*command, "--link-mode", "hardlink", "--requirement", str(lock)], check=True, env=environment)


def load(site: Path, name: str, case: ModelCase) -> None:
    """A fresh interpreter that imports the framework and loads the model."""
    program = LOADS[name].format(path=str(case.host_path))
    command = [str(site / "bin/python"), "-I", "-W", "ignore", "-c", program]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def cost(step: Callable[[], object], server: Server | None = None) -> Cost:
    """One step's; with a server, what it and its children used meanwhile is in it."""
    before_s, started = _cpu_s(server), time.perf_counter()
    step()
    return Cost(wall_s=time.perf_counter() - started, cpu_s=_cpu_s(server) - before_s)


def settle(server: Server) -> None:
    """Until the server does nothing: what it prepares after an answer must not slow what is measured next."""
    deadline_at, before_s = time.monotonic() + SETTLED_S, _cpu_s(server)
    while time.monotonic() < deadline_at:
        time.sleep(2)
        now_s = _cpu_s(server)
        if now_s - before_s < QUIET_CPU_S:  # of the last two seconds
            return
        before_s = now_s
    raise SystemExit(f"the server is still busy after {SETTLED_S:g} s")


def _cpu_s(server: Server | None) -> float:
    """Seconds of a processor that ended children of ours took; with a server, it and all below it too."""
    if server is None:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
    children: dict[int, list[int]] = defaultdict(list)
    took: dict[int, list[int]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        children[int(fields[1])].append(pid)
        took[pid] = list(map(int, fields[11:15]))  # proc(5): utime, stime, and those of ended children
    ticks = sum(took[os.getpid()][2:])  # not this program's own looking
    left = [*children[os.getpid()]]
    while left:
        pid = left.pop()
        ticks += sum(took.get(pid, ()))
        left += children[pid]
    return ticks / TICKS


if __name__ == "__main__":
    main()
