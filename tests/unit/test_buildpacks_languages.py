"""What decides the language of a web app, its version and its start, before anything is run."""

from __future__ import annotations

import json
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildpacks.packs.algo_apt.aptfile import parse_aptfile
from buildpacks.packs.algo_apt.debian import base_of
from buildpacks.packs.algo_go import detect as go
from buildpacks.packs.algo_go.module import wanted_go
from buildpacks.packs.algo_java import detect as java
from buildpacks.packs.algo_java.jars import find_jar
from buildpacks.packs.algo_node import detect as node
from buildpacks.packs.algo_node.ranges import parse_range
from buildpacks.packs.cnb import NOT_MINE, PASS, Context, PackFailed
from buildpacks.packs.toolchains.running import is_where_it_runs, passed, refuse_trusted
from buildpacks.packs.toolchains.starts import language_of, started_language

MAIN = "package main\n\nfunc main() {}\n"
MODULE = "module example.com/team/hello/v2 // a comment\n\ngo 1.22\n"
DETECT = {"go": go.detect, "node": node.detect, "java": java.detect}


def write(folder: Path, files: Mapping[str, str]) -> str:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return str(folder)


def context_of(tmp_path: Path, files: Mapping[str, str]) -> Context:
    app = tmp_path / "app"
    app.mkdir()
    return Context(app=write(app, files), layers="", platform="", plan=str(tmp_path / "plan"), buildpack="", env={})


def start_of(tmp_path: Path, language: str) -> Any:
    plan = tomllib.loads((tmp_path / "plan").read_text())
    assert {"name": "web"} in plan["provides"]
    return json.loads(plan["requires"][0]["metadata"]["start"])["command"]


STARTS = [
    ("go", {"go.mod": MODULE, "main.go": MAIN}, ["hello"]),
    ("go", {"go.mod": MODULE, "cmd/api/main.go": MAIN, "lib.go": "package hello\n"}, ["api"]),
    ("go", {"go.mod": MODULE, "main.go": MAIN, "cmd/tool/main.go": MAIN}, ["hello"]),
    ("go", {"go.mod": MODULE, "main.go": MAIN, "package.json": '{"devDependencies": {"esbuild": "1"}}'}, ["hello"]),
    ("node", {"package.json": '{"scripts": {"start": "node  src/app.js --fast"}}'}, ["node", "src/app.js", "--fast"]),
    ("node", {"package.json": '{"main": "app.js"}', "app.js": ""}, ["node", "app.js"]),
    ("node", {"package.json": "\ufeff{}", "server.js": "", "index.js": ""}, ["node", "server.js"]),
    ("java", {"pom.xml": "<project/>"}, ["java", "-jar"]),
]


@pytest.mark.parametrize(("language", "files", "command"), STARTS)
def test_an_app_without_a_procfile_starts_by_the_convention_of_its_language(
    language: str, files: dict[str, str], command: list[str], tmp_path: Path
) -> None:
    assert DETECT[language](context_of(tmp_path, files)) == PASS
    assert start_of(tmp_path, language) == command


SHELL = 'export PATH="$PWD/node_modules/.bin:$PATH"; '


@pytest.mark.parametrize(
    ("scripts", "line"),
    [
        ({"start": "next start -p $PORT"}, "exec next start -p $PORT"),
        ({"start": "next start"}, "exec next start"),
        ({"start": "A=1 node x.js"}, "A=1 node x.js"),
        ({"start": "node x.js", "prestart": "node make.js"}, "node make.js && node x.js"),
    ],
)
def test_a_start_script_that_needs_a_shell_finds_programs_of_its_packages(
    scripts: dict[str, str], line: str, tmp_path: Path
) -> None:
    assert node.detect(context_of(tmp_path, {"package.json": json.dumps({"scripts": scripts})})) == PASS
    assert start_of(tmp_path, "node") == ["bash", "-c", SHELL + line]


NOT_THEIRS = [
    {"predict.py": "def predict(x): ...\n"},
    {"go.mod": MODULE, "lib.go": "package hello\n", "lib_test.go": "package main\n"},
    {"go.mod": MODULE, "gen.go": "//go:build ignore\n\npackage main\n"},
    {"package.json": '{"name": "styles", "main": "gone.js"}'},
    {"package.json": '{"scripts": {"start": "node x.js"}}', "Procfile": "web: python app.py\n"},
    {"go.mod": MODULE, "main.go": MAIN, "Procfile": "web: gunicorn app:app\n"},
]


@pytest.mark.parametrize("files", NOT_THEIRS)
def test_what_is_no_web_app_of_these_languages_is_left_to_others(files: dict[str, str], tmp_path: Path) -> None:
    context = context_of(tmp_path, files)
    assert {name: detect(context) for name, detect in DETECT.items()} == dict.fromkeys(DETECT, NOT_MINE)


LINES = [
    ("web: node server.js", {"package.json": "{}"}, "node"),
    ("node server.js", {}, ""),
    ("cd api && exec npm start", {"package.json": "{}"}, "node"),
    ("java $OPTIONS -jar target/x.jar", {"pom.xml": ""}, "java"),
    ("hello", {"go.mod": MODULE, "main.go": MAIN}, "go"),
    ("bin/hello -port $PORT", {"go.mod": MODULE, "main.go": MAIN}, "go"),
    ("other", {"go.mod": MODULE, "main.go": MAIN}, ""),
    ("python app.py", {"package.json": "{}", "go.mod": MODULE, "main.go": MAIN}, ""),
]


@pytest.mark.parametrize(("line", "files", "language"), LINES)
def test_a_web_line_belongs_to_the_language_of_the_program_that_it_starts(
    line: str, files: dict[str, str], language: str, tmp_path: Path
) -> None:
    assert language_of(write(tmp_path, files), line.removeprefix("web: ")) == language


def test_a_web_line_makes_the_app_of_that_language_without_a_start_of_its_own(tmp_path: Path) -> None:
    context = context_of(tmp_path, {"package.json": "{}", "Procfile": "web: node server.js\n"})
    assert node.detect(context) == PASS
    assert tomllib.loads((tmp_path / "plan").read_text()) == {
        "provides": [{"name": "node"}], "requires": [{"name": "node", "metadata": {}}],
    }  # fmt: skip


def test_several_programs_are_refused_with_a_line_for_each(tmp_path: Path) -> None:
    files = {"go.mod": MODULE, "cmd/api/main.go": MAIN, "cmd/worker/main.go": MAIN}
    with pytest.raises(PackFailed) as caught:
        go.detect(context_of(tmp_path, files))
    assert caught.value.code == "go-main-unsure"
    assert caught.value.fields == {"found": ["cmd/api", "cmd/worker"], "lines": ["web: api", "web: worker"]}


def test_two_languages_are_refused_and_a_model_file_does_not_decide(tmp_path: Path) -> None:
    files = {"go.mod": MODULE, "main.go": MAIN, "package.json": '{"scripts": {"start": "x"}}'}
    context = context_of(tmp_path, files)
    for detect, fields in (
        (go.detect, {"first": "go.mod", "second": "package.json"}),
        (node.detect, {"first": "package.json", "second": "go.mod"}),
    ):
        with pytest.raises(PackFailed) as caught:
            detect(context)
        assert (caught.value.code, caught.value.fields) == ("two-languages", fields)
    assert started_language(context.app) == "go.mod"


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_package_json_that_is_none_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as caught:
        node.detect(context_of(tmp_path, {"package.json": text}))
    assert caught.value.code == "package-json-syntax"


RANGES = [
    (">=18", [">=18.0.0"], [(18, 0, 0), (20, 1, 2)], [(17, 9, 9)]),
    ("^20.1", [">=20.1.0,<21.0.0"], [(20, 1, 0), (20, 9, 0)], [(20, 0, 9), (21, 0, 0)]),
    ("~20.1.3", [">=20.1.3,<20.2.0"], [(20, 1, 9)], [(20, 2, 0)]),
    ("20.x", [">=20.0.0,<21.0.0"], [(20, 5, 0)], [(21, 0, 0)]),
    ("20", [">=20.0.0,<21.0.0"], [(20, 5, 0)], [(19, 0, 0)]),
    ("18 || >=22 <23", [">=22.0.0,<23.0.0", ">=18.0.0,<19.0.0"], [(18, 1, 0), (22, 1, 0)], [(20, 0, 0), (23, 0, 0)]),
    ("18.2 - 20", [">=18.2.0,<21.0.0"], [(18, 2, 0), (20, 9, 9)], [(18, 1, 9), (21, 0, 0)]),
    (">18.2", [">=18.3.0"], [(18, 3, 0)], [(18, 2, 5)]),
    ("<= v20.1", [">=0.0.0,<20.2.0"], [(20, 1, 9)], [(20, 2, 0)]),
    ("*", [">=0.0.0"], [(1, 0, 0)], []),
]


@pytest.mark.parametrize(("text", "specifiers", "inside", "outside"), RANGES)
def test_a_range_of_engines_is_read_as_npm_reads_it(
    text: str, specifiers: list[str], inside: list[tuple[int, ...]], outside: list[tuple[int, ...]]
) -> None:
    found = parse_range(text)
    assert found is not None
    assert [bounds.specifier() for bounds in found] == specifiers
    assert [any(bounds.holds(version) for bounds in found) for version in (*inside, *outside)] == [
        *[True] * len(inside), *[False] * len(outside),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["latest", "lts/*", ">=", "20 and up"])
def test_what_is_no_range_is_none(text: str) -> None:
    assert parse_range(text) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("go 1.22\n", (1, 22, 0)), ("go 1.21.3\ntoolchain go1.24.1\n", (1, 24, 1)), ("module x\n", (1, 16, 0))],
)
def test_the_newest_go_that_a_module_names_is_the_oldest_that_builds_it(
    text: str, wanted: tuple[int, int, int]
) -> None:
    assert wanted_go(text) == wanted


def jar(folder: Path, name: str, manifest: str) -> None:
    (folder / "target").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "target" / name, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", manifest)


def test_the_jar_with_a_main_class_starts_and_spring_boot_is_told_its_port(tmp_path: Path) -> None:
    jar(tmp_path, "lib.jar", "Manifest-Version: 1.0\r\n")
    jar(
        tmp_path,
        "app.jar",
        "Main-Class: org.springframework.boot.loader.launch.Jar\r\n Launcher\r\nSpring-Boot-Version: 3\r\n",
    )
    found = find_jar(str(tmp_path))
    assert found.main_class == "org.springframework.boot.loader.launch.JarLauncher"
    assert found.command == ["bash", "-c", 'SERVER_PORT="$PORT" exec java -jar target/app.jar']


def test_a_jar_with_its_libraries_wins_over_the_one_that_it_was_made_of(tmp_path: Path) -> None:
    jar(tmp_path, "app.jar", "Main-Class: x.Y\n")
    jar(tmp_path, "app-jar-with-dependencies.jar", "Main-Class: x.Y\n")
    assert find_jar(str(tmp_path)).path == "target/app-jar-with-dependencies.jar"


@pytest.mark.parametrize(("names", "code"), [(["a.jar", "b.jar"], "java-two-jars"), ([], "java-no-jar")])
def test_no_jar_and_two_jars_are_refused(names: list[str], code: str, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "broken.jar").write_bytes(b"PK")
    for name in names:
        jar(tmp_path, name, "Main-Class: x.Y\n")
    with pytest.raises(PackFailed) as caught:
        find_jar(str(tmp_path))
    assert caught.value.code == code


def test_code_of_the_repository_runs_in_the_second_attempt_alone() -> None:
    with pytest.raises(PackFailed) as caught:
        refuse_trusted({"ALGO_WHEELS_ONLY": "1"}, "npm")
    assert (caught.value.code, caught.value.fields) == ("runs-code", {"what": "npm"})
    refuse_trusted({"ALGO_WHEELS_ONLY": "0"}, "npm")
    refuse_trusted({}, "npm")


@pytest.mark.parametrize(
    ("env", "is_here"),
    [
        ({}, True),
        ({"ALGO_PLATFORM": "x", "ALGO_GROUND": '[{"host": "/a/python", "path": "/usr/bin/python3"}]'}, False),
        ({"ALGO_PLATFORM": "x", "ALGO_GROUND": '[{"host": "/usr/bin/python3", "path": "/usr/bin/python3"}]'}, True),
    ],
)
def test_a_program_of_this_machine_is_not_one_of_the_stacks(
    env: dict[str, str],
    is_here: bool,
) -> None:
    assert is_where_it_runs(env) is is_here


def test_programs_see_of_the_environment_what_is_named_and_nothing_else() -> None:
    env = {"PATH": "/usr/bin", "https_proxy": "http://p", "UV_INDEX": "https://u:p@x", "BP_NETRC": "s", "LANG": ""}
    assert passed(env) == {"PATH": "/usr/bin", "https_proxy": "http://p"}


def test_an_aptfile_is_read_line_by_line() -> None:
    data = "\ufefflibgomp1\r\n# comment\r\n\r\nfiglet=2.2.5-3 libc6:amd64 # two\nlibgomp1\n".encode()
    found = [(wanted.line, wanted.package, wanted.name) for wanted in parse_aptfile(data)]
    assert found == [(1, "libgomp1", "libgomp1"), (4, "figlet=2.2.5-3", "figlet"), (4, "libc6:amd64", "libc6")]


@pytest.mark.parametrize(
    "line", ["https://example.org/x.deb", ":repo:deb http://x y", "-o=APT::x", "../x", "Upper", "a$b"]
)
def test_a_line_of_an_aptfile_that_is_no_package_is_refused_and_never_an_option_of_apt(line: str) -> None:
    with pytest.raises(PackFailed) as caught:
        parse_aptfile(f"libgomp1\n{line}\n".encode())
    assert (caught.value.code, caught.value.fields["line"]) == ("aptfile-syntax", 2)


def test_only_the_base_of_debian_counts_as_installed() -> None:
    def paragraph(name: str, *more: str, status: str = "install ok installed") -> str:
        return "\n".join([f"Package: {name}", f"Status: {status}", *more])

    text = "\n\n".join([
        paragraph("bash", "Essential: yes", "Pre-Depends: libc6 (>= 2.36), libtinfo6", "Depends: awk | other"),
        paragraph("libc6", "Depends: libgcc-s1"), paragraph("libgcc-s1"), paragraph("libtinfo6"),
        paragraph("mawk", "Provides: awk"), paragraph("gcc", "Depends: libgomp1"), paragraph("libgomp1"),
        paragraph("dpkg", "Priority: required"),
        paragraph("gone", "Essential: yes", status="deinstall ok config-files"),
    ])  # fmt: skip
    kept = [line.removeprefix("Package: ") for line in base_of(text).splitlines() if line.startswith("Package: ")]
    assert kept == ["bash", "dpkg", "libc6", "libgcc-s1", "libtinfo6", "mawk"]
