"""Detection and planning of a repository with 10,000 files: what a push waits for before its build begins.

    .venv/bin/python benchmarks/detection.py [--files 10000] [--runs 5]

One run is everything between the tree on disk and a plan: pruning, the lifecycle's process with the detections of all
our buildpacks as forks, the resolution of their plans. CPU seconds are of this process and its children; a busy machine
does not change them. Files opened are counted by the kernel's audit of the detection itself (sys.addaudithook).
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from buildpacks.lifecycle.detect import detect
from buildpacks.lifecycle.job import Job
from buildpacks.model.search import find_models
from buildpacks.pruning import prune

LIMIT_S = 0.3
PACKS = Path(__file__).resolve().parent.parent / "buildpacks" / "packs"


def make_tree(root: Path, files: int) -> None:
    """A repository as people push them: code in packages, notebooks' outputs, one model, a list of packages."""
    for number in range(files - 3):
        folder = root / f"src{number % 50}" / f"part{number % 7}"
        if number < 350:
            folder.mkdir(parents=True, exist_ok=True)
        suffix = (".py", ".json", ".txt", ".csv")[number % 4]
        (folder / f"file{number}{suffix}").write_bytes(b"import os\n")
    (root / "model").mkdir()
    (root / "model" / "booster.json").write_text(
        '{"learner": {"learner_model_param": {"num_feature": "4"}}, "version": [3, 2, 0]}'
    )
    (root / "requirements.txt").write_text("xgboost\n")
    (root / "README.md").write_text("x")


def run_once(app: Path, work: Path) -> tuple[float, float]:
    """Wall and CPU seconds of pruning, detecting and planning."""
    (work / "platform" / "env").mkdir(parents=True)
    job = Job(
        app=str(app), layers=str(work), platform=str(work / "platform"), build_config="", tmp=str(work),
        result=str(work / "result.json"), order=str(PACKS / "order.toml"),
        buildpacks=tuple(str(path.parent) for path in sorted(PACKS.glob("*/buildpack.toml"))), cache="", previous=(),
        env={"PATH": os.environ["PATH"], "HOME": str(work), "CNB_STACK_ID": "bench"}, target={"os": "linux"},
    )  # fmt: skip
    before, started = _cpu_s(), time.perf_counter()
    prune(app)
    found = detect(job)
    wall, cpu = time.perf_counter() - started, _cpu_s() - before
    assert [pack.id for pack in found.group] == ["algo/python", "algo/model"], found.group
    return wall, cpu


def count_opened(app: Path) -> int:
    """Files that the search for models opens."""
    opened: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(str(app)):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    assert len(find_models(str(app))) == 1
    return len(opened)


def _cpu_s() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def main() -> int:
    """Print the figures; 1 when the limit is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if not sys.flags.no_site:  # as the lifecycle is run: only then are our buildpacks forks of it
        os.execv(sys.executable, [os.path.realpath(sys.executable), "-I", "-S", __file__, *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder) / "app"
        app.mkdir()
        make_tree(app, options.files)
        runs = [run_once(app, Path(folder) / f"work{number}") for number in range(options.runs)]
        opened = count_opened(app)
    wall, cpu = (min(values) for values in zip(*runs, strict=True))
    print(
        f"{options.files} files: {wall:.3f} s, {cpu:.3f} CPU s (at most {LIMIT_S} s); {opened} files opened for models"
    )
    return 0 if min(wall, cpu) <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
