"""Who may call an app: the owner's token in three spellings, and everyone when it is public (issue, The release)."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.e2e.programs import answer, says
from tests.services.client import Repo
from tests.services.server import Server

pytestmark = pytest.mark.e2e


@pytest.fixture
def app(repo: Repo) -> str:
    """A serving app."""
    repo.commit(says("one"))
    repo.push()
    return repo.app


def ask(server: Server, app: str, authorization: str | None) -> httpx.Response:
    """One call with this Authorization header."""
    headers = {} if authorization is None else {"Authorization": authorization}
    return httpx.post(f"{server.url}/alice/{app}/predict", json={}, headers=headers, timeout=30, trust_env=False)


def test_the_token_is_taken_as_bearer_basic_and_simple(server: Server, app: str) -> None:
    basic = base64.b64encode(f"alice:{server.token}".encode()).decode()
    for header in (f"Bearer {server.token}", f"Basic {basic}", f"Simple {server.token}", server.token):
        reply = ask(server, app, header)
        assert (reply.status_code, reply.json()) == (200, answer("one")), header.split()[0]


def test_no_token_and_wrong_tokens_are_refused(server: Server, app: str) -> None:
    wrong = server.token[:-4] + ("aaaa" if server.token[-4:] != "aaaa" else "bbbb")
    for header in (None, "Bearer", f"Bearer {wrong}", "Bearer algo_x_y", "Basic !!!", f"Digest {server.token}"):
        reply = ask(server, app, header)
        assert reply.status_code == 401, header
        assert "Bearer" in reply.headers["WWW-Authenticate"]
        assert reply.json()["error"]


def test_sec_10_another_persons_token_opens_nothing(server: Server, app: str) -> None:
    token = server.add_user("mallory")
    assert ask(server, app, f"Bearer {token}").status_code in {401, 404}


def test_sec_18_a_private_app_and_no_app_answer_the_same(server: Server, app: str) -> None:
    private, missing = ask(server, app, None), ask(server, "no-such-app", None)
    assert private.status_code == missing.status_code
    assert private.text.replace(app, "APP") == missing.text.replace("no-such-app", "APP")


def test_a_public_app_answers_everyone_until_it_is_private_again(server: Server, repo: Repo, app: str) -> None:
    repo.user.algo("access", f"alice/{app}", "public")
    assert ask(server, app, None).json() == answer("one")
    repo.user.algo("access", f"alice/{app}", "private")
    assert ask(server, app, None).status_code == 401


def test_the_token_never_reaches_the_model(server: Server, repo: Repo) -> None:
    program = (
        "import json\nimport os\n"
        "from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n\n\n"
        "class Handler(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        body = json.dumps(dict(self.headers)).encode()\n"
        "        self.send_response(200)\n"
        "        self.send_header('Content-Length', str(len(body)))\n"
        "        self.end_headers()\n"
        "        self.wfile.write(body)\n\n\n"
        "ThreadingHTTPServer((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
    repo.commit({"Procfile": "web: python3 echo.py\n", "echo.py": program})
    repo.push()
    reply = server.request("GET", f"/alice/{repo.app}/")
    headers = {name.lower(): value for name, value in reply.json().items()}
    assert "authorization" not in headers
    assert headers["x-forwarded-prefix"] == f"/alice/{repo.app}"
    assert headers["x-request-id"]
