"""Two packages that crash together are named, and only they."""

from __future__ import annotations

from gitserver.errors import Json, Problem
from gitserver.targets.clash import explained

LOCK = "flask==1.1.2\njinja2==3.1.6 \\\n    --hash=sha256:00\n"
WORDS = "cannot import name 'escape' from 'jinja2' (/x/site-packages/jinja2/__init__.py)"


def document(lock: str = LOCK) -> dict[str, Json]:
    deps: dict[str, Json] = {"data": {"lock": lock}}
    return {"lifecycle": {"buildpacks": [{"key": "algo/model"}, {"key": "algo/python", "layers": {"deps": deps}}]}}


def test_the_pair_and_the_bound_are_named_by_the_message_of_our_runtime() -> None:
    told = explained(Problem("import-failed", type="ImportError", message=WORDS), document())
    assert told.failure.code == "packages-clash"
    assert told.failure.fields == {"one": "flask 1.1.2", "other": "jinja2 3.1.6", "bound": "jinja2<3.1"}


def test_a_web_process_is_known_by_its_last_lines_which_stay() -> None:
    log = ("Traceback (most recent call last):", f"ImportError: {WORDS}")
    told = explained(Problem("start-crashed", log=log, how="status 1"), document())
    assert (told.failure.code, told.failure.log) == ("packages-clash", log)


def test_another_crash_another_lock_and_another_code_stay_as_they_are() -> None:
    other = Problem("import-failed", type="ImportError", message="cannot import name 'x' from 'y'")
    fitting = Problem("import-failed", type="ImportError", message=WORDS)
    late = Problem("start-timeout", log=(f"ImportError: {WORDS}",), seconds=1)
    assert explained(other, document()) is other
    assert explained(fitting, document("flask==1.1.2\njinja2==3.0.3\n")) is fitting
    assert explained(late, document()) is late
