"""The documentation against the product: links lead somewhere, options and commands exist, words are the real ones."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest

from buildpacks.words import WORDS as KITCHEN
from gitserver.cli.main import algo
from gitserver.cli.serve import serve_command
from gitserver.settings import BUILD_ENV_NAMES, Settings, read_settings
from gitserver.words import WORDS

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNING = ROOT / "docs/operators/running.md"
USERS = sorted((ROOT / "docs/users").glob("*.md"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
_OPTION_ROW = re.compile(r"^\| `(?:--)?([A-Za-z_-]+)[^`]*` \| (?:`(\w+)`|-) \|", re.MULTILINE)

every_page = pytest.mark.parametrize("path", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])


def prose(path: Path) -> str:
    """A page without its code blocks, where brackets are code."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def headings(path: Path) -> set[str]:
    """What `#...` of a link may be: headings in lower case, words joined by '-', as code hosts make them."""
    lines = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def algo_lines(path: Path) -> Iterator[list[str]]:
    """Words of each `algo ...` that users type in a page: lines of `sh` blocks, `$ ` lines of other blocks."""
    for language, block in _FENCE.findall(path.read_text(encoding="utf-8")):
        for line in block.splitlines():
            typed = line.strip() if language == "sh" else line.removeprefix("$ ") if line.startswith("$ ") else ""
            for part in re.split(r" (?:&&|\|) ", typed):
                if re.match(r"algo( |$)", part):
                    yield shlex.split(part, comments=True)


@every_page
def test_each_link_leads_to_a_file_and_a_heading_that_exist(path: Path) -> None:
    wrong = []
    for link in _LINK.findall(prose(path)):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.is_file() or not target.is_relative_to(ROOT) or (anchor and anchor not in headings(target)):
            wrong.append(link)
    assert wrong == []


@every_page
def test_each_page_begins_with_its_title_and_closes_its_code_blocks(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0


def test_each_page_can_be_reached_from_the_readme() -> None:
    found, waiting = {README}, [README]
    while waiting:
        page = waiting.pop()
        for link in _LINK.findall(prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in found:
                found.add(target)
                waiting.append(target)
    assert [path.name for path in PAGES if path not in found] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 120


@pytest.mark.parametrize(
    "path", [README, *USERS, *sorted((ROOT / "docs/operators").glob("*.md"))], ids=lambda p: p.name
)
def test_each_algo_command_of_a_code_block_exists_with_its_options(path: Path) -> None:
    for words in algo_lines(path):
        command: click.Command = algo
        context = click.Context(algo)
        rest = words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            inner = command.get_command(context, rest[0])
            assert inner is not None, f"{' '.join(words)}: no such command"
            command, rest = inner, rest[1:]
        known = {name for parameter in command.params for name in parameter.opts}
        asked = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert asked <= known, f"{' '.join(words)}: {sorted(asked - known)}"


def test_each_option_of_the_server_is_a_row_of_the_operators_page() -> None:
    rows = dict(_OPTION_ROW.findall(RUNNING.read_text(encoding="utf-8")))
    options = {name.removeprefix("--") for parameter in serve_command.params for name in parameter.opts}
    by_option = {name for name in rows if not name.startswith("ALGO_")}
    assert by_option == options
    assert set(rows.values()) - {""} == set(Settings.__dataclass_fields__) - {"state"}


def test_each_default_on_the_operators_page_is_the_real_one(tmp_path: Path) -> None:
    real = read_settings({"state": str(tmp_path), "owner": "alice"}, {})
    table = re.findall(r"^\| `[^`]+` \| `(\w+)` \| (.+?) \|", RUNNING.read_text(encoding="utf-8"), re.MULTILINE)
    told = {name: default.strip("`") for name, default in table}
    for name in ("http", "ssh", "target", "isolation"):
        assert told[name] == str(getattr(real, name))
    for name in ("memory_mib", "preview_ttl_s", "preview_limit", "ready_timeout_s", "drain_s", "idle_s",
                 "builds_at_once", "build_timeout_s", "max_pack_bytes", "max_body_bytes"):  # fmt: skip
        assert float(told[name]) == getattr(real, name), name


def test_the_example_of_a_configuration_file_is_taken_by_the_server(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", RUNNING.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    (tmp_path / "config.toml").write_text(block[1], encoding="utf-8")
    settings = read_settings({"state": str(tmp_path)}, {})
    assert settings.url == tomllib.loads(block[1])["public_url"]


def test_each_variable_that_reaches_builds_is_named_on_the_page_of_networks() -> None:
    page = (ROOT / "docs/operators/proxies.md").read_text(encoding="utf-8")
    assert [name for name in BUILD_ENV_NAMES if name.isupper() and f"`{name}`" not in page] == []


def test_each_refusal_that_is_explained_to_users_is_one_of_the_servers_titles() -> None:
    titles = {entry.title for entry in WORDS.values()} | {entry.title for entry in KITCHEN.values()}
    # A title with its fields filled in by anything.
    patterns = [re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(title))) for title in titles]
    page = (ROOT / "docs/users/pushing.md").read_text(encoding="utf-8")
    table = page.partition("## Refusals")[2].partition("\n## ")[0]
    rows = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    shown = [title for row in rows for title in re.findall(r"`([^`]+)`", row)]
    assert len(shown) > 20
    assert [title for title in shown if not any(pattern.fullmatch(title) for pattern in patterns)] == []


def test_the_picture_is_well_formed_and_described_for_those_who_do_not_see_it() -> None:
    picture = ET.parse(ROOT / "docs/push.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert picture.tag == f"{space}svg"
    assert (picture.findtext(f"{space}title"), bool(picture.findtext(f"{space}desc"))) == ("The way of a push", True)
    assert "prefers-color-scheme: dark" in (picture.findtext(f"{space}style") or "")


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page: of mine\n[x](gone.md)\n```\n$ algo nothing --here  # why\nalgo says\n[y](code)\n```\n",
        encoding="utf-8",
    )
    assert _LINK.findall(prose(page)) == ["gone.md"]
    assert list(algo_lines(page)) == [["algo", "nothing", "--here"]]
    assert headings(page) == {"a-page-of-mine"}
