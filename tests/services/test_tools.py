"""The tests' own tools, held to real git and real sockets: a tool that sees nothing would pass everything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.services.cases import read_cases
from tests.services.client import PushResult, clean
from tests.services.load import Load
from tests.services.waiting import eventually

GIT_SAID = """\
remote: -----> iris: build 12 of 4f2c9e1 (alice)        \n\
remote:  !     predict.py: line 3: invalid syntax        \n\
To http://127.0.0.1:4711/alice/iris.git
   1c0ffee..4f2c9e1  good -> good
 * [new branch]      main -> feature/x
 * [new tag]         v1 -> v1
 - [deleted]         gone
 + 1111111...2222222 old -> forced (forced update)
 ! [remote rejected] main -> main (predict.py cannot be read (line 3))
 ! [rejected]        late -> late (non-fast-forward)
error: failed to push some refs to 'http://127.0.0.1:4711/alice/iris.git'
"""


def test_a_push_is_read_as_a_person_reads_it() -> None:
    result = PushResult(rc=1, text=clean(GIT_SAID), seconds=0.1)
    assert result.build_id == 12
    assert result.line_with("build 12") == "-----> iris: build 12 of 4f2c9e1 (alice)"
    assert result.line_with("invalid syntax") == " !     predict.py: line 3: invalid syntax"
    assert result.verdicts == {
        "good": "",
        "feature/x": "",
        "v1": "",
        "gone": "",
        "forced": "",
        "main": "predict.py cannot be read (line 3)",
        "late": "non-fast-forward",
    }


def test_cases_are_well_formed_and_their_names_say_which_side_they_are_on() -> None:
    served, refused = read_cases(refused=False), read_cases(refused=True)
    assert len(served) >= 14
    assert len(refused) >= 15
    assert all(case.name.startswith("bad-") for case in refused)
    assert not any(case.name.startswith("bad-") for case in served)
    assert all(case.calls for case in served)


def test_a_wait_ends_at_its_deadline_and_names_what_it_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.1 s: the moon is blue"):
        eventually(lambda: False, within_s=0.1, what="the moon is blue")


class Flaky(BaseHTTPRequestHandler):
    """Answers until it is told to misbehave."""

    protocol_version = "HTTP/1.1"
    mood = "good"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if type(self).mood == "cut":
            self.close_connection = True
            return
        self.send_response(200 if type(self).mood == "good" else 503)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words: object) -> None:
        return


@pytest.fixture
def flaky() -> Iterator[str]:
    """A server whose mood a test changes; its address."""
    Flaky.mood = "good"
    with ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listener.server_address[1]}/predict"
        listener.shutdown()
        thread.join()


@pytest.mark.parametrize("mood", ["good", "cut", "busy"])
def test_the_load_counts_cut_calls_and_error_statuses_and_nothing_else(flaky: str, mood: str) -> None:
    with Load(flaky, "token", {}, connections=2, pause_s=0.001) as load:
        eventually(lambda: load.count > 20, within_s=10, what="calls are answered")
        Flaky.mood = mood
        eventually(lambda: load.lost or mood == "good", within_s=10, what="a loss is noticed")
        Flaky.mood = "good"
    assert bool(load.lost) is (mood != "good")
    assert load.count > 20


def test_processes_are_found_by_the_state_folder_they_name(tmp_path: Path) -> None:
    import subprocess
    import sys

    from tests.services.processes import kill_all, processes_of

    state = tmp_path / "state"
    state.mkdir()
    program = "import time; time.sleep(60)"
    by_environment = subprocess.Popen([sys.executable, "-c", program], env={"ALGO_STATE": str(state)})
    by_folder = subprocess.Popen([sys.executable, "-c", program], cwd=state, env={})
    try:
        eventually(lambda: set(processes_of(state)) == {by_environment.pid, by_folder.pid}, within_s=10, what="both")
        kill_all(state)
        assert processes_of(state) == {}
    finally:
        for child in (by_environment, by_folder):
            child.kill()
            child.wait(5)
