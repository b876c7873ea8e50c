"""The classic buildpack API: what bin/release writes, what export changes, what scripts are given."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpacks.packs.classic.release import merge_types, parse_release
from buildpacks.packs.classic.scripts import changed_variables, script_env
from buildpacks.packs.cnb import PackFailed

RELEASE = """---
addons:
  - heroku-postgresql:mini
config_vars:
  LANG: en_US.UTF-8
  DEBUG: "a: b # c"
default_process_types:
  web: gunicorn app:app --bind 0.0.0.0:$PORT  # the server
  "console": 'echo it''s fine'
"""


@pytest.mark.conformance("2-release")
def test_process_types_and_variables_of_a_release_are_read() -> None:
    found = parse_release(RELEASE, "python")
    assert found["default_process_types"] == {
        "web": "gunicorn app:app --bind 0.0.0.0:$PORT", "console": "echo it's fine",
    }  # fmt: skip
    assert found["config_vars"] == {"LANG": "en_US.UTF-8", "DEBUG": "a: b # c"}


@pytest.mark.conformance("2-release")
@pytest.mark.parametrize("text", ["", "--- {}", "---\n", "---\naddons: []\ndefault_process_types: {}\n", "{}\n"])
def test_an_empty_release_says_nothing(text: str) -> None:
    assert parse_release(text, "x") == {"default_process_types": {}, "config_vars": {}}


@pytest.mark.parametrize(
    "text",
    [
        "default_process_types:\n  - web\n", "default_process_types:\n  web: |\n    a\n",
        "default_process_types: web\n",
        "default_process_types:\n  web:\n    command: x\n", "default_process_types:\n  web: [a, b]\n",
    ],
)  # fmt: skip
def test_a_release_of_another_form_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(PackFailed) as caught:
        parse_release(text, "x")
    assert caught.value.code == "classic-release-bad"
    assert caught.value.fields["line"]


@given(st.text(max_size=120))
def test_any_release_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(PackFailed):  # the one way to refuse; anything else fails the test
        found = parse_release(text, "x")
        assert set(found) == {"default_process_types", "config_vars"}


def test_a_procfile_overrides_the_types_of_a_release() -> None:
    assert merge_types({"web": "a", "worker": "b"}, {"web": "c"}) == {"web": "c", "worker": "b"}


@pytest.mark.conformance("2-export")
def test_only_variables_that_changed_are_exported() -> None:
    before = {"PATH": "/bin", "SAME": "1", "PWD": "/a"}
    after = b"PATH=/x:/bin\0SAME=1\0PWD=/b\0SHLVL=2\0NEW=a=b\nc\0BASH_FUNC_f%%=() { :; }\0"
    assert changed_variables(before, after) == {"PATH": "/x:/bin", "NEW": "a=b\nc"}


@pytest.mark.conformance("2-settings")
def test_scripts_get_what_the_api_names_and_nothing_of_ours() -> None:
    given_env = {
        "PATH": "/bin", "HOME": "/h", "CNB_STACK_ID": "s", "BP_X": "1", "ALGO_GROUND": "g", "GIT_DIR": "/g",
        "ALGO_CLASSIC_SOURCE_VERSION": "abc", "ALGO_CLASSIC_REQUEST_ID": "build-7", "HTTPS_PROXY": "http://p",
    }  # fmt: skip
    env = script_env(given_env)
    assert set(env) == {"PATH", "HOME", "HTTPS_PROXY", "STACK", "SOURCE_VERSION", "REQUEST_ID"}
    assert (env["STACK"], env["SOURCE_VERSION"], env["REQUEST_ID"]) == ("heroku-22", "abc", "build-7")
    assert script_env({**given_env, "BP_CLASSIC_STACK": "heroku-24"})["STACK"] == "heroku-24"
