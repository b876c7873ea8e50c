"""TensorFlow and PyTorch apps, wheels cached: from `git push` to the first good answer, beside the least it could take.

Run     python benchmarks/frameworks.py [--runs 3] [--family tensorflow --model keras]
Floor   first push: uv installs the same lock from the same cache into an empty folder, and a fresh interpreter of it
        imports the framework and loads the model. Code-only push: that interpreter, plus a bare `git push` of the same
        change to a local repository over a file path
Prints  a Markdown table of medians; both sides are measured in the same run, alternately, on the same machine
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the server and the user of the tests are used here too; they are not installed

from tests.services.client import Repo, User  # noqa: E402 -- the path above comes first
from tests.services.model_makers import FAMILIES, SHIM, ModelCase, answer_of, close_to, model_cases  # noqa: E402
from tests.services.server import Server  # noqa: E402
from tests.services.torch_index import torch_index, torch_wheels  # noqa: E402

LOADS = {
    "keras": "import keras; keras.saving.load_model({path!r}, compile=False)",
    "savedmodel": "import tensorflow as tf; tf.saved_model.load({path!r})",
    "torchscript": "import torch; torch.jit.load({path!r})",
    "torch-export": "import torch; torch.export.load({path!r})",
}
DEFAULTS = [("tensorflow", "keras"), ("torch", "torchscript")]


def main() -> None:
    """A server of its own for each model; the first push fills the cache and is not counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--family", choices=sorted(FAMILIES))
    parser.add_argument("--model", choices=sorted(LOADS))
    chosen = parser.parse_args()
    models = [(chosen.family, chosen.model)] if chosen.family and chosen.model else DEFAULTS
    print("| model | step | algopush s | floor s | ratio |\n|---|---|---|---|---|")
    for family, name in models:
        with tempfile.TemporaryDirectory(prefix="algo-bench-") as folder:
            for row in measure(Path(folder), family, name, chosen.runs):
                print(row)


def measure(folder: Path, family: str, name: str, runs: int) -> list[str]:
    """The rows of one model."""
    case = model_cases(family)[name]
    with ExitStack() as stack:
        index = {"torch_index": stack.enter_context(torch_index())} if family == "torch" else {}
        server = Server(folder / "state", {"ready_timeout_s": "120", **index})
        stack.callback(server.close)
        server.start()
        user = User(folder / "home", server)
        user.login()
        first_push(user, folder, case, "warm-up")
        first: dict[str, list[float]] = {"ours": [], "floor": []}
        changed: dict[str, list[float]] = {"ours": [], "floor": []}
        for run in range(runs):
            repo, took = first_push(user, folder, case, f"run-{run}")
            first["ours"].append(took)
            site = folder / f"site-{run}"
            loading = partial(load, site, name, case)
            first["floor"].append(timed(partial(install, site, family)) + timed(loading))
            bare = folder / f"bare-{run}.git"
            user.run("git", "init", "-q", "--bare", str(bare))
            repo.git("remote", "add", "bare", str(bare))
            bare_push = partial(repo.git, "push", "-q", "bare", "HEAD:main")
            bare_push()
            repo.commit({"notes.txt": f"change {run}\n"})
            changed["ours"].append(timed(partial(push_and_ask, repo, case)))
            changed["floor"].append(timed(bare_push) + timed(loading))
            shutil.rmtree(site)
            repo.close()
    return [render(name, "first push", first), render(name, "code-only push", changed)]


def first_push(user: User, folder: Path, case: ModelCase, app: str) -> tuple[Repo, float]:
    """A new app: its repository, and the seconds from the push to the answer."""
    repo = Repo(folder / app, user, app)
    case.put(repo.path)
    repo.commit()
    return repo, timed(lambda: push_and_ask(repo, case))


def push_and_ask(repo: Repo, case: ModelCase) -> None:
    """Until the model has given the framework's own answer."""
    repo.push()
    call = case.calls[0]
    found = answer_of(repo.user.server.request("POST", f"/{repo.user.name}/{repo.app}{call.path}", json=call.body))
    if not close_to(found, call.answer):
        raise SystemExit(f"{case.name} answers {found}, not {call.answer}")


def install(site: Path, family: str) -> None:
    """The family's packages from uv's warm cache."""
    uv = str(Path(sys.executable).parent / "uv")
    links = ["--find-links", str(torch_wheels() / "simple/torch")] if family == "torch" else []
    command = [uv, "pip", "install", "-q", "--python", sys.executable, "--target", str(site), *links]
    subprocess.run([*command, *FAMILIES[family].packages, *SHIM], check=True)


def load(site: Path, name: str, case: ModelCase) -> None:
    """A fresh interpreter that imports the framework and loads the model."""
    program = f"import sys; sys.path.insert(0, {str(site)!r}); " + LOADS[name].format(path=str(case.host_path))
    subprocess.run([sys.executable, "-I", "-W", "ignore", "-c", program], check=True, stderr=subprocess.DEVNULL)


def timed(step: Callable[[], object]) -> float:
    """Seconds of one step."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def render(name: str, step: str, seconds: dict[str, list[float]]) -> str:
    """One row of the table."""
    ours, floor = statistics.median(seconds["ours"]), statistics.median(seconds["floor"])
    return f"| {name} | {step} | {ours:.2f} | {floor:.2f} | {ours / floor:.2f} |"


if __name__ == "__main__":
    main()
