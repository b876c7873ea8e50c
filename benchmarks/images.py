"""Images beside what makes them elsewhere: BuildKit, uv, tar. Each pair is measured in one run, alternately.

Run     python benchmarks/images.py [--runs 5]       (make bench-images); root, dockerd, mmdebstrap, a package index
Rivals  docker build  BuildKit with a warm cache, of a Dockerfile that begins at our own image, so that stack,
                      dependencies and runtime are there already and one COPY is all it has to do
        uv + tar      `uv pip install` of the same packages from a warm cache, and GNU tar of the result
Prints  a Markdown table of medians; nothing here is a test
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the server, the user and the engine of the tests are used here too

from benchmarks.docker_build import DockerBuild, buildkit_client  # noqa: E402 -- the path above comes first
from benchmarks.push import ROWS, first_answer, program  # noqa: E402
from buildpacks.build import build  # noqa: E402
from buildpacks.ground import Ground, stack_ground  # noqa: E402
from buildpacks.image.contents import base_outbound  # noqa: E402
from buildpacks.order import BuildOrder, BuiltImage  # noqa: E402
from buildpacks.stack.store import StackStore  # noqa: E402
from buildpacks.toolchain import find_toolchain  # noqa: E402
from gitserver.settings import BUILD_ENV_NAMES  # noqa: E402
from gitserver.targets.engine import DockerEngine  # noqa: E402
from tests.contract.kitchen_house import run_plain  # noqa: E402
from tests.services.client import Repo, User  # noqa: E402
from tests.services.counting import CountingSocket  # noqa: E402
from tests.services.engines import TestEngine, own_engine  # noqa: E402
from tests.services.models import installed_version  # noqa: E402
from tests.services.processes import parts_of  # noqa: E402
from tests.services.server import Server  # noqa: E402
from tests.services.stacks import the_stack  # noqa: E402
from tests.services.targets import Docker  # noqa: E402

APP, BIG = "iris", "big"
GIB = 1024**3
LONG_AGO_NS = 10**9  # an access time that a read replaces, on a disk mounted with relatime
INSTALL_ENV = {name: os.environ[name] for name in BUILD_ENV_NAMES if name in os.environ}


@dataclass(slots=True)
class Figures:
    """Measurements by name, and facts that are one number."""

    values: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One more run."""
        self.values.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        """Of all runs."""
        return statistics.median(self.values[name])


def main() -> None:
    """Start an engine and a server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["push", "first", "big"], help="one part of it")
    options = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="algo-bench-") as name:
        folder = Path(name)
        engine = own_engine()
        try:
            if options.only in {None, "push", "big"}:
                with served(folder, engine) as (server, line):
                    user = User(folder / "home", server)
                    user.login()
                    if options.only in {None, "push"}:
                        measure_pushes(figures, Bench(server, user, engine, line, folder), options.runs)
                    if options.only in {None, "big"}:
                        measure_big(figures, Bench(server, user, engine, line, folder), options.runs)
            if options.only in {None, "first"}:
                measure_first_builds(figures, folder, options.runs)
        finally:
            engine.close()
    print(render(figures, options.runs))


@dataclass(frozen=True, slots=True)
class Bench:
    """What a measurement has at hand."""

    server: Server
    user: User
    engine: TestEngine
    line: CountingSocket
    folder: Path


@contextmanager
def served(folder: Path, engine: TestEngine) -> Iterator[tuple[Server, CountingSocket]]:
    """A server on a line whose bytes are counted."""
    socket = Path(engine.host.removeprefix("unix://"))
    with CountingSocket(socket, folder / "line") as line:
        server = Server(
            folder / "state", {"docker_host": line.host, "max_pack_bytes": str(4 * GIB)}, ground=Docker(engine.host)
        )
        try:
            yield server.start(), line
        finally:
            server.close()


# A change of code ---------------------------------------------------------------------------------------------------
def measure_pushes(figures: Figures, bench: Bench, runs: int) -> None:
    """Ours and docker build in turns, each from the change to the image in the engine and to the first answer."""
    repo = Repo(bench.folder / APP, bench.user, APP)
    shutil.copy(ROOT / "examples/iris/train.py", repo.path)
    subprocess.run([sys.executable, "train.py"], cwd=repo.path, check=True, stdout=subprocess.DEVNULL)
    repo.commit(program(0))
    repo.push()
    rivals = rivals_of(bench)
    for rival in rivals.values():
        rival.take(repo.path)
        rival.build()
    layers = dependency_files(bench.server)
    for run in range(1, runs + 1):
        repo.commit(program(run))
        for name, rival in rivals.items():
            rival.take(repo.path)
            began = time.monotonic()
            rival.build()
            figures.add(f"docker build, warm, {name}", time.monotonic() - began)
            rival.run_until(run, ROWS)
            figures.add(f"docker build + docker run to first answer, {name}", time.monotonic() - began)
            rival.stop()

        set_back(layers)
        before, events = bench.line.sent, Events(bench.engine.host)
        began, began_ns = time.monotonic(), time.time_ns()
        push = repo.start_push("main")
        answered = first_answer(bench.server, run)
        push.wait()
        loaded_s, started_s = ((at_ns - began_ns) / 1e9 for at_ns in events.loaded_and_started())
        figures.add("git push to first answer", answered - began)
        figures.add("git push to the image in the engine", loaded_s)
        figures.add("image in the engine to the container's start", started_s - loaded_s)
        figures.add("the container's start to first answer", answered - began - started_s)
        figures.add("bytes sent to the engine", float(bench.line.sent - before))
        figures.add("dependency and model files read", float(sum(was_read(path) for path in layers)))
    figures.facts["dependency and model files"] = str(len(layers))
    size_of_image(figures, bench)


def rivals_of(bench: Bench) -> dict[str, DockerBuild]:
    """docker build on our own image, and as people write it."""
    docker, host = buildkit_client(bench.engine.host), bench.engine.host
    (box,) = Docker(host).containers.of(bench.server.state)
    stacks = StackStore(root=bench.server.state / "stacks")
    stack = stacks.current()
    assert stack is not None, "the server has one, or it would not have built"
    with closing(DockerEngine(host)) as door:
        door.ensure(base_outbound(stack.run, stacks, bench.server.state), "bench/python:1", print)
    packages = [f"scikit-learn=={installed_version('scikit-learn')}", "flask", "gunicorn"]
    return {
        "on our image": DockerBuild(docker, host, bench.folder, "ours").on_our_image(box.image),
        "as people write it": DockerBuild(docker, host, bench.folder, "written").as_written("bench/python:1", packages),
    }


class Events:
    """What the engine says of its images and containers, by its own clock, which is this machine's."""

    def __init__(self, host: str) -> None:
        self._client = Docker(host).containers.client
        self._since = int(time.time())

    def loaded_and_started(self) -> tuple[int, int]:
        """Nanoseconds since 1970 of the newest image's arrival and of the newest container's start."""
        now = int(time.time()) + 1
        found: dict[str, int] = {}
        for event in self._client.api.events(since=self._since, until=now, decode=True):
            found[f"{event['Type']} {event['Action']}"] = int(event["timeNano"])
        return max(found["image load"], found.get("image tag", 0)), found["container start"]


def document_of(server: Server) -> Mapping[str, Any]:
    """The newest image's document, from the ledger."""
    import sqlite3

    with sqlite3.connect(f"file:{server.state / 'ledger.sqlite'}?mode=ro", uri=True) as connection:
        ((text,),) = connection.execute("SELECT config FROM images ORDER BY created_at DESC LIMIT 1").fetchall()
    document: Mapping[str, Any] = json.loads(text)
    return document


def dependency_files(server: Server) -> list[Path]:
    """Files of the dependency and model layers that the newest image has: what a change of code must not read."""
    layers = [layer for layer in document_of(server)["layers"] if layer["kind"] == "slice" or "/deps" in layer["path"]]
    folders = [server.state / "layers" / "sha256" / layer["diff_id"].removeprefix("sha256:") for layer in layers]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def set_back(paths: list[Path]) -> None:
    """Access times that any read replaces."""
    for path in paths:
        os.utime(path, ns=(LONG_AGO_NS, path.stat().st_mtime_ns))


def was_read(path: Path) -> bool:
    """Since set_back."""
    return path.stat().st_atime_ns != LONG_AGO_NS


def size_of_image(figures: Figures, bench: Bench) -> None:
    """Ours over the stack, beside the installed wheels."""
    document = document_of(bench.server)
    ours = sum(int(layer["tar_bytes"]) for layer in document["layers"])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "site"
        install(
            target, [f"scikit-learn=={installed_version('scikit-learn')}", "flask", "gunicorn", "joblib"], compiled=True
        )
        wheels = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    figures.facts["image over the stack"] = f"{ours / 1e6:.1f} MB"
    figures.facts["installed wheels"] = f"{wheels / 1e6:.1f} MB"
    figures.facts["image / wheels"] = f"{ours / wheels:.2f}"


# A model of a gibibyte ----------------------------------------------------------------------------------------------
def measure_big(figures: Figures, bench: Bench, runs: int) -> None:
    """Pushed once, then a change of code: what of the file is read, and what of it is sent."""
    repo = Repo(bench.folder / BIG, bench.user, BIG)
    with (repo.path / "weights.bin").open("wb") as file:
        file.truncate(GIB)
    code = "import os\n\n\ndef predict(x=None):\n    return [os.path.getsize('weights.bin'), {}]\n"
    repo.commit({"predict.py": code.format(0)})
    figures.add("first push with the file of 1 GiB", repo.push().seconds)
    (worker,) = parts_of(bench.server.state, "worker")
    files = [path for path in bench.server.state.rglob("*") if path.is_file() and path.stat().st_size >= GIB]
    for run in range(1, runs + 1):
        repo.commit({"predict.py": code.format(run)})
        set_back(files)
        sent, read = bench.line.sent, rchar(worker)
        figures.add("next push of its code", repo.push().seconds)
        figures.add("bytes sent beside a file of 1 GiB", float(bench.line.sent - sent))
        figures.add("bytes that the worker and its children read", float(rchar(worker) - read))
        figures.add("the file was opened to see its kind (1: yes)", float(any(was_read(path) for path in files)))


def rchar(pid: int) -> int:
    """Bytes asked of read() by a process and its ended children, whatever came from memory. Source: proc(5)."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


# A first build ------------------------------------------------------------------------------------------------------
def measure_first_builds(figures: Figures, folder: Path, runs: int) -> None:
    """All layers anew with warm wheels, beside uv and tar; one build before the first warms both."""
    stacks = StackStore(root=the_stack())
    stack = stacks.current()
    if stack is None:
        raise SystemExit("there is no stack")
    ground = stack_ground(stack, stacks.rootfs(stack.run), find_toolchain())
    wheels = folder / "wheels"
    packages = [f"scikit-learn=={installed_version('scikit-learn')}"]
    for run in range(runs + 1):
        began = time.monotonic()
        build_once(folder / f"first{run}", wheels, packages, ground)
        ours = time.monotonic() - began
        site = folder / f"site{run}"
        plain = time_of(lambda site=site: uv_and_tar(site, packages, wheels, compiled=False))  # type: ignore[misc]  # mypy knows no lambda with a default
        compiled = time_of(lambda site=site: uv_and_tar(site, packages, wheels, compiled=True))  # type: ignore[misc]  # as above
        shutil.rmtree(folder / f"first{run}")
        if run:
            figures.add("first build, wheels cached", ours)
            figures.add("uv install + tar, not compiled", plain)
            figures.add("uv install compiled + tar", compiled)


def build_once(state: Path, wheels: Path, packages: list[str], ground: Ground) -> BuiltImage:
    """A build with nothing but wheels from before."""
    app, work = state / "tree", state / "work"
    for path in (app, work, state / "cache" / "apps" / "1", wheels):
        path.mkdir(parents=True, exist_ok=True)
    (app / "predict.py").write_text("def predict(x=None):\n    return x\n", encoding="ascii")
    (app / "requirements.txt").write_text("".join(f"{line}\n" for line in packages), encoding="ascii")
    order = BuildOrder(
        app_key="1", app_dir=app, work_dir=work, cache_dir=state / "cache" / "apps" / "1", wheel_dir=wheels,
        store_dir=state, previous=None, platform_env={}, install_env=INSTALL_ENV, runtime_dir=ROOT / "runtime",
        big_files={}, timeout_s=600, ground=ground,
    )  # fmt: skip
    return build(order, run_plain, lambda _line: None)


def uv_and_tar(site: Path, packages: list[str], wheels: Path, *, compiled: bool) -> None:
    """The least that a dependency layer costs: its files installed, and written once into a tar."""
    install(site, packages, compiled=compiled, cache=wheels)
    subprocess.run(["tar", "-cf", str(site.with_suffix(".tar")), "-C", str(site), "."], check=True)
    site.with_suffix(".tar").unlink()
    shutil.rmtree(site)


def install(site: Path, packages: list[str], *, compiled: bool, cache: Path | None = None) -> None:
    """uv pip install into an empty folder."""
    uv = str(Path(sys.executable).parent / "uv")
    extra = ["--compile-bytecode"] if compiled else []
    kept = ["--cache-dir", str(cache)] if cache is not None else []
    subprocess.run([uv, "pip", "install", "-q", "--target", str(site), *extra, *kept, *packages], check=True)


def time_of(work: Callable[[], None]) -> float:
    """Wall seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


# The table ----------------------------------------------------------------------------------------------------------
RATIOS = (
    ("git push to first answer", "docker build + docker run to first answer, as people write it"),
    ("git push to first answer", "docker build + docker run to first answer, on our image"),
    ("git push to the image in the engine", "docker build, warm, as people write it"),
    ("first build, wheels cached", "uv install compiled + tar"),
    ("first build, wheels cached", "uv install + tar, not compiled"),
)


def render(figures: Figures, runs: int) -> str:
    """Medians, then ratios of the pairs that were measured, then facts."""
    lines = [f"| what ({runs} runs) | median | min | max |", "|---|---|---|---|"]
    for name, values in figures.values.items():
        shape = "{:.0f}" if name.startswith(("bytes", "dependency", "the file")) else "{:.3f} s"
        cells = " | ".join(shape.format(value) for value in (statistics.median(values), min(values), max(values)))
        lines.append(f"| {name} | {cells} |")
    lines.append("")
    for ours, theirs in RATIOS:
        if ours in figures.values and theirs in figures.values:
            lines.append(f"{ours} / {theirs}: {figures.median(ours) / figures.median(theirs):.2f}")
    lines += [f"{name}: {value}" for name, value in figures.facts.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
