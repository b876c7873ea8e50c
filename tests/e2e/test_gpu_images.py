"""One push, two images: what a data scientist and an operator see of BP_GPU=also. Tiny wheels stand for PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.services.client import Repo
from tests.services.server import Server
from tests.services.wheels import serve_index, wheel

pytestmark = pytest.mark.e2e

PREDICT = "import torch\n\n\ndef predict(x=None):\n    return {'torch': torch.__version__}\n"


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A server, and the index of default builds that its apps name."""

    server: Server
    index_url: str


@pytest.fixture(name="lab", scope="module")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with (
        serve_index(
            wheel("torch", "2.7.0", requires=["nvidia-cublas-cu12"], pad=90_000),
            wheel("nvidia-cublas-cu12", "12.6", pad=900_000),
        ) as index,
        serve_index(wheel("torch", "2.7.0+cpu")) as processors,
    ):
        server = Server(tmp_path_factory.mktemp("gpu") / "state", {"torch_index": processors.url})
        try:
            yield Lab(server=server.start(), index_url=index.url)
        finally:
            server.close()


def project(lab: Lab, gpu: str) -> str:
    settings = {"BP_EXTRA_INDEX_URL": lab.index_url, "BP_GPU": gpu}
    return '[_]\nschema-version = "0.2"\n' + "".join(
        f'[[io.buildpacks.build.env]]\nname = "{name}"\nvalue = "{value}"\n' for name, value in settings.items()
    )


def test_a_push_makes_both_images_and_serves_the_one_for_processors(
    lab: Lab, own: Callable[[Server, str], Repo]
) -> None:
    repo = own(lab.server, "two")
    user, app = repo.user, "alice/two"
    repo.commit({"predict.py": PREDICT, "requirements.txt": "torch==2.7.0\n", "project.toml": project(lab, "also")})
    said = repo.push()
    shown = json.loads(user.algo("image", "show", "--app", app, "--json"))
    (gpu,) = shown["variants"]
    assert said.line_with("Variant gpu:").endswith(f" {gpu['digest']}, {said_mb(gpu)} in layers of its own")
    assert said.line_with("Image: ").endswith(shown["digest"])
    assert lab.server.answer("two", {}) == {"torch": "2.7.0+cpu"}
    assert gpu["digest"] in user.algo("image", "show", "--app", app)
    layers = json.loads(user.algo("image", "show", "--variant", "gpu", "--app", app, "--json"))["layers"]
    changed = [one["title"] for one, other in zip(shown["layers"], layers, strict=True) if one != other]
    assert changed == ["layers/algo_python/deps"]
    verified = user.algo("image", "verify", "--app", app)
    assert f"The same image: {shown['digest']}" in verified
    assert f"The same variant gpu: {gpu['digest']}" in verified
    assert "0 bytes moved" in repushed(repo)


def said_mb(variant: dict[str, int]) -> str:
    return f"{variant['more_bytes'] / 1e6:.1f} MB"


def repushed(repo: Repo) -> str:
    """What a push of other code says of the second image's packages."""
    repo.commit({"predict.py": PREDICT + "\n"})
    return repo.push().line_with("Dependencies for graphics cards:")
