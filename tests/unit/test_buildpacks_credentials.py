"""Package indexes of an app: what opens them is in no file, no sentence and no lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.packs.algo_python.credentials import hide, open_indexes
from buildpacks.packs.algo_python.manager import read_manager
from gitserver.errors import Problem
from gitserver.settings import read_settings
from tests.services.package_lists import refusal, tree


def test_an_apps_own_index_goes_before_the_operators_and_its_netrc_is_private(tmp_path: Path) -> None:
    env = {
        "BP_INDEX_URL": "https://ann:CANARY@i.invalid/simple", "PIP_INDEX_URL": "https://o.invalid/simple",
        "BP_EXTRA_INDEX_URL": "https://e.invalid/simple", "UV_INDEX": "https://p.invalid/simple",
        "BP_NETRC": "machine i.invalid login ann password CANARY",
    }  # fmt: skip
    opened = open_indexes(env, str(tmp_path))
    assert opened.env["UV_DEFAULT_INDEX"] == "https://ann:CANARY@i.invalid/simple"
    assert "PIP_INDEX_URL" not in opened.env
    assert opened.env["UV_INDEX"] == "https://e.invalid/simple https://p.invalid/simple"
    netrc = Path(opened.netrc)
    assert netrc.read_text() == "machine i.invalid login ann password CANARY\n"
    assert netrc.stat().st_mode & 0o777 == 0o600


def test_no_form_of_a_secret_is_left_in_a_sentence() -> None:
    env = {
        "BP_INDEX_URL": "https://ann:CAN%40RY-1@i.invalid/CANARY-2/simple", "UV_INDEX": "https://CANARY-3@p.invalid/s",
        "BP_NETRC": "machine x login y password CANARY-4",
    }  # fmt: skip
    said = hide(
        "failed https://ann:CAN%40RY-1@i.invalid/CANARY-2/simple/six/ with CAN@RY-1, CANARY-3 and CANARY-4", env
    )
    assert "CAN" not in said
    assert said == "failed https://i.invalid/[BP_INDEX_URL]/six/ with ***, *** and ***"


@pytest.mark.parametrize(
    ("name", "text"),
    [("Pipfile", "[[source]]\nurl = 'https://ann:CANARY@i.invalid/simple'\n[packages]\nsix='*'\n"),
     ("environment.yml", "dependencies:\n- pip:\n  - --index-url https://ann:CANARY@i.invalid/simple\n"),
     ("poetry.lock", "[x]\nurl = 'https://CANARY@i.invalid/simple'\n")],
)  # fmt: skip
def test_a_password_in_any_of_these_files_is_refused(tmp_path: Path, name: str, text: str) -> None:
    code, fields = refusal(tmp_path, {name: text})
    assert code == "index-credentials"
    assert "CANARY" not in str(fields)


def test_the_operators_index_of_builds_for_processors_reaches_installs_and_is_checked(tmp_path: Path) -> None:
    options = {"state": str(tmp_path), "owner": "alice"}
    found = read_settings({**options, "torch_index": "https://i.invalid/simple"}, {})
    assert found.build_env == {"BP_TORCH_INDEX": "https://i.invalid/simple"}
    assert read_settings(options, {}).build_env == {}
    with pytest.raises(Problem) as caught:
        read_settings({**options, "torch_index": "ftp"}, {})
    assert caught.value.failure.code == "bad-setting"


def test_a_password_that_the_tool_fills_in_is_none(tmp_path: Path) -> None:
    text = "[[source]]\nurl = 'https://ann:${TOKEN}@i.invalid/simple'\n[packages]\nsix = '*'\n"
    assert read_manager(tree(tmp_path, {"Pipfile": text})).named == {"six": ""}
