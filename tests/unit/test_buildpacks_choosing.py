"""Which buildpacks an app chooses: what is read, whose word counts, what is allowed, which files are meant."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpacks.choosing.allowance import parse_allowance
from buildpacks.choosing.bring import own_versions, pins_of
from buildpacks.choosing.choice import choose
from buildpacks.choosing.descriptor import ProjectDescriptor, parse_descriptor, read_descriptor
from buildpacks.choosing.globs import keep_matching, matches, parse_patterns, remove_matching
from buildpacks.choosing.lines import parse_lines, parse_setting
from buildpacks.choosing.packs import inspect
from buildpacks.choosing.shelf import UNUSED_S, mark_used, sweep
from buildpacks.choosing.sources import parse_source
from buildpacks.choosing.values import Source, SourceKind
from buildpacks.lifecycle.toml_writer import render_toml
from buildpacks.order import BuildFailed

OWN = {"algo/python": "0.1.0", "algo/model": "0.1.0"}


def source(text: str) -> Source:
    return parse_source(text, ".buildpacks line 1", OWN)


T = TypeVar("T")


def read_or_refused(read: Callable[[], T]) -> tuple[T | None, str]:
    """What was read, or the code of the refusal; anything else that is raised fails the test."""
    try:
        return read(), ""
    except BuildFailed as failed:
        return None, failed.code


def code(text: str) -> str:
    with pytest.raises(BuildFailed) as caught:
        source(text)
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "kind", "location", "ref"),
    [
        ("algo/python", SourceKind.BUILTIN, "algo/python", ""),
        ("algo/python@0.1.0", SourceKind.BUILTIN, "algo/python", "0.1.0"),
        ("urn:cnb:builder:algo/python@0.1.0", SourceKind.BUILTIN, "algo/python", "0.1.0"),
        ("./buildpacks/lint", SourceKind.FOLDER, "buildpacks/lint", ""),
        ("file:buildpacks/lint", SourceKind.FOLDER, "buildpacks/lint", ""),
        ("./tools/lint.cnb", SourceKind.PACKAGE, "tools/lint.cnb", ""),
        ("https://example.com/team/pack", SourceKind.GIT, "https://example.com/team/pack", ""),
        ("https://Example.COM/Team/pack.git#v1.2", SourceKind.GIT, "https://example.com/Team/pack.git", "v1.2"),
        ("git@example.com:team/pack.git#main", SourceKind.GIT, "ssh://git@example.com/team/pack.git", "main"),
        ("team/pack#v1", SourceKind.GIT, "https://github.com/team/pack", "v1"),
        ("heroku/python", SourceKind.GIT, "https://github.com/heroku/heroku-buildpack-python", ""),
        ("file:///srv/packs/lint#v1", SourceKind.GIT, "file:///srv/packs/lint", "v1"),
        ("docker://example.com/packs/lint:1.2", SourceKind.IMAGE, "example.com/packs/lint:1.2", ""),
    ],
)
def test_a_source_is_read_by_its_form(text: str, kind: SourceKind, location: str, ref: str) -> None:
    found = source(text)
    assert (found.kind, found.location, found.ref, found.text) == (kind, location, ref, text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "lint", "../lint", "./", "./a/../../b", "/etc/passwd", "file:/etc", "-u/x/y", "a/b/c",
        "ftp://example.com/x", "ext::sh -c touch% x", "https://", "https://example.com", "https://example.com/../x",
        "https://example.com/x?y=1", "https://example.com/x#", "https://example.com/x#--upload-pack=x",
        "https://example.com/x#a..b", "https://example.com/$(id)", "https://exa mple.com/x", "https://example.com:x/y",
        "urn:cnb:registry:team/pack@1", "docker://UPPER CASE", "x\ny", "https://" + "x" * 600, "file://host/x",
    ],
)  # fmt: skip
def test_what_is_no_source_is_refused_and_never_mended(text: str) -> None:
    assert code(text) == "buildpack-source-bad"


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hid/den@example.com/x", "https://example.com/x?token=hidden", "ftp://user:hidden@example.com/x",
        "docker://user:hidden@example.com/x", "https://user:hidden@example.com/" + "x" * 500,
    ],
)  # fmt: skip
def test_a_password_is_not_shown_where_a_name_cannot_be_read(text: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        source(text)
    assert caught.value.code == "buildpack-source-bad"
    assert "hid" not in str(caught.value.fields)


@pytest.mark.parametrize("text", ["https://user:secret@example.com/x", "https://token@example.com/x#v1"])
def test_a_password_in_a_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        source(text)
    assert caught.value.code == "buildpack-source-secret"
    assert caught.value.fields == {"asked_by": ".buildpacks line 1"}


def test_an_own_id_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(BuildFailed) as caught:
        source("urn:cnb:builder:algo/cobol")
    assert (caught.value.code, caught.value.fields["known"]) == ("buildpack-unknown", ["algo/model", "algo/python"])


@given(st.text(max_size=80))
def test_any_text_is_a_source_or_refused(text: str) -> None:
    found, refusal = read_or_refused(lambda: source(text))
    if found is None:
        assert refusal in {"buildpack-source-bad", "buildpack-source-secret", "buildpack-unknown"}
        return
    assert not found.location.startswith(("-", "/"))
    assert ".." not in found.location.split("/")
    assert not found.ref.startswith("-")


@given(st.binary(max_size=300))
def test_any_bytes_as_buildpacks_file_are_read_or_refused(data: bytes) -> None:
    found, refusal = read_or_refused(lambda: parse_lines(data, OWN))
    assert found is not None or refusal.startswith("buildpack-")
    assert all(item.asked_by.startswith(".buildpacks line ") for item in found or ())


_NAMES = st.text(alphabet="abcdefghij0123456789-", min_size=1, max_size=12).filter(lambda text: text[0] != "-")


@pytest.mark.conformance("2-list")
@given(
    st.lists(st.tuples(_NAMES, _NAMES, st.sampled_from(["", "#v1", "#main"])), max_size=8),
    st.sampled_from(["\n", "\r\n"]),
)
def test_each_line_with_a_name_is_one_source_with_its_line_number(lines: list[tuple[str, str, str]], end: str) -> None:
    text = "# comment" + end + end.join(f" https://example.com/{a}/{b}{ref}  # why" for a, b, ref in lines)
    found = parse_lines(text.encode(), OWN)
    assert [(item.location, item.ref, item.asked_by) for item in found] == [
        (f"https://example.com/{a}/{b}", ref.removeprefix("#"), f".buildpacks line {number}")
        for number, (a, b, ref) in enumerate(lines, 2)
    ]


def test_the_setting_joins_sources_by_commas_or_lines() -> None:
    found = parse_setting("algo/python, https://example.com/a/b#v1\n./mine", OWN)
    assert [item.kind for item in found] == [SourceKind.BUILTIN, SourceKind.GIT, SourceKind.FOLDER]
    assert {item.asked_by for item in found} == {"BP_BUILDPACKS"}


DESCRIPTOR = """
[_]
schema-version = "0.2"
[io.buildpacks]
builder = "example/builder"
exclude = ["*.csv", "!keep.csv"]
[[io.buildpacks.pre.group]]
uri = "buildpacks/first"
[[io.buildpacks.group]]
id = "algo/python"
version = "0.1.0"
[[io.buildpacks.group]]
uri = "docker://example.com/packs/lint"
[[io.buildpacks.group]]
id = "team/hello"
[io.buildpacks.group.script]
api = "0.10"
inline = "echo hello"
[[io.buildpacks.post.group]]
uri = "https://example.com/team/last#v2"
[[io.buildpacks.build.env]]
name = "BP_MODEL_FILE"
value = "model.joblib"
"""


@pytest.mark.conformance("1.9-project")
def test_a_project_descriptor_is_read_whole_and_says_what_it_cannot_do() -> None:
    found = parse_descriptor(DESCRIPTOR.encode(), OWN)
    assert [(item.kind, item.location) for item in (*found.pre, *found.group, *found.post)] == [
        (SourceKind.FOLDER, "buildpacks/first"), (SourceKind.BUILTIN, "algo/python"),
        (SourceKind.IMAGE, "example.com/packs/lint"), (SourceKind.INLINE, "team/hello"),
        (SourceKind.GIT, "https://example.com/team/last"),
    ]  # fmt: skip
    assert [item.asked_by for item in found.group][1] == "project.toml [[io.buildpacks.group]] 2"
    assert found.group[2].script is not None
    assert (found.group[2].script.interpreter, found.group[2].script.inline) == ("/bin/sh", "echo hello")
    assert (found.exclude, found.env) == (("*.csv", "!keep.csv"), {"BP_MODEL_FILE": "model.joblib"})
    assert found.untold == ("io.buildpacks.builder",)


@pytest.mark.conformance("1.9-project")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[io.buildpacks]\ninclude = ['a']\nexclude = ['b']", "project-toml-both"),
        ("[io.buildpacks", "project-toml-bad"),
        ("io = 3", "project-toml-bad"),
        ("[io.buildpacks]\ngroup = 3", "project-toml-bad"),
        ("[io.buildpacks]\ninclude = 'a'", "project-toml-bad"),
        ("[[io.buildpacks.group]]\nversion = '1'", "project-toml-bad"),
        ("[[io.buildpacks.group]]\nid = 'algo/python'\nuri = './x'", "project-toml-bad"),
        ("[[io.buildpacks.group]]\nid = 'algo/python'\nurl = './x'", "project-toml-bad"),
        ("[[io.buildpacks.group]]\nid = 'other/pack'", "buildpack-unknown"),
        ("[[io.buildpacks.group]]\nuri = '../x'", "buildpack-source-bad"),
        ("[[io.buildpacks.group]]\nuri = '/etc'", "buildpack-source-bad"),
        ("[[io.buildpacks.group]]\n[io.buildpacks.group.script]\napi = '0.10'", "project-toml-bad"),
        (
            "[[io.buildpacks.group]]\n[io.buildpacks.group.script]\napi='0.10'\ninline='x'\nshell='sh -c'",
            "project-toml-bad",
        ),
        ("[[io.buildpacks.build.env]]\nvalue = 'x'", "project-toml-bad"),
    ],
)
def test_a_descriptor_that_breaks_the_rules_is_refused(text: str, expected: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        parse_descriptor(text.encode(), OWN)
    assert caught.value.code == expected


_JSON = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text(alphabet="abc./:#", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["group", "pre", "post", "id", "uri", "script", "build", "env"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["group", "pre", "post", "include", "exclude", "build", "other"]), _JSON, max_size=5
    )
)
def test_any_descriptor_is_read_or_refused(ours: dict[str, object]) -> None:
    text = render_toml({"io": {"buildpacks": ours}})
    tomllib.loads(text)
    found, refusal = read_or_refused(lambda: parse_descriptor(text.encode(), OWN))
    assert found is not None or refusal.startswith(("project-toml-", "buildpack-"))
    assert found is None or not (found.include and found.exclude)


def test_a_descriptor_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("[io.buildpacks]\nexclude = ['x']\n")
    (tmp_path / "project.toml").symlink_to("secret.toml")
    assert read_descriptor(tmp_path, OWN) == ProjectDescriptor()


def test_the_setting_beats_project_toml_beats_the_file_beats_detection(tmp_path: Path) -> None:
    project = parse_descriptor(b"[[io.buildpacks.group]]\nid = 'algo/model'\n", OWN)
    (tmp_path / ".buildpacks").write_text("algo/python\n")
    by_setting = choose(tmp_path, project, {"BP_BUILDPACKS": "./mine"}, OWN)
    by_project = choose(tmp_path, project, {}, OWN)
    by_file = choose(tmp_path, ProjectDescriptor(), {}, OWN)
    (tmp_path / ".buildpacks").unlink()
    assert [choice.by for choice in (by_setting, by_project, by_file) if choice] == [
        "algo config: BP_BUILDPACKS", "project.toml", ".buildpacks",
    ]  # fmt: skip
    assert choose(tmp_path, ProjectDescriptor(), {}, OWN) is None


@pytest.mark.parametrize(
    ("rule", "text", "is_allowed"),
    [
        ("builtin", "algo/python", True),
        ("builtin", "./mine", False),
        ("repository", "./mine", True),
        ("repository", "./mine.cnb", True),
        ("repository", "https://example.com/a/b", False),
        ("any", "https://example.com/a/b", True),
        ("any", "docker://example.com/a/b", True),
        ("any", "http://example.com/a/b", False),
        ("any", "git@example.com:a/b", False),
        ("any", "file:///srv/packs", False),
        ("https://example.com/a/", "https://example.com/a/b#v1", True),
        ("https://EXAMPLE.com/a", "https://example.com/a/b", True),
        ("https://example.com/a", "https://example.com/ab", False),
        ("https://example.com/a", "https://example.com.evil.org/a", False),
        ("https://example.com", "https://example.com.evil.org/a", False),
        ("https://example.com", "https://example.com.git.evil.org/a", False),
        ("https://example.com", "https://example.com:8443/a", False),
        ("https://example.com", "https://example.com/a", True),
        ("https://example.com/a/b", "https://example.com/a/b.git", True),
        ("https://example.com/a/b", "https://example.com/a/b.gitish", False),
        ("https://example.com/a/b", "https://example.com/a/b/c", True),
        ("ssh://git", "git@example.com:a/b", False),
        ("https://example.com/a/", "./mine", False),
        ("repository,https://example.com/a/", "./mine", True),
        ("docker://example.com/a", "docker://example.com/a:1", True),
        ("docker://example.com/a", "docker://example.com/ab:1", False),
        ("docker://example.com/a", f"docker://example.com/a@sha256:{'0' * 64}", True),
        ("docker://example.com", "docker://example.com:5000/a", False),
        ("ssh://git@example.com/a/", "git@example.com:a/b", True),
        ("file:///srv/packs", "file:///srv/packs", True),
        ("file:///srv/packs", "file:///srv/packs2", False),
    ],
)
def test_the_operators_rule_decides(rule: str, text: str, *, is_allowed: bool) -> None:
    assert parse_allowance(rule).allows(source(text)) is is_allowed


@pytest.mark.parametrize("rule", ["", " , ", "everything", "https://", "*", "https://example.com/*", "example.com/a"])
def test_a_rule_that_cannot_be_is_refused_at_start(rule: str) -> None:
    with pytest.raises(ValueError, match="builtin, repository, any"):
        parse_allowance(rule)


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "expected"),
    [
        ("*.csv", "a.csv", False, True),
        ("*.csv", "data/a.csv", False, True),
        ("/a.csv", "data/a.csv", False, False),
        ("data/", "data", True, True),
        ("data/", "data", False, False),
        ("docs/*.md", "docs/a.md", False, True),
        ("docs/*.md", "docs/x/a.md", False, False),
        ("docs/**/a.md", "docs/x/y/a.md", False, True),
        ("docs/**/a.md", "docs/a.md", False, True),
        ("**/a.md", "x/a.md", False, True),
        ("docs/**", "docs/x/y", False, True),
        ("a?c", "abc", False, True),
        ("a[0-9]", "a5", False, True),
        ("a[!0-9]", "a5", False, False),
        ("a[z-a]", "az", False, False),
        ("\\!a", "!a", False, True),
        ("\\#a", "#a", False, True),
        ("#a", "#a", False, False),
        ("a  ", "a", False, True),
        ("a.b", "axb", False, False),
        ("a*b*c", "aXbYbZc", False, True),
        ("a*b*c", "aXcYb", False, False),
        ("**/x/**/y", "x/a/x/b/y", False, True),
        ("a/**/b/**/c", "a/b/d/b/c", False, True),
        ("a/**/b/c", "a/b/b/c", False, True),
        ("a/**/b/c", "a/b/c/d", False, False),
    ],
)
def test_patterns_mean_what_gitignore_says(pattern: str, path: str, *, is_folder: bool, expected: bool) -> None:
    assert matches(parse_patterns([pattern]), path, is_folder=is_folder) is expected


@pytest.mark.parametrize(("pattern", "path"), [("*a" * 60 + "b", "a" * 255), ("**/a*/" * 40 + "b", "a/" * 2000 + "a")])
def test_no_pattern_keeps_the_server_busy(pattern: str, path: str) -> None:
    started_s = time.process_time()
    assert not matches(parse_patterns([pattern]), path, is_folder=False)
    assert time.process_time() - started_s < 1  # with backtracking: longer than anybody waits


@given(st.text(alphabet="ab*?[]!^-\\/.# ", max_size=12), st.text(alphabet="ab-/.", min_size=1, max_size=8))
def test_any_pattern_is_a_pattern(pattern: str, path: str) -> None:
    assert matches(parse_patterns([pattern]), path, is_folder=False) in {True, False}


def tree(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def left(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


@pytest.mark.conformance("1.9-project")
def test_exclude_takes_away_and_include_keeps(tmp_path: Path) -> None:
    for name, act in (("a", remove_matching), ("b", keep_matching)):
        root = tmp_path / name
        tree(root, "app.py", "data/x.csv", "data/keep.csv", "docs/a.md")
        act(root, parse_patterns(["data/*.csv", "!data/keep.csv", "/docs/"]))
    assert left(tmp_path / "a") == ["app.py", "data/keep.csv"]
    assert left(tmp_path / "b") == ["data/x.csv", "docs/a.md"]


def test_links_are_never_followed_when_files_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "outside/a.csv", "app/app.py")
    (tmp_path / "app" / "data").symlink_to(tmp_path / "outside")
    remove_matching(tmp_path / "app", parse_patterns(["*.csv", "data"]))
    assert left(tmp_path) == ["app/app.py", "outside/a.csv"]


def make_pack(folder: Path, descriptor: str | None, *programs: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    if descriptor is not None:
        (folder / "buildpack.toml").write_text(descriptor)
    for name in programs:
        (folder / "bin" / name).write_text("#!/bin/sh\n")
        (folder / "bin" / name).chmod(0o755)
    return folder


def test_a_folder_is_a_buildpack_of_one_kind_or_none(tmp_path: Path) -> None:
    asked = source("https://example.com/team/heroku-buildpack-x.git")
    head = 'api = "0.10"\n[buildpack]\nid = "team/x"\nversion = "1.2.3"\n'
    new = inspect(make_pack(tmp_path / "new", head, "detect", "build"), asked)
    # Classic buildpacks have a buildpack.toml, too, of another meaning and without an api.
    old = inspect(make_pack(tmp_path / "old", '[buildpack]\nname = "X"\n', "detect", "compile"), asked)
    assert (new.id, new.version, new.is_classic) == ("team/x", "1.2.3", False)
    assert (old.id, old.is_classic) == ("classic/heroku-buildpack-x", True)
    for name, text, expected in (
        ("none", None, "buildpack-missing"),
        ("taken", head.replace("team/x", "algo/python"), "buildpack-id-taken"),
        ("odd", head.replace("team/x", "../x"), "buildpack-id-bad"),
        ("broken", "api = ", "buildpack-id-bad"),
    ):
        with pytest.raises(BuildFailed) as caught:
            inspect(make_pack(tmp_path / name, text, "build"), asked)
        assert caught.value.code == expected


def test_pins_are_read_from_an_images_document_and_from_nothing_else() -> None:
    document = {
        "choice": {"by": "x", "sources": [{"asked": "a", "pin": "c1"}, {"asked": "b", "pin": ""}, {"pin": "z"}]}
    }
    assert pins_of(document) == {"a": "c1"}  # type: ignore[arg-type]  # dict is invariant
    assert pins_of(None) == pins_of({}) == pins_of({"choice": 3}) == {}


def test_this_servers_own_buildpacks_have_names_that_nobody_else_may_take() -> None:
    assert all(pack_id.startswith("algo/") for pack_id in own_versions())


def test_fetched_buildpacks_go_when_nobody_uses_them_for_a_month(tmp_path: Path) -> None:
    for name in ("git/a-1", "git/b-2", "images/unpacked/c"):
        (tmp_path / name).mkdir(parents=True)
    now_s = (tmp_path / "git/a-1").stat().st_mtime + UNUSED_S + 60
    assert sweep(tmp_path, now_s=now_s - 120) == []
    mark_used(tmp_path / "git/b-2")
    os.utime(tmp_path / "git/b-2", (now_s, now_s))
    assert sweep(tmp_path, now_s=now_s) == ["git/a-1", "images/unpacked/c"]
    assert (tmp_path / "git/b-2").is_dir()
