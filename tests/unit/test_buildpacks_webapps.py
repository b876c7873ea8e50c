"""Apps without a Procfile: what is found in their syntax trees, and how it is started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.webapps import WebApp, find_web_app

FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FASTAPI = "import fastapi\n\napi = fastapi.FastAPI()\n"
STREAMLIT = "import streamlit as st\nst.title('x')\n"
GRADIO = (
    "import gradio as gr\n\nwith gr.Blocks() as demo:\n    gr.Text()\n\nif __name__ == '__main__':\n    demo.launch()\n"
)
HOST = "${HOST:-0.0.0.0}"


def fill(folder: Path, files: Mapping[str, str]) -> str:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return str(folder)


def find(folder: Path, files: Mapping[str, str]) -> WebApp:
    found = find_web_app(fill(folder, files))
    assert found is not None
    return found


MANAGE = (
    "import os, sys\n\ndef main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"
    "    from django.core.management import execute_from_command_line\n    execute_from_command_line(sys.argv)\n"
)
DJANGO = "import os\nfrom django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n"
ASGI = DJANGO.replace("wsgi", "asgi")


STARTS = [
    ({"manage.py": MANAGE, "shop/wsgi.py": DJANGO}, f"gunicorn shop.wsgi:application --bind {HOST}:$PORT"),
    (
        {"manage.py": MANAGE, "shop/wsgi.py": DJANGO, "shop/asgi.py": ASGI},
        f"gunicorn shop.wsgi:application --bind {HOST}:$PORT",
    ),
    ({"manage.py": MANAGE, "shop/asgi.py": ASGI}, f"uvicorn shop.asgi:application --host {HOST} --port $PORT"),
    (
        {"manage.py": MANAGE, "shop/wsgi.py": DJANGO, "old/wsgi.py": DJANGO},
        f"gunicorn shop.wsgi:application --bind {HOST}:$PORT",
    ),
    (
        {"manage.py": MANAGE.replace("shop.settings", "conf.prod"), "web/wsgi.py": DJANGO, "web/app.py": FLASK},
        f"gunicorn web.wsgi:application --bind {HOST}:$PORT",
    ),
    ({"app.py": FLASK}, f"gunicorn app:app --bind {HOST}:$PORT"),
    ({"hello.py": FLASK}, f"gunicorn hello:app --bind {HOST}:$PORT"),
    ({"app.py": FLASK, "tools.py": FLASK}, f"gunicorn app:app --bind {HOST}:$PORT"),
    ({"app.py": "from flask import *\napp = Flask(__name__)\n"}, f"gunicorn app:app --bind {HOST}:$PORT"),
    ({"main.py": FASTAPI}, f"uvicorn main:api --host {HOST} --port $PORT"),
    ({"app/main.py": FASTAPI}, f"uvicorn app.main:api --host {HOST} --port $PORT"),
    (
        {"src/main.py": f"from model import load\n{FASTAPI}", "src/model.py": ""},
        f"uvicorn main:api --host {HOST} --port $PORT --app-dir src",
    ),
    (
        {"web.py": "from flask import Flask\ndef create_app(config=None):\n    app = Flask('x')\n    return app\n"},
        f"gunicorn 'web:create_app()' --bind {HOST}:$PORT",
    ),
    (
        {"main.py": "from fastapi import FastAPI\ndef create_app():\n    return FastAPI()\n"},
        f"uvicorn main:create_app --host {HOST} --port $PORT --factory",
    ),
    (
        {
            "shop/__init__.py": "from flask import Flask\ndef create_app():\n    return Flask('shop')\n",
            "wsgi.py": "from shop import create_app\napplication = create_app()\n",
        },
        f"gunicorn wsgi:application --bind {HOST}:$PORT",
    ),
    ({"demo.py": GRADIO}, f"GRADIO_SERVER_PORT=$PORT GRADIO_SERVER_NAME={HOST} python demo.py"),
    (
        {"app.py": "import gradio as gr\ngr.Interface(fn=len, inputs='text', outputs='label').launch()\n"},
        f"GRADIO_SERVER_PORT=$PORT GRADIO_SERVER_NAME={HOST} python app.py",
    ),
    (
        {"main.py": f"import gradio as gr\n{FASTAPI}\ndemo = gr.Blocks()\napi = gr.mount_gradio_app(api, demo, '/')\n"},
        f"uvicorn main:api --host {HOST} --port $PORT",
    ),
    (
        {"dash_app.py": "import dash\napp = dash.Dash(__name__)\nserver = app.server\n"},
        f"gunicorn dash_app:server --bind {HOST}:$PORT",
    ),
    (
        {"app.py": f"{FLASK}\nfrom dash import Dash\npage = Dash(server=app)\n"},
        f"gunicorn app:app --bind {HOST}:$PORT",
    ),
    ({"app.py": "from dash import Dash\napp = Dash()\nif __name__ == '__main__':\n    app.run()\n"}, "python app.py"),
    (
        {"service.py": "import bentoml\n\n@bentoml.service(workers=1)\nclass Iris:\n    pass\n"},
        f"bentoml serve service:Iris --port $PORT --host {HOST}",
    ),
    (
        {"svc.py": "import bentoml\nsvc = bentoml.Service('x')\n", "bentofile.yaml": "service: 'svc.py:svc'\n"},
        f"bentoml serve svc:svc --port $PORT --host {HOST}",
    ),
    (
        {"server.py": "import litserve\nif __name__ == '__main__':\n    s = litserve.LitServer(1)\n    s.run()\n"},
        "python server.py",
    ),
    (
        {"page.py": STREAMLIT},
        (
            f"streamlit run page.py --server.port $PORT --server.address {HOST} --server.headless true "
            "--browser.gatherUsageStats false"
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("files", "line"), STARTS)
def test_an_app_is_started_by_the_convention_of_its_framework(files: dict[str, str], line: str, tmp_path: Path) -> None:
    assert find(tmp_path, files).line == line


def test_the_evidence_is_the_file_and_the_line(tmp_path: Path) -> None:
    assert find(tmp_path, {"app.py": FLASK}).why == "app.py line 2: app = Flask(__name__)"


def test_a_command_replaces_its_shell_and_keeps_its_variables(tmp_path: Path) -> None:
    command = find(tmp_path, {"demo.py": GRADIO}).command
    assert command == ["bash", "-c", f"GRADIO_SERVER_PORT=$PORT GRADIO_SERVER_NAME={HOST} exec python demo.py"]


def test_what_the_start_needs_is_asked_for_with_its_reason(tmp_path: Path) -> None:
    packages = find(tmp_path, {"main.py": FASTAPI}).packages
    assert [(package["spec"], package["why"]) for package in packages] == [
        ("fastapi", "main.py imports it"),
        ("uvicorn", "it serves the fastapi app of main.py"),
    ]


NONE = [
    {},
    {"predict.py": "def predict(x):\n    return x\n"},
    {"app.py": "from flask import Blueprint\nbp = Blueprint('x', __name__)\n"},
    {"app.py": "app = Flask(\n"},
    {"client.py": "import requests\nrequests.get('http://flask')\n"},
    {"test_app.py": FLASK},
    {"lab.py": "import gradio as gr\npage = gr.Blocks()\n"},
]


@pytest.mark.parametrize("files", NONE)
def test_what_is_no_app_is_none(files: dict[str, str], tmp_path: Path) -> None:
    assert find_web_app(fill(tmp_path, files)) is None


UNSURE = [
    (
        {"manage.py": MANAGE.replace("shop.settings", "x.y"), "a/wsgi.py": DJANGO, "b/wsgi.py": DJANGO},
        ["a.wsgi:application", "b.wsgi:application"],
    ),
    ({"manage.py": MANAGE, "shop/wsgi.py": DJANGO, "app.py": FLASK}, ["shop.wsgi:application", "app:app"]),
    ({"app.py": FLASK, "main.py": FASTAPI}, ["app:app", "main:api"]),
    ({"one.py": FLASK, "two.py": FLASK}, ["one:app", "two:app"]),
    ({"app.py": STREAMLIT, "main.py": FASTAPI}, ["streamlit run app.py", "main:api"]),
    ({"app.py": "from flask import Flask\na = Flask('a')\nb = Flask('b')\n"}, ["app:a", "app:b"]),
]


@pytest.mark.parametrize(("files", "parts"), UNSURE)
def test_two_apps_are_refused_with_the_line_of_each(files: dict[str, str], parts: list[str], tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as refused:
        find_web_app(fill(tmp_path, files))
    assert refused.value.code == "web-app-unsure"
    lines = refused.value.fields["lines"]
    assert isinstance(lines, list)
    assert len(lines) == len(parts)
    for line, part in zip(lines, parts, strict=True):
        assert line.startswith("web: ")
        assert part in line


def test_what_django_needs_and_nobody_does_for_it_is_told(tmp_path: Path) -> None:
    files = {"manage.py": MANAGE, "shop/wsgi.py": DJANGO, "shop/settings.py": "DEBUG = False\nALLOWED_HOSTS = []\n"}
    found = find(tmp_path, files)
    assert found.why == (
        "shop/wsgi.py line 4: application = get_wsgi_application(); collectstatic and migrate are not run; "
        "shop/settings.py line 2 allows no host but localhost: ALLOWED_HOSTS = []"
    )
    assert [package["spec"] for package in found.packages] == ["django", "gunicorn"]
    (tmp_path / "shop/settings.py").write_text("ALLOWED_HOSTS = ['*']\n")
    again = find_web_app(str(tmp_path))
    assert again is not None
    assert again.why.endswith("; collectstatic and migrate are not run")


def test_a_django_project_without_a_file_to_start_is_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as refused:
        find_web_app(fill(tmp_path, {"manage.py": MANAGE, "shop/wsgi.py": "# gone\n"}))
    line = f"web: gunicorn shop.wsgi:application --bind {HOST}:$PORT"
    assert (refused.value.code, refused.value.fields) == ("django-no-wsgi", {"package": "shop", "line": line})


def test_the_manage_file_of_another_tool_is_no_django_project(tmp_path: Path) -> None:
    files = {"manage.py": "from flask_script import Manager\n", "app.py": FLASK, "old/wsgi.py": DJANGO}
    assert find(tmp_path, files).framework == "flask"


def test_a_file_that_the_app_imports_is_a_part_of_it(tmp_path: Path) -> None:
    pages = {"home.py": f"import pages_of\n{STREAMLIT}", "pages_of.py": STREAMLIT}
    assert find(tmp_path, pages).file == "home.py"


def test_two_frameworks_of_one_app_are_one_app(tmp_path: Path) -> None:
    source = (
        "from fastapi import FastAPI\nfrom fastapi.middleware.wsgi import WSGIMiddleware\nfrom flask import Flask\n"
        "inner = Flask('inner')\napp = FastAPI()\napp.mount('/old', WSGIMiddleware(inner))\n"
    )
    assert find(tmp_path, {"app.py": source}).framework == "fastapi"


FIXED = [
    ("import gradio as gr\ngr.Interface(len, 'text', 'label').launch(server_port=7860)\n", 7860, 2),
    ("from dash import Dash\napp = Dash()\nif __name__ == '__main__':\n    app.run(port=8050)\n", 8050, 4),
]


@pytest.mark.parametrize(("source", "port", "line"), FIXED)
def test_a_port_in_the_code_is_named_with_its_line(source: str, port: int, line: int, tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as refused:
        find_web_app(fill(tmp_path, {"app.py": source}))
    assert refused.value.code == "web-fixed-port"
    assert (refused.value.fields["port"], refused.value.fields["line"]) == (port, line)


def test_nothing_is_imported_to_find_an_app(tmp_path: Path) -> None:
    marker = tmp_path / "imported"
    trap = f"open({str(marker)!r}, 'w').close()\n"
    repo = tmp_path / "repo"
    find(
        repo, {"app.py": f"import helper\n{FLASK}{trap}", "helper.py": trap, "flask.py": trap, "sitecustomize.py": trap}
    )
    assert not marker.exists()


def test_a_folder_of_ten_thousand_files_is_bounded(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"part_{number:04}.py").write_text(FLASK)
    with pytest.raises(PackFailed) as refused:
        find_web_app(str(tmp_path))
    lines = refused.value.fields["lines"]
    assert isinstance(lines, list)
    assert len(lines) == 6
