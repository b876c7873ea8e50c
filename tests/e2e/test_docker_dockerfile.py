"""A repository with a Dockerfile: built by the engine where the operator allows it, refused elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.services.client import Repo
from tests.services.containers import import_folder
from tests.services.server import Server
from tests.services.targets import Docker, on_docker, the_ground

pytestmark = [pytest.mark.e2e, on_docker]

Own = Callable[[Server, str], Repo]
New = Callable[..., Server]
BASE = "algo-test/python:1"
SERVER = (
    "import json\nimport os\nfrom http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n\n\n"
    "class Handler(BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        body = json.dumps({'says': open('/word').read().strip(), 'args': os.sys.argv[1:]}).encode()\n"
    "        self.send_response(200)\n"
    "        self.send_header('Content-Length', str(len(body)))\n"
    "        self.end_headers()\n"
    "        self.wfile.write(body)\n\n\n"
    "ThreadingHTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()\n"
)


@pytest.fixture(scope="module")
def ground() -> Docker:
    """The shared engine, with an image that a Dockerfile can begin from."""
    from buildpacks.stack.store import StackStore
    from tests.services.stacks import the_stack

    found = the_ground()
    assert isinstance(found, Docker)
    stacks = StackStore(root=the_stack())
    stack = stacks.current()
    assert stack is not None
    import_folder(found.host, stacks.rootfs(stack.run), BASE)
    return found


def files(word: str) -> dict[str, str | bytes | None]:
    """A Dockerfile whose RUN step writes a word, and a web server that tells it."""
    steps = [
        f"FROM {BASE}",
        "COPY server.py /srv/server.py",
        f"RUN echo {word} > /word",
        'ENTRYPOINT ["/usr/bin/python3", "/srv/server.py"]',
        'CMD ["from", "the", "image"]',
    ]
    return {"Dockerfile": "\n".join(steps) + "\n", "server.py": SERVER, ".dockerignore": "*.secret\n"}


def test_without_permission_the_push_is_refused_and_names_the_operators_switch(
    ground: Docker, fresh_server: New, own: Own
) -> None:
    server = fresh_server(ground=ground)
    repo = own(server, "web")
    repo.commit(files("never"))
    result = repo.push(check=False)
    assert "Dockerfile" in result.verdicts["main"], result.text
    assert result.line_with("allow_dockerfile")
    assert repo.remote_refs() == {}


def test_with_permission_it_is_built_served_and_replaced(ground: Docker, fresh_server: New, own: Own) -> None:
    server = fresh_server(ground=ground, allow_dockerfile="on")
    repo = own(server, "web")
    repo.commit(files("one"))
    result = repo.push()
    assert result.line_with("is serving")
    args = ["from", "the", "image"]
    assert server.request("GET", "/alice/web/").json() == {"says": "one", "args": args}
    repo.git("tag", "v1")
    repo.push("v1")
    repo.commit(files("two"))
    repo.push()
    assert server.request("GET", "/alice/web/").json() == {"says": "two", "args": args}
    repo.push("v1")
    assert server.request("GET", "/alice/web/").json() == {"says": "one", "args": args}


def test_a_step_that_fails_ends_the_push_with_the_steps_own_words(ground: Docker, fresh_server: New, own: Own) -> None:
    server = fresh_server(ground=ground, allow_dockerfile="on")
    repo = own(server, "web")
    first = repo.commit(files("one"))
    repo.push()
    broken = files("two")
    broken["Dockerfile"] = str(broken["Dockerfile"]).replace("RUN echo two > /word", "RUN echo the reason && false")
    repo.commit(broken)
    result = repo.push(check=False)
    assert result.line_with("the reason")
    assert "Dockerfile" in result.verdicts["main"]
    assert repo.remote_refs()["refs/heads/main"] == first
    assert server.request("GET", "/alice/web/").json()["says"] == "one"


def test_its_container_is_as_confined_as_any_other(ground: Docker, fresh_server: New, own: Own) -> None:
    server = fresh_server(ground=ground, allow_dockerfile="on")
    repo = own(server, "web")
    repo.commit(files("one"))
    repo.push()
    (box,) = ground.containers.of(server.state)
    limits = box.config["HostConfig"]
    assert limits["ReadonlyRootfs"]
    assert limits["CapDrop"] == ["ALL"]
    assert "no-new-privileges" in " ".join(limits["SecurityOpt"])
    assert limits["Memory"] > 0
    assert limits["PidsLimit"] > 0
    assert not [mount for mount in box.config["Mounts"] if "docker.sock" in mount["Source"]]
