"""Procfiles of any editor, heroku.yml in their place, and web lines that cannot work."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpacks.packs.algo_procfile.app_json import notes_of
from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.procfile import near_procfile, parse_heroku_yml, parse_procfile, read_procfile
from buildpacks.packs.subfolders import find_app_folders
from buildpacks.packs.web_line import check_web_line, entry_file, packages_of, prepares, split_line

FLASK = "from flask import Flask\napp = Flask(__name__)\n"


def fill(folder: Path, files: Mapping[str, str]) -> str:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return str(folder)


# -- files


WEB = {"web": "gunicorn app:app", "release": "python migrate.py"}
TEXT = "# how it starts\n\nweb: gunicorn app:app\n  # and before\nrelease:python migrate.py   \n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.rstrip().encode(),
    ],
)
def test_a_procfile_of_any_editor_is_read(data: bytes) -> None:
    assert parse_procfile(data) == WEB


def test_a_type_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(PackFailed) as refused:
        parse_procfile(b"web: a\nweb: b\n")
    assert (refused.value.code, refused.value.fields) == ("procfile-twice", {"line": 2, "type": "web"})


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_procfile, parse_heroku_yml):
        with suppress(PackFailed):
            assert all((parse(data) or {"web": "x"}).values())


def test_heroku_yml_stands_in_for_a_procfile(tmp_path: Path) -> None:
    text = "setup:\n  addons:\n    - plan: db\nrun:\n  web: gunicorn app:app  # serves\n  worker: 'python work.py'\n"
    app = fill(tmp_path, {"heroku.yml": text})
    assert read_procfile(app) == {"web": "gunicorn app:app", "worker": "python work.py"}
    fill(tmp_path, {"Procfile": "web: mine\n"})
    assert read_procfile(app) == {"web": "mine"}


def test_heroku_yml_that_builds_with_docker_is_refused_with_its_file() -> None:
    with pytest.raises(PackFailed) as refused:
        parse_heroku_yml(b"build:\n  docker:\n    web: docker/Dockerfile\nrun:\n  web: x\n")
    assert (refused.value.code, refused.value.fields) == ("heroku-yml-docker", {"line": 3, "file": "docker/Dockerfile"})


def test_a_process_of_heroku_yml_that_is_more_than_a_line_is_refused() -> None:
    with pytest.raises(PackFailed) as refused:
        parse_heroku_yml(b"run:\n  web:\n    command:\n      - python app.py\n")
    assert refused.value.code == "heroku-yml-unread"


@pytest.mark.parametrize("name", ["procfile", "Procfile.txt", "PROCFILE"])
def test_a_file_that_was_meant_to_be_the_procfile_is_named(name: str, tmp_path: Path) -> None:
    assert near_procfile(fill(tmp_path, {name: "web: python app.py\n"})) == name


def test_app_json_is_said_and_nothing_of_it_is_done(tmp_path: Path) -> None:
    text = (
        '{"env": {"KEY": {"value": "a"}, "SECRET": {"generator": "secret"}, "OLD": "b"},'
        ' "buildpacks": [{"url": "heroku/python"}], "scripts": {"postdeploy": "x"}}'
    )
    lines = notes_of(fill(tmp_path, {"app.json": text}))
    assert "algo config set KEY=a OLD=b SECRET" in lines[0]
    assert "heroku/python" in lines[1]
    assert "postdeploy" in lines[2]


@pytest.mark.parametrize("text", ["[1]", "{", '{"expo": {"name": "x"}}', "{}"])
def test_app_json_of_another_kind_says_nothing(text: str, tmp_path: Path) -> None:
    assert notes_of(fill(tmp_path, {"app.json": text})) == []


# -- web lines


@pytest.mark.parametrize(
    ("line", "folder", "words"),
    [
        ("gunicorn app:app", "", ["gunicorn", "app:app"]),
        ("exec gunicorn app:app", "", ["gunicorn", "app:app"]),
        ("WORKERS=2 gunicorn app:app --bind 0.0.0.0:$PORT", "", ["gunicorn", "app:app", "--bind", "0.0.0.0:$PORT"]),
        ("cd src && cd web && python app.py", "src/web", ["python", "app.py"]),
        ("sh setup.sh && streamlit run app.py", "", ["streamlit", "run", "app.py"]),
        ("gunicorn 'web:create_app()' -b :${PORT:-8000}", "", ["gunicorn", "web:create_app()", "-b", ":${PORT:-8000}"]),
    ],
)
def test_the_last_command_of_a_line_is_what_serves(line: str, folder: str, words: list[str]) -> None:
    assert split_line(line) == (folder, words)


@pytest.mark.parametrize("line", ["python `ls *.py`", "a | b", "if x; then y; fi", "gunicorn 'app:app", "(cd a; b)"])
def test_a_line_that_only_a_shell_understands_is_left_alone(line: str, tmp_path: Path) -> None:
    assert split_line(line) is None
    check_web_line(str(tmp_path), line)


GOOD = [
    "gunicorn app:app",
    "gunicorn -w 4 -k uvicorn.workers.UvicornWorker app:app --log-file -",
    "gunicorn --preload app:app",
    "gunicorn --chdir sub inner:app",
    "gunicorn 'app:create_app()'",
    "gunicorn mlflow.server:app",
    "uvicorn app:app --host 0.0.0.0 --port $PORT",
    "uvicorn app:app --port=${PORT:-5000}",
    "python app.py",
    "python -m app",
    "python3 sub/inner.py --port $PORT",
    "cd sub && gunicorn inner:app",
    "streamlit run app.py --server.port $PORT",
    "sh setup.sh && streamlit run app.py",
    "UVICORN_PORT=$PORT uvicorn app:app",
    "STREAMLIT_SERVER_PORT=$PORT streamlit run app.py",
    "uvicorn app:app --uds /tmp/x",
    "node server.js",
    "./start",
]


@pytest.mark.parametrize("line", GOOD)
def test_a_line_that_can_work_is_not_refused(line: str, tmp_path: Path) -> None:
    app = fill(
        tmp_path,
        {
            "app.py": f"{FLASK}def create_app():\n    return app\n", "sub/inner.py": FLASK, "server.js": "",
            "requirements.txt": "mlflow\n",
        },
    )  # fmt: skip
    check_web_line(app, line)


BAD = [
    (
        "gunicorn app:app",
        "web-module-missing",
        {"file": "app.py", "found": ["server.py line 2: app = Flask(__name__)"]},
    ),
    ("gunicorn server:application", "web-name-missing", {"name": "application", "file": "server.py"}),
    ("gunicorn server", "web-name-missing", {"name": "application"}),
    ("gunicorn server:app -b 0.0.0.0:8000", "web-port-literal", {"port": 8000, "option": "-b"}),
    ("uvicorn server:app --port 8080", "web-port-literal", {"port": 8080}),
    ("uvicorn server:app", "web-port-untold", {"port": 8000}),
    ("streamlit run server.py", "web-port-untold", {"program": "streamlit", "port": 8501}),
    ("flask --app server run", "web-port-untold", {"program": "flask", "port": 5000}),
    ("FLASK_APP=server flask run", "web-port-untold", {"port": 5000}),
    ("streamlit run server.py --server.port=8501", "web-port-literal", {"port": 8501}),
    ("streamlit run Server.py --server.port $PORT", "web-file-missing", {"file": "Server.py", "found": ["server.py"]}),
    ("python src/server.py", "web-file-missing", {"file": "src/server.py", "found": ["server.py"]}),
    ("sh setup.sh && python main.py", "web-file-missing", {"found": ["server.py line 2: app = Flask(__name__)"]}),
    ("python tools/fixed.py", "web-fixed-port", {"file": "tools/fixed.py", "line": 4, "port": 5000}),
    ("python told.py", "web-fixed-port", {"file": "told.py", "port": 8123}),
    ("node index.js", "web-file-missing", {"file": "index.js"}),
]


@pytest.mark.parametrize(("line", "code", "fields"), BAD)
def test_a_line_that_cannot_work_is_refused_with_what_is_here(
    line: str, code: str, fields: dict[str, object], tmp_path: Path
) -> None:
    app = fill(
        tmp_path,
        {
            "server.py": FLASK,
            "tools/fixed.py": "import flask\nweb = flask.Flask('x')\nif __name__ == '__main__':\n    web.run()\n",
            "told.py": "import uvicorn\nuvicorn.run('server:app', port=8123)\n",
        },
    )
    with pytest.raises(PackFailed) as refused:
        check_web_line(app, line)
    assert refused.value.code == code
    assert {name: refused.value.fields[name] for name in fields} == fields


@pytest.mark.parametrize(
    "source",
    [
        "import os\nfrom flask import Flask\nx = Flask('x')\nx.run(port=int(os.environ['PORT']))\n",
        "from flask import Flask\nx = Flask('x')\nx.run(**options)\n",
        "from flask import Flask\nx = Flask('x')\nx.config['SERVER_NAME'] = where\nx.run()\n",
        "job.run(port=80)\n",
    ],
)
def test_a_port_that_comes_from_elsewhere_is_not_refused(source: str, tmp_path: Path) -> None:
    check_web_line(fill(tmp_path, {"x.py": source}), "python x.py")


@pytest.mark.parametrize(
    ("line", "specs"),
    [
        ("gunicorn app:app", ["gunicorn"]),
        ("python -m gunicorn app:app", ["gunicorn"]),
        ("gunicorn -k uvicorn.workers.UvicornWorker app:app", ["gunicorn", "uvicorn"]),
        ("waitress-serve --port=$PORT app:app", ["waitress"]),
        ("python app.py", []),
        ("node server.js", []),
    ],
)
def test_the_package_of_the_program_is_asked_for(line: str, specs: list[str]) -> None:
    assert [package["spec"] for package in packages_of(line)] == specs


@pytest.mark.parametrize(
    ("line", "file"),
    [("gunicorn web.app:app", "web/app.py"), ("cd web && python app.py", "web/app.py"), ("node x.js", ""), ("`x`", "")],
)
def test_the_file_that_a_line_starts_is_known(line: str, file: str, tmp_path: Path) -> None:
    assert entry_file(fill(tmp_path, {"web/app.py": FLASK}), line) == file


@pytest.mark.parametrize(
    ("line", "does"),
    [
        ("python a.py", False),
        ("cd src && python a.py", False),
        ("sh get.sh && python a.py", True),
        ("wget x; ./a", True),
    ],
)
def test_commands_before_the_server_may_bring_files(line: str, does: bool) -> None:
    assert prepares(line) is does


# -- folders


def test_apps_in_folders_are_listed_with_what_they_have(tmp_path: Path) -> None:
    files = {"iris/predict.py": "", "web/app.py": FLASK, "docs/app.py": FLASK, "notes/x.py": "", "README.md": ""}
    found = find_app_folders(fill(tmp_path, files))
    assert found == ["iris (predict.py)", "web (app.py line 2: app = Flask(__name__))"]


def test_a_top_that_has_a_model_of_its_own_is_the_app(tmp_path: Path) -> None:
    assert find_app_folders(fill(tmp_path, {"iris/predict.py": "", "model.onnx": ""})) == []
