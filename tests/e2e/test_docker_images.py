"""What a push makes on the docker target: an image that can be named, compared, carried away and trusted."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.programs import answer, says
from tests.services.client import Repo, User
from tests.services.counting import CountingSocket
from tests.services.processes import parts_of, processes_of
from tests.services.server import Server, algo_command
from tests.services.targets import Docker, on_docker, the_ground
from tests.services.waiting import eventually, free_port

pytestmark = [pytest.mark.e2e, on_docker]

Own = Callable[[Server, str], Repo]
New = Callable[..., Server]
KIB, MIB = 1024, 1024 * 1024
CODE_ONLY_BYTES = 256 * KIB  # the application's layer, the image's documents and the container's order


@pytest.fixture
def ground() -> Docker:
    """The engine that the whole run shares."""
    found = the_ground()
    assert isinstance(found, Docker)
    return found


@pytest.fixture
def spare() -> Iterator[Docker]:
    """An engine of this test's own: empty, and it may be stopped."""
    from tests.services.engines import own_engine

    engine = own_engine()
    yield Docker(engine.host)
    engine.close()


@pytest.fixture
def line(ground: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountingSocket]:
    """A way to the shared engine on which bytes are counted."""
    engine = Path(ground.host.removeprefix("unix://"))
    with CountingSocket(engine, tmp_path_factory.mktemp("line") / "s") as made:
        yield made


def digest_of(user: User, app: str) -> str:
    """The image of the newest release, as the ledger names it."""
    return str(user.algo_list("releases", "--app", f"alice/{app}")[0]["image_digest"])


def test_a_change_of_code_sends_the_code_and_nothing_else(
    ground: Docker, line: CountingSocket, fresh_server: New, own: Own
) -> None:
    server = fresh_server(docker_host=line.host)
    repo = own(server, "iris")
    weights = bytes(range(256)) * 16 * KIB  # 4 MiB: a layer of its own
    repo.commit({**says("one"), "requirements.txt": "packaging\n", "weights.bin": weights})
    repo.push()
    first = line.sent
    assert first > len(weights), "the model went over the line once, so the count sees it"
    repo.commit(says("two"))
    repo.push()
    assert line.sent - first < CODE_ONLY_BYTES
    assert server.answer("iris", {}) == answer("two")


def test_the_same_commit_on_two_servers_is_the_same_image(fresh_server: New, own: Own, tmp_path: Path) -> None:
    one, two = fresh_server(), fresh_server()
    repo = own(one, "iris")
    repo.commit({**says("one"), "requirements.txt": "packaging\n", "weights.bin": b"w" * 2 * MIB})
    repo.push()
    other = User(tmp_path / "other-home", two)
    other.login()
    repo.git("remote", "add", "other", other.url_of("iris"))
    repo.git("push", "-q", "other", "main")
    assert two.answer("iris", {}) == answer("one")
    assert digest_of(repo.user, "iris") == digest_of(other, "iris")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest_of(other, "iris"))


def test_the_engine_names_the_image_as_the_ledger_does(repo: Repo, server: Server, ground: Docker) -> None:
    repo.commit(says("one"))
    repo.push()
    (box,) = [box for box in ground.containers.of(server.state) if box.env.get("ALGO_MODEL_NAME") == repo.app]
    assert box.image == digest_of(repo.user, repo.app)


def test_an_image_is_verified_by_building_it_again(repo: Repo, server: Server) -> None:
    repo.commit({**says("one"), "requirements.txt": "packaging\n"})
    repo.push()
    text = repo.user.algo("image", "verify", "--app", f"alice/{repo.app}")
    assert digest_of(repo.user, repo.app)[7:19] in text


def test_a_saved_image_runs_in_an_engine_that_knows_nothing_of_us(
    repo: Repo, server: Server, spare: Docker, tmp_path: Path
) -> None:
    repo.commit(says("carried away"))
    repo.push()
    file = tmp_path / "iris.tar"
    repo.user.algo("image", "save", str(file), "--app", f"alice/{repo.app}")
    client, digest = spare.containers.client, digest_of(repo.user, repo.app)
    with file.open("rb") as archive:
        loaded = client.images.load(archive)
    assert [image.id for image in loaded] == [digest]
    port = free_port()
    ports: dict[str, int | list[int] | tuple[str, int] | None] = {"8080/tcp": ("127.0.0.1", port)}
    box = client.containers.run(digest, detach=True, read_only=True, tmpfs={"/tmp": ""}, ports=ports)

    def said() -> object:
        try:
            reply = httpx.post(f"http://127.0.0.1:{port}/predict", json={}, timeout=5, trust_env=False)
        except httpx.TransportError:
            box.reload()
            assert box.status in {"created", "running"}, box.logs().decode()
            return None
        return reply.json()

    assert eventually(said, within_s=60, what="the plain container answers") == answer("carried away")
    users = {row[0] for row in box.top()["Processes"]}
    assert users, "processes are seen"
    assert not users & {"root", "0"}


PLACES = ["/workspace/cache.json", "/layers/new", "/etc/mine"]


@pytest.mark.parametrize("place", PLACES)
def test_a_program_that_writes_to_a_read_only_place_is_refused_in_one_sentence(
    repo: Repo, server: Server, place: str
) -> None:
    first = repo.commit(says("one"))
    repo.push()
    repo.commit({"predict.py": f"open({place!r}, 'w').close()\n\n\ndef predict(x=None):\n    return x\n"})
    result = repo.push(check=False)
    assert place in result.verdicts["main"], result.text
    assert result.line_with("TMPDIR")
    assert repo.remote_refs()["refs/heads/main"] == first
    assert server.answer(repo.app, {}) == answer("one")


def test_a_program_may_write_to_its_temporary_folder_and_to_nothing_that_stays(repo: Repo, server: Server) -> None:
    program = (
        "import os\nimport tempfile\nfrom pathlib import Path\n\n\n"
        "def predict(x=None):\n"
        "    home = Path.home() / 'cache'\n"
        "    home.write_text('x')\n"
        "    with tempfile.NamedTemporaryFile() as file:\n"
        "        file.write(b'x')\n"
        "        return {'root': os.getuid() == 0, 'there': Path(file.name).exists()}\n"
    )
    repo.commit({"predict.py": program})
    repo.push()
    assert server.answer(repo.app, {}) == {"root": False, "there": True}


def test_a_layer_that_was_changed_in_the_store_is_noticed_and_never_served(
    spare: Docker, fresh_server: New, own: Own
) -> None:
    server = fresh_server(ground=spare)
    repo = own(server, "iris")
    old = {"requirements.txt": "packaging==24.1\n"}
    repo.commit({**says("one"), **old})
    repo.push()
    commit = repo.commit({**says("two"), "requirements.txt": "packaging==24.2\n"})
    repo.push()
    (victim,) = [
        path
        for path in (server.state / "layers").rglob("packaging/version.py")
        if "packaging-24.1.dist-info" in {entry.name for entry in path.parent.parent.iterdir()}
    ]
    forge(victim)
    forget_old_images(spare, server, "iris")
    repo.commit({**says("three"), **old})
    result = repo.push(check=False)
    assert result.verdicts["main"] == "a layer is not what it was", result.text
    assert repo.remote_refs()["refs/heads/main"] == commit
    assert server.answer("iris", {}) == answer("two")


def forge(path: Path) -> None:
    """One byte is another one; size and times say nothing of it."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(stat.st_mode & 0o777)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def forget_old_images(ground: Docker, server: Server, app: str) -> None:
    """The engine has no image of ours but those that run; the drained container is waited for."""
    client = ground.containers.client
    eventually(lambda: len(ground.models(server.state, app)) == 1, within_s=60, what="one model of the app runs")
    used = {box.image for box in ground.containers.of(server.state) if box.pid}
    for image in client.images.list(filters={"label": "algo.image"}):
        if image.id and image.id not in used:
            client.images.remove(image.id, force=True)


def test_two_builds_of_one_app_at_once_end_in_two_images(repo: Repo, server: Server) -> None:
    repo.commit(says("zero"))
    repo.push()
    repo.commit({**says("production"), "requirements.txt": "packaging==24.2\n"})
    repo.git("checkout", "-q", "-b", "feature/x")
    repo.commit({**says("preview"), "requirements.txt": "packaging==24.2\n"})
    pushes = [repo.start_push("main"), repo.start_push("feature/x")]
    for push in pushes:
        result = push.wait()
        assert result.rc == 0, result.text
    assert server.answer(repo.app, {}) == answer("production")
    assert server.answer(repo.app, {}, ref="feature/x") == answer("preview")


class Peak:
    """The most memory that any process of a server had while this watched. command -> KiB."""

    def __init__(self, state: Path) -> None:
        self.by_command: dict[str, int] = {}
        self._state, self._stop = state, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._stop.is_set():
            for pid, command in processes_of(self._state).items():
                try:
                    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                except OSError:  # it ended while we looked
                    continue
                if found := re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE):
                    self.by_command[command] = max(self.by_command.get(command, 0), int(found[1]))
            self._stop.wait(0.1)


@pytest.mark.timeout(600)
def test_a_model_of_a_gigabyte_is_streamed_never_held_and_moved_once(
    line: CountingSocket, fresh_server: New, own: Own
) -> None:
    server = fresh_server(docker_host=line.host)
    repo = own(server, "big")
    size = 1024 * MIB
    program = "import os\n\n\ndef predict(x=None):\n    return [os.path.getsize('weights.bin'), {word!r}]\n"
    repo.write({"predict.py": program.format(word="one")})
    with (repo.path / "weights.bin").open("wb") as file:
        file.truncate(size)  # holes: the disk of the test's machine is spared, the way through the server is not
    repo.commit()
    with Peak(server.state) as peak:
        repo.push()
    assert server.answer("big", {}) == [size, "one"]
    assert peak.by_command
    assert max(peak.by_command.values()) < 512 * KIB, peak.by_command  # KiB: half of the file at most, in any process
    assert line.sent > size
    before, (worker,) = line.sent, parts_of(server.state, "worker")
    read = bytes_read(worker)
    repo.commit({"predict.py": program.format(word="two")})
    began = time.monotonic()
    repo.push()
    assert time.monotonic() - began < 60
    assert server.answer("big", {}) == [size, "two"]
    assert line.sent - before < CODE_ONLY_BYTES
    assert bytes_read(worker) - read < 64 * MIB, "the file was not read again"


def bytes_read(pid: int) -> int:
    """What a process and its ended children asked of read(), whatever came from memory. Source: proc(5), io."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def test_the_process_target_serves_what_the_docker_target_built(fresh_server: New, own: Own) -> None:
    server = fresh_server()
    repo = own(server, "iris")
    repo.commit({**says("one"), "requirements.txt": "packaging\n"})
    repo.push()
    assert server.stop() == 0
    server.settings = {name: value for name, value in server.settings.items() if name not in {"target", "docker_host"}}
    server.start()
    server.wait_answer("iris", {}, answer("one"))


def test_the_docker_target_serves_what_was_built_for_processes_without_a_build(fresh_server: New, own: Own) -> None:
    server = fresh_server()
    assert server.stop() == 0
    docker = dict(server.settings)
    server.settings = {name: value for name, value in docker.items() if name not in {"target", "docker_host"}}
    server.start()
    repo = own(server, "iris")
    repo.commit({**says("one"), "requirements.txt": "packaging\n"})
    repo.push()
    repo.git("tag", "v1")
    repo.push("v1")
    assert server.stop() == 0
    server.settings = docker
    server.start()
    server.wait_answer("iris", {}, answer("one"))
    repo.commit(says("two"))
    repo.push()
    server.wait_answer("iris", {}, answer("two"))
    back = repo.push("v1")
    assert "rollback to v1" in back.text
    server.wait_answer("iris", {}, answer("one"))


def test_the_list_of_images_tells_what_they_are_made_of(repo: Repo, server: Server) -> None:
    repo.commit({**says("one"), "requirements.txt": "packaging\n"})
    repo.push()
    shown = repo.user.algo("image", "show", "--app", f"alice/{repo.app}")
    assert digest_of(repo.user, repo.app) in shown
    assert "bookworm" in shown
    rc, text = repo.user.status_of(str(algo_command()), "image", "show", "v9", "--app", f"alice/{repo.app}")
    assert rc != 0
    assert "v9" in text
