"""Images and collections as people use them: the real `algo`, a real server, real builds."""

from __future__ import annotations

import json

import pytest

from tests.e2e.programs import answer, says
from tests.services.client import Repo
from tests.services.server import Server

pytestmark = pytest.mark.e2e


def test_an_image_is_listed_shown_and_verified(repo: Repo) -> None:
    repo.commit(says("one"))
    repo.push()
    user, app = repo.user, f"alice/{repo.app}"
    (image,) = user.algo_json("image", "list", "--app", app)["images"]
    assert image["used_by"] == ["production"]
    shown = user.algo("image", "show", "--app", app)
    assert image["digest"] in shown
    assert "application" in shown
    verified = user.algo("image", "verify", "--app", app)
    assert f"-----> The same image: {image['digest']}" in verified


def test_a_collection_leaves_what_serves_and_what_a_rollback_needs(repo: Repo, server: Server) -> None:
    for word in ("one", "two"):
        repo.commit(says(word))
        repo.push()
    user, app = repo.user, f"alice/{repo.app}"
    planned = json.loads(user.algo("gc", "--dry-run", "--json"))
    assert planned["report"]["dry_run"] is True
    assert user.algo("gc").endswith((".\n", "."))
    user.algo("rollback", "--app", app)
    assert server.answer(repo.app, {}) == answer("one")
