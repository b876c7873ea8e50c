"""Dependencies with the real uv against package indexes of tiny wheels: pins, locks, builds for processors, secrets."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from buildpacks.toolchain import find_toolchain, minor_of
from tests.contract.kitchen_house import Kitchen
from tests.services.wheels import Index, sdist, serve_index, wheel

APP = {"Procfile": "web: python app.py\n", "app.py": "import six\n"}
CANARY = "CANARY-b3f7c1"
GPU_LIBRARY = wheel("nvidia-cublas-cu12", "12.6", pad=900_000)
OLD = "cp36-cp36m-manylinux1_x86_64"
ELSEWHERE = "read as idna of any version: the file is on another machine, and its name tells none"
OTHER = next((minor_of(path) for path in find_toolchain().pythons[1:] if minor_of(path)), "")


def old_wheel(name: str, version: str, minor: str) -> tuple[str, bytes]:
    return wheel(name, version, tag=f"cp3{minor}-cp3{minor}-manylinux2014_x86_64")


@pytest.fixture(name="index", scope="module")
def _index() -> Iterator[Index]:
    with serve_index(
        wheel("six", "1.15.0"), wheel("six", "1.16.0"), wheel("idna", "3.7"), wheel("filelock", "3.0"),
        wheel("torch", "2.7.0", requires=["nvidia-cublas-cu12", "filelock"], pad=90_000), GPU_LIBRARY,
        wheel("tensorflow", "2.21.0", pad=50_000), wheel("tensorflow-cpu", "2.21.0"),
        wheel("xgboost", "3.2.0", requires=["nvidia-nccl-cu12"]), wheel("nvidia-nccl-cu12", "1.0", pad=70_000),
        wheel("flask", "1.1.2", requires=["jinja2>=2.10"]), wheel("jinja2", "3.0.3"), wheel("jinja2", "3.1.6"),
        wheel("olda", "1.0", tag=OLD), wheel("oldb", "2.0", tag=OLD), sdist("olda", "1.0"),
        wheel("numpy", "1.16.4", tag=OLD), sdist("numpy", "1.16.4"), old_wheel("choosy", "1.0", OTHER or "9"),
    ) as index:  # fmt: skip
        yield index


@pytest.fixture(name="cpu_index", scope="module")
def _cpu_index() -> Iterator[Index]:
    # Its filelock is a trap: an index of PyTorch's has old copies of common packages.
    with serve_index(wheel("torch", "2.7.0+cpu", requires=["filelock"]), wheel("filelock", "1.0")) as index:
        yield index


@pytest.fixture(name="kitchen")
def _kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(state=tmp_path)


def log_of(kitchen: Kitchen) -> str:
    return "\n".join(kitchen.log)


def locked(config: Mapping[str, object]) -> dict[str, str]:
    text = json.dumps(config)
    return dict(re.findall(r'(?:\\n|")([a-z0-9-]+)==([^ \\]+)', text))


# -- what people push


def test_a_file_from_powershell_is_installed_and_each_change_is_said(kitchen: Kitchen, index: Index) -> None:
    text = "six = 1.15.0\r\npywin32==228\r\npickle\r\nidna @ file:///C:/ci/idna_16/work\r\n"
    built = kitchen.build({**APP, "requirements.txt": text.encode("utf-16")}, install_env=index.env)
    assert [line.strip() for line in kitchen.log[1:6]] == [
        "requirements.txt is UTF-16, read as it is meant",
        "requirements.txt line 1: six = 1.15.0: read as six==1.15.0",
        "requirements.txt line 2: pywin32==228: left out, it exists for Windows only",
        "requirements.txt line 3: pickle: left out, it is part of Python",
        f"requirements.txt line 4: idna @ file:///C:/ci/idna_16/work: {ELSEWHERE}",
    ]
    assert locked(built.config) == {"six": "1.15.0", "idna": "3.7"}
    assert (kitchen.image(built) / "app/requirements.txt").read_bytes() == text.encode("utf-16"), "never changed"


def test_of_many_changes_ten_are_said(kitchen: Kitchen, index: Index) -> None:
    names = ["os", "json", "re", "io", "abc", "ast", "csv", "dis", "glob", "heapq", "shelve", "string", "time"]
    kitchen.build({**APP, "requirements.txt": "\n".join([*names, "six"])}, install_env=index.env)
    assert kitchen.log[11] == "       and 3 more lines of that kind"


def test_a_line_that_is_none_is_named_at_its_number_in_the_users_file(kitchen: Kitchen, index: Index) -> None:
    files: dict[str, bytes | str] = {**APP, "requirements.txt": "six\r\n\r\n==== what\r\n".encode("utf-16")}
    code, fields = kitchen.failed(files, install_env=index.env)
    assert (code, fields["file"], fields["line"], fields["text"]) == (
        "requirements-syntax", "requirements.txt", 3, "==== what",
    )  # fmt: skip


def test_several_names_that_no_index_has_are_told_at_once(kitchen: Kitchen, index: Index) -> None:
    files = {**APP, "requirements.txt": "nobodys-a==1\nsix\nnobodys-b==2\n"}
    assert kitchen.failed(files, install_env=index.env) == (
        "packages-missing", {"file": "requirements.txt", "names": ["nobodys-a", "nobodys-b"]},
    )  # fmt: skip


# -- pins without a wheel


def test_all_dead_pins_are_named_at_once_with_what_runtime_txt_asked(kitchen: Kitchen, index: Index) -> None:
    files = {**APP, "requirements.txt": "six\noldb==2.0\nnumpy==1.16.4\n", "runtime.txt": "python-3.6.9\n"}
    code, fields = kitchen.failed(files, install_env=index.env)
    assert code == "pins-dead"
    assert fields["pins"] == [
        "oldb==2.0 (requirements.txt line 2): wheels for Python 3.6",
        "numpy==1.16.4 (requirements.txt line 3): wheels for Python 3.6",
    ]  # fmt: skip
    assert fields["asked"] == "runtime.txt asks for Python 3.6.9, which is not here"
    assert fields["which"] == "oldb==2.0 and 1 more"
    assert fields["fits"] == "All of them had wheels for Python 3.6"


def test_what_takes_minutes_to_build_in_vain_is_not_built(kitchen: Kitchen, index: Index) -> None:
    assert kitchen.failed({**APP, "requirements.txt": "numpy==1.16.4\n"}, install_env=index.env)[0] == "pins-dead"
    assert len(kitchen.children) == 1, "one attempt, with wheels only"


def test_what_may_be_built_is_tried_and_the_refusal_names_the_pin(kitchen: Kitchen, index: Index) -> None:
    code, fields = kitchen.failed({**APP, "requirements.txt": "olda==1.0\n"}, install_env=index.env)
    assert (code, len(kitchen.children)) == ("pins-dead", 2)
    assert fields["pins"] == ["olda==1.0 (requirements.txt line 1): wheels for Python 3.6"]


@pytest.mark.skipif(not OTHER, reason="one Python alone is here")
def test_the_python_at_hand_that_all_pins_fit_is_used_and_kept(kitchen: Kitchen, index: Index) -> None:
    files = {**APP, "requirements.txt": "six\nchoosy==1.0\n"}
    built = kitchen.build(files, install_env=index.env)
    own = minor_of(find_toolchain().python)
    reason = f"choosy==1.0 (requirements.txt line 2): wheels for Python 3.{OTHER}"
    assert kitchen.log[1] == f"-----> Python 3.{OTHER} in place of 3.{own}: {reason}"
    python = built.config["python"]
    assert isinstance(python, dict)
    assert str(python["version"]).startswith(f"3.{OTHER}.")
    kitchen.build({**files, "note.txt": "x"}, install_env=index.env, previous=built)
    assert "requirements.txt unchanged" in log_of(kitchen)


@pytest.mark.skipif(not OTHER, reason="one Python alone is here")
def test_a_python_that_is_pinned_is_not_changed_and_the_one_that_fits_is_named(kitchen: Kitchen, index: Index) -> None:
    own = minor_of(find_toolchain().python)
    files = {**APP, "requirements.txt": "choosy==1.0\n", ".python-version": f"3.{own}\n"}
    code, fields = kitchen.failed(files, install_env=index.env)
    assert (code, fields["other"], fields["asked"]) == (
        "pins-other-python", f"3.{OTHER}", "asked for by .python-version",
    )  # fmt: skip


# -- locks


def test_a_known_clash_is_bounded_where_the_user_left_it_open(kitchen: Kitchen, index: Index) -> None:
    built = kitchen.build({**APP, "requirements.txt": "flask==1.1.2\n"}, install_env=index.env)
    assert "       Added jinja2<3.1: flask 1.1.2 needs it" in kitchen.log
    assert locked(built.config)["jinja2"] == "3.0.3"


def six_lock(file_name: str, data: bytes) -> str:
    return (
        f'[[package]]\nname = "six"\nversion = "1.15.0"\nfiles = [{{file = "{file_name}", '
        f'hash = "sha256:{hashlib.sha256(data).hexdigest()}"}}]\n[metadata]\npython-versions = "*"\n'
    )


POETRY = '[tool.poetry.dependencies]\npython = "*"\nsix = "*"\n'


def test_a_lock_is_taken_as_it_is_and_its_hashes_are_checked(kitchen: Kitchen, index: Index) -> None:
    files = {**APP, "pyproject.toml": POETRY, "poetry.lock": six_lock(*wheel("six", "1.15.0"))}
    assert locked(kitchen.build(files, install_env=index.env).config) == {"six": "1.15.0"}
    forged = {**files, "poetry.lock": six_lock("six-1.15.0-py3-none-any.whl", b"another file")}
    code, fields = kitchen.failed(forged, install_env=index.env)
    assert (code, str(fields["name"]).partition("==")[0]) == ("hash-mismatch", "six")


def test_an_open_set_is_locked_until_its_file_changes_or_an_upgrade_asks(kitchen: Kitchen) -> None:
    files = {**APP, "requirements.txt": "six\n"}
    with serve_index(wheel("six", "1.15.0")) as old:
        first = kitchen.build(files, install_env=old.env)
    with serve_index(wheel("six", "1.15.0"), wheel("six", "1.16.0")) as newer:
        env = {**newer.env, "UV_DEFAULT_INDEX": old.url, "PIP_INDEX_URL": old.url}
        same = kitchen.build({**files, "x.txt": ""}, install_env=env, previous=first)
        assert newer.requests == []
        changed = kitchen.build({**files, "requirements.txt": "six>1\n"}, install_env=newer.env, previous=first)
        kept = kitchen.build({**files, "requirements.txt": "six>1\n"}, install_env=newer.env, previous=changed)
        asked = len(newer.requests)
        kitchen.build({**files, "requirements.txt": "six>1\n"}, install_env=newer.env, previous=kept, upgrade=True)
        assert len(newer.requests) > asked, "asked anew"
    assert "the same versions as before" in log_of(kitchen) or "unchanged" in log_of(kitchen)
    assert [locked(built.config)["six"] for built in (first, same, changed)] == ["1.15.0", "1.15.0", "1.16.0"]


# -- builds for processors


THREE = "torch==2.7.0\ntensorflow==2.21.0\nxgboost==3.2.0\n"


def test_builds_for_processors_come_without_cuda_and_say_what_they_save(
    kitchen: Kitchen, index: Index, cpu_index: Index
) -> None:
    env = {**index.env, "BP_TORCH_INDEX": cpu_index.url}
    built = kitchen.build({**APP, "requirements.txt": THREE}, install_env=env)
    assert locked(built.config) == {
        "filelock": "3.0", "tensorflow-cpu": "2.21.0", "torch": "2.7.0+cpu", "xgboost": "3.2.0",
    }  # fmt: skip
    said = next(line for line in kitchen.log if "Builds for processors" in line)
    assert re.fullmatch(
        r"       Builds for processors: tensorflow-cpu==2\.21\.0, torch==2\.7\.0\+cpu and without 2 CUDA libraries, "
        r"1\.1 MB less to download   \(graphics cards: algo config set BP_GPU=1\)", said,
    ), said  # fmt: skip
    kitchen.build({**APP, "requirements.txt": THREE, "x.txt": ""}, install_env=env, previous=built)
    assert "requirements.txt unchanged" in log_of(kitchen)


@pytest.mark.parametrize("setting", [{"BP_GPU": "1"}, {"BP_CPU_BUILDS": "off"}])
def test_an_app_that_asks_for_a_card_or_opts_out_gets_the_default_builds(
    kitchen: Kitchen, index: Index, cpu_index: Index, setting: dict[str, str]
) -> None:
    env = {**index.env, "BP_TORCH_INDEX": cpu_index.url}
    built = kitchen.build({**APP, "requirements.txt": "torch==2.7.0\n"}, install_env=env, platform_env=setting)
    assert locked(built.config) == {"filelock": "3.0", "torch": "2.7.0", "nvidia-cublas-cu12": "12.6"}


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "refusing"])
def test_an_index_of_builds_for_processors_that_does_not_answer_holds_up_nobody(
    kitchen: Kitchen, index: Index, is_silent: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1] if is_silent else 9
        env = {**index.env, "BP_TORCH_INDEX": f"http://127.0.0.1:{port}/simple"}
        built = kitchen.build({**APP, "requirements.txt": "torch==2.7.0\n"}, install_env=env)
    said = "the index of builds for processors cannot be reached: PyTorch comes from the default index, with its CUDA"
    (line,) = [line for line in kitchen.log if said in line]
    assert re.fullmatch(rf"       Warning: {said} libraries \(\d+ kB to download\)", line)
    assert locked(built.config)["torch"] == "2.7.0"


def test_a_lock_of_the_user_keeps_its_builds(kitchen: Kitchen, index: Index, cpu_index: Index) -> None:
    data = dict(
        [wheel("six", "1.15.0"), wheel("torch", "2.7.0", requires=["nvidia-cublas-cu12", "filelock"], pad=90_000)]
    )
    lines = "".join(
        f"{name}=={version} --hash=sha256:{hashlib.sha256(blob).hexdigest()}\n"
        for (name, version), blob in zip([("six", "1.15.0"), ("torch", "2.7.0")], data.values(), strict=True)
    )
    built = kitchen.build(
        {**APP, "requirements.txt": lines}, install_env={**index.env, "BP_TORCH_INDEX": cpu_index.url}
    )
    assert locked(built.config) == {"six": "1.15.0", "torch": "2.7.0"}


# -- secrets


@pytest.fixture(name="private", scope="module")
def _private() -> Iterator[Index]:
    with serve_index(wheel("secretive", "1.0"), account=f"bob:{CANARY}") as index:
        yield index


def settings_of(private: Index, account: str) -> list[dict[str, str]]:
    user, _, password = account.partition(":")
    with_account = private.url.replace("://", f"://{account}@")
    return [
        {"BP_EXTRA_INDEX_URL": with_account},
        {"BP_INDEX_URL": private.url, "BP_NETRC": f"machine 127.0.0.1 login {user} password {password}"},
    ]


@pytest.mark.parametrize("way", [0, 1])
def test_sec_a_private_index_opens_with_a_build_secret_that_stays_nowhere(
    kitchen: Kitchen, index: Index, private: Index, way: int
) -> None:
    setting = settings_of(private, f"bob:{CANARY}")[way]
    files = {**APP, "requirements.txt": "secretive==1.0\n"}
    built = kitchen.build(files, install_env=index.env, platform_env=setting)
    assert CANARY not in json.dumps(built.config)
    assert CANARY not in log_of(kitchen)
    assert any(account == f"bob:{CANARY}" for _, account in private.requests)
    found = [path for path in kitchen.state.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert found == [], "in no layer, no image and no cache"


@pytest.mark.parametrize("way", [0, 1])
def test_sec_a_refused_build_secret_is_not_in_the_sentence(
    kitchen: Kitchen, index: Index, private: Index, way: int
) -> None:
    setting = settings_of(private, f"bob:{CANARY}-wrong")[way]
    code, fields = kitchen.failed(
        {**APP, "requirements.txt": "secretive==1.0\n"}, install_env=index.env, platform_env=setting
    )
    assert (code, fields["setting"]) == ("index-secret-refused", next(iter(setting)))
    assert CANARY not in json.dumps(fields) + log_of(kitchen)


def test_sec_wheels_of_a_private_index_are_in_no_cache_of_others(
    kitchen: Kitchen, index: Index, private: Index
) -> None:
    files = {**APP, "requirements.txt": "secretive==1.0\n"}
    kitchen.build(files, install_env=index.env, platform_env=settings_of(private, f"bob:{CANARY}")[0])
    assert kitchen.failed(files, install_env=index.env, platform_env={"BP_INDEX_URL": private.url})[0] != "ok"
    shared = kitchen.state / "cache/wheels"
    assert [path for path in shared.rglob("*") if "secretive" in path.name] == []
