"""Whatever happens to engine or server: one clear sentence, the old release serves, nothing is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.programs import answer, says, slow
from tests.services.client import Repo
from tests.services.containers import foreign_image
from tests.services.engines import TestEngine, own_engine
from tests.services.load import Load
from tests.services.processes import parts_of
from tests.services.server import Server
from tests.services.targets import Docker, on_docker
from tests.services.waiting import eventually

pytestmark = [pytest.mark.e2e, on_docker]

Own = Callable[[Server, str], Repo]
New = Callable[..., Server]


@pytest.fixture(scope="module")
def engine() -> Iterator[TestEngine]:
    """An engine of this module's own: it is stopped, killed and started again."""
    made = own_engine()
    yield made
    made.close()


@pytest.fixture
def ground(engine: TestEngine) -> Docker:
    """That engine, up."""
    engine.start()
    return Docker(engine.host)


@pytest.fixture
def serve(new_server: New, engine: TestEngine, ground: Docker) -> Iterator[New]:
    """`serve(drain_s="1")` starts a server on that engine; it is closed over a living one, whatever the test did."""

    def start(**settings: str) -> Server:
        server: Server = new_server(ground=ground, **settings)
        return server.start()

    yield start
    engine.start()


# The engine ---------------------------------------------------------------------------------------------------------
def test_an_engine_that_was_stopped_and_started_again_serves_again(
    engine: TestEngine, ground: Docker, serve: New, own: Own
) -> None:
    server = serve()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    engine.stop()
    reply = server.call("iris", {})
    assert reply.status_code in {502, 503}
    assert reply.json()["error"]
    assert server.request("GET", "/healthz", token=None).status_code in {200, 503}
    engine.start()
    server.wait_answer("iris", {}, answer("one"), within_s=90)
    repo.commit(says("two"))
    repo.push()
    assert server.answer("iris", {}) == answer("two")
    assert "Traceback" not in server.printed


def test_a_push_while_the_engine_is_away_is_refused_and_says_whose_move_it_is(
    engine: TestEngine, ground: Docker, serve: New, own: Own
) -> None:
    server = serve()
    repo = own(server, "iris")
    first = repo.commit(says("one"))
    repo.push()
    repo.commit(says("two"))
    engine.stop()
    result = repo.push(check=False)
    assert "engine" in result.verdicts["main"], result.text
    assert result.line_with(engine.host.removeprefix("unix://")), "which engine"
    assert repo.remote_refs()["refs/heads/main"] == first
    engine.start()
    server.wait_answer("iris", {}, answer("one"), within_s=90)
    repo.push()
    assert server.answer("iris", {}) == answer("two")


def test_an_engine_that_is_stopped_during_a_push_ends_the_push_and_moves_nothing(
    engine: TestEngine, ground: Docker, serve: New, own: Own
) -> None:
    server = serve()
    repo = own(server, "iris")
    first = repo.commit(says("one"))
    repo.push()
    repo.commit(slow("two", load_s=15))
    push = repo.start_push("main")
    eventually(lambda: len(ground.containers.of(server.state)) == 2, within_s=90, what="the new container is there")
    engine.stop()
    result = push.wait(90)
    assert result.rc != 0, result.text
    assert "engine" in result.verdicts["main"], result.text
    engine.start()
    server.wait_answer("iris", {}, answer("one"), within_s=90)
    assert repo.remote_refs()["refs/heads/main"] == first
    eventually(lambda: len(ground.containers.of(server.state)) == 1, within_s=60, what="nothing is left of the push")


def test_an_engine_that_crashes_during_a_push_leaves_one_release_and_a_branch_that_agrees(
    engine: TestEngine, ground: Docker, serve: New, own: Own
) -> None:
    """Containers outlive a crash of their engine: the new one may well get ready and serve."""
    server = serve()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    second = repo.commit(slow("two", load_s=8))
    push = repo.start_push("main")
    eventually(lambda: len(ground.containers.of(server.state)) == 2, within_s=90, what="the new container is there")
    engine.kill()
    result = push.wait(90)
    assert (result.rc == 0) is (result.verdicts["main"] == ""), result.text
    engine.start()
    is_new = repo.remote_refs()["refs/heads/main"] == second
    assert is_new is (result.rc == 0), result.text
    server.wait_answer("iris", {}, answer("two" if is_new else "one"), within_s=90)
    eventually(lambda: len(server.models("iris")) == 1, within_s=90, what="one model runs")
    eventually(lambda: len(ground.containers.of(server.state)) == 1, within_s=90, what="nothing else is left")


def test_a_server_that_starts_before_its_engine_serves_once_it_is_there(
    engine: TestEngine, ground: Docker, serve: New, own: Own
) -> None:
    server = serve()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    assert server.stop() == 0
    engine.stop()
    server.start()
    reply = server.call("iris", {})
    assert reply.status_code in {502, 503}, reply.text
    engine.start()
    server.wait_answer("iris", {}, answer("one"), within_s=90)
    assert "Traceback" not in server.printed


def test_an_image_that_somebody_removed_from_the_engine_is_sent_again(ground: Docker, serve: New, own: Own) -> None:
    server = serve()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    (box,) = ground.containers.of(server.state)
    ground.containers.client.api.remove_container(box.id, force=True)
    ground.containers.client.images.remove(box.image, force=True)
    server.wait_answer("iris", {}, answer("one"), within_s=60)
    assert server.models("iris"), "another container runs"


# Others on the same engine ------------------------------------------------------------------------------------------
def test_sec_56_containers_and_images_of_others_survive_everything_the_server_does(
    ground: Docker, serve: New, own: Own, tmp_path: Path
) -> None:
    client = ground.containers.client
    strange = foreign_image(ground.host, tmp_path / "files", "somebody/sleep:1")
    others = [
        client.containers.run(strange, ["/bin/sleep", "600"], detach=True, name="somebody-sleeps", network_mode="none")
    ]
    unused = foreign_image(ground.host, tmp_path / "files", "somebody/unused:1")
    server = serve()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    # A stranger's container of an image of ours: it carries the image's labels, and is still not ours.
    (box,) = ground.containers.of(server.state)
    others.append(client.containers.run(box.image, detach=True, name="somebody-tries-ours", network_mode="none"))
    repo.commit(says("two"))
    repo.push()
    repo.push("main:feature/x")
    repo.push(":feature/x")
    repo.user.algo("gc", "--dry-run")
    repo.user.algo("gc")
    server.kill()
    server.start()
    server.wait_answer("iris", {}, answer("two"))
    repo.user.algo("destroy", "alice/iris", "--confirm", "alice/iris")
    repo.user.algo("gc")
    assert server.stop() == 0
    assert server.left_over() == {}
    for other in others:
        other.reload()
        assert other.status == "running", other.name
        other.remove(force=True)
    assert client.images.get("somebody/unused:1").id == unused
    client.images.remove("somebody/unused:1")
    client.images.remove("somebody/sleep:1", force=True)


def test_two_servers_on_one_engine_leave_each_other_alone(ground: Docker, serve: New, own: Own, tmp_path: Path) -> None:
    from tests.services.client import User

    one, two = serve(), serve()
    repo = own(one, "iris")
    repo.commit(says("one"))
    repo.push()
    other = User(tmp_path / "other-home", two)
    other.login()
    repo.git("remote", "add", "other", other.url_of("iris"))
    repo.git("push", "-q", "other", "main")
    keys = one.models("iris")
    two.kill()
    two.start()
    other.algo("gc")
    other.algo("destroy", "alice/iris", "--confirm", "alice/iris")
    assert two.stop() == 0
    assert two.left_over() == {}
    assert one.models("iris") == keys
    assert one.answer("iris", {}) == answer("one")


# The server ---------------------------------------------------------------------------------------------------------
def test_a_server_that_was_killed_finds_its_containers_and_takes_them_over(
    ground: Docker, serve: New, own: Own
) -> None:
    server = serve()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    repo.push("main:feature/x")
    before = {box.id for box in ground.containers.of(server.state)}
    assert len(before) == 2
    server.kill_server()
    assert {box.id for box in ground.containers.of(server.state) if box.pid} == before, "they go on without us"
    server.start()
    server.wait_answer("iris", {}, answer("one"))
    server.wait_answer("iris", {}, answer("one"), ref="feature/x")
    assert {box.id for box in ground.containers.of(server.state)} == before


def test_a_worker_that_dies_costs_no_call_and_no_container(ground: Docker, serve: New, own: Own) -> None:
    server = serve()
    repo = own(server, "iris")
    repo.commit({"predict.py": "def predict(x=None):\n    print('a call came')\n    return {'says': 'one'}\n"})
    repo.push()
    before = server.models("iris")
    with Load(f"{server.url}/alice/iris/predict", server.token, {}, connections=2, pause_s=0.05) as load:
        old = parts_of(server.state, "worker")
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        eventually(
            lambda: (new := parts_of(server.state, "worker")) and not set(new) & set(old),
            within_s=20,
            what="a new worker",
        )
        eventually(server.is_healthy, within_s=30, what="healthz")
    assert load.lost == []
    assert server.models("iris") == before
    lines = repo.user.algo("logs", "--app", "alice/iris", "-n", "10000").count("a call came")
    eventually(
        lambda: repo.user.algo("logs", "--app", "alice/iris", "-n", "10000").count("a call came") == load.count,
        within_s=15,
        what=f"each line is in the log once: {load.count} calls, {lines} lines",
    )


def test_three_deploys_under_load_lose_no_call_with_a_web_process(ground: Docker, serve: New, own: Own) -> None:
    server = serve()
    repo = own(server, "web")
    repo.commit(web("zero"))
    repo.push()
    with Load(f"{server.url}/alice/web/", server.token, {}, connections=4, pause_s=0.01) as load:
        for number in range(3):
            repo.commit(web(f"deploy {number}"))
            repo.push()
    assert load.lost == []
    assert len(load.answers) == 4


def web(word: str) -> dict[str, str | bytes | None]:
    """A Procfile app that answers everything with a word."""
    program = (
        "import json\nimport os\nfrom http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n\n\n"
        "class Handler(BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n\n"
        "    def do_POST(self):\n"
        "        self.rfile.read(int(self.headers['Content-Length']))\n"
        f"        body = json.dumps({{'says': {word!r}}}).encode()\n"
        "        self.send_response(200)\n"
        "        self.send_header('Content-Length', str(len(body)))\n"
        "        self.end_headers()\n"
        "        self.wfile.write(body)\n\n\n"
        "ThreadingHTTPServer((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
    return {"Procfile": "web: python3 server.py\n", "server.py": program}


def test_a_program_that_listens_for_itself_alone_is_told_where_to_listen(ground: Docker, serve: New, own: Own) -> None:
    server = serve(ready_timeout_s="20")
    repo = own(server, "web")
    files = web("never")
    files["server.py"] = str(files["server.py"]).replace("os.environ['HOST']", "'127.0.0.1'")
    repo.commit(files)
    result = repo.push(check=False)
    assert "127.0.0.1" in result.text
    assert result.line_with("0.0.0.0")
    eventually(lambda: ground.containers.of(server.state) == [], within_s=15, what="nothing of the attempt is left")


# Options ------------------------------------------------------------------------------------------------------------
def test_a_target_that_does_not_exist_is_refused_with_those_that_do(new_server: New) -> None:
    said = new_server().refused_start("--target", "podman")
    for word in ("podman", "process", "docker"):
        assert word in said


def test_an_engine_that_is_not_there_is_named_at_the_start(
    new_server: New, ground: Docker, own: Own, tmp_path: Path
) -> None:
    server = new_server(ground=ground, docker_host=f"unix://{tmp_path}/none").start()
    line = next(line for line in server.printed.splitlines() if f"{tmp_path}/none" in line)
    assert "does not answer" in line
    repo = own(server, "iris")
    repo.commit(says("one"))
    result = repo.push(check=False)
    assert "engine" in result.verdicts["main"], result.text
    assert "Traceback" not in server.printed


class NoStack(Docker):
    """An engine, and nothing to build on."""

    def prepare(self, state: Path) -> None:
        """Nothing is put there."""


def test_a_server_without_a_stack_says_how_to_make_one(new_server: New, engine: TestEngine, own: Own) -> None:
    server = new_server(ground=NoStack(engine.start().host)).start()
    assert "algo stack build" in server.printed
    repo = own(server, "iris")
    repo.commit(says("one"))
    result = repo.push(check=False)
    assert "this server has none yet" in result.line_with("needs a stack")
    assert "(the server has no stack)" in result.line_with("rejected")
    assert result.line_with("algo stack build")
