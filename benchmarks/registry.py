"""A push to a registry that has the other layers: seconds, requests, bytes.

Run     python benchmarks/registry.py [--runs 5]; as root, with dockerd, docker-registry and mmdebstrap
How     a server builds the example app and a change of its code each run; the image goes to a registry on this machine,
        where its dependencies, model and stack are already. The first push, of everything, stands beside it
Prints  a Markdown table
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the server, the user and the registry of the tests are used here too

from benchmarks.images import document_of  # noqa: E402 -- the path above comes first
from benchmarks.push import program  # noqa: E402
from buildpacks.image.contents import outbound  # noqa: E402
from buildpacks.image.push import Pushed, PushOrder, push_image  # noqa: E402
from buildpacks.image.registry import Registry, RegistryOptions  # noqa: E402
from buildpacks.image.store import LayerStore  # noqa: E402
from buildpacks.stack.store import StackStore  # noqa: E402
from tests.services.client import Repo, User  # noqa: E402
from tests.services.engines import own_engine  # noqa: E402
from tests.services.registry import RealRegistry, running  # noqa: E402
from tests.services.server import Server  # noqa: E402
from tests.services.targets import Docker  # noqa: E402


def main() -> None:
    """Start a registry, an engine and a server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    engine = own_engine()
    with tempfile.TemporaryDirectory(prefix="algo-bench-") as name:
        folder = Path(name)
        server = Server(folder / "state", ground=Docker(engine.host))
        try:
            server.start()
            with running(RealRegistry(home=folder / "registry")) as registry:
                print(measure(server, registry, folder, runs))
        finally:
            server.close()
            engine.close()


def measure(server: Server, registry: RealRegistry, folder: Path, runs: int) -> str:
    """A row for the first push and one for the others."""
    user = User(folder / "home", server)
    user.login()
    repo = Repo(folder / "iris", user, "iris")
    shutil.copy(ROOT / "examples/iris/train.py", repo.path)
    subprocess.run([sys.executable, "train.py"], cwd=repo.path, check=True, stdout=subprocess.DEVNULL)
    client = Registry(registry.name, RegistryOptions(plain_http=frozenset({registry.name})))
    rows: list[tuple[float, Pushed]] = []
    for run in range(runs + 1):
        commit = repo.commit(program(run))
        repo.push()
        image = outbound(document_of(server), LayerStore(root=server.state), StackStore(root=server.state / "stacks"))
        order = PushOrder(image=image, repository="bench/iris", tags=[commit[:12]], log=lambda _line: None)
        began = time.monotonic()
        pushed = push_image(order, client, folder / "blobs")
        rows.append((time.monotonic() - began, pushed))
    client.close()
    (first_s, first), later = rows[0], rows[1:]
    seconds = [seconds for seconds, _ in later]
    return "\n".join([
        "| push to a registry | median s | min | max | requests | bytes sent | layers sent |",
        "|---|---|---|---|---|---|---|",
        f"| everything, once | {first_s:.3f} | | | {first.requests} | {first.sent_bytes} | {first.layers_sent} |",
        (f"| code only ({runs} runs) | {statistics.median(seconds):.3f} | {min(seconds):.3f} | {max(seconds):.3f} "
        f"| {max(pushed.requests for _, pushed in later)} | {max(pushed.sent_bytes for _, pushed in later)} "
        f"| {max(pushed.layers_sent for _, pushed in later)} |"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
