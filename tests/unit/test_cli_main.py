"""The table of commands, their help, their documentation, their exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gitserver.cli.exits import Exit, exit_of_state, exit_of_status
from gitserver.cli.main import COMMANDS, algo, run

DOCS = Path(__file__).parents[2] / "docs"


def walk(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Every command with what a user types for it."""
    yield " ".join(words), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from walk(inner, (*words, name))


ALL = dict(walk(algo, ("algo",)))
BELOW = {typed: command for typed, command in ALL.items() if typed != "algo"}


def test_the_table_of_commands_says_what_the_commands_say() -> None:
    context = click.Context(algo)
    for name, entry in COMMANDS.items():
        command = algo.get_command(context, name)
        assert command is not None
        assert (command.name, (command.help or "").splitlines()[0]) == (name, entry.summary)


@pytest.mark.parametrize("typed", BELOW)
def test_help_has_an_example_that_begins_as_one_types(typed: str) -> None:
    text = BELOW[typed].help or ""
    examples = [line.strip() for line in text.partition("Example")[2].splitlines()[1:] if line.strip()]
    assert examples
    assert any(f"{typed} " in f"{example} " for example in examples)


@pytest.mark.parametrize("typed", BELOW)
def test_every_command_is_documented(typed: str) -> None:
    assert f"`{typed}" in (DOCS / "cli.md").read_text()


def test_every_option_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    for typed, command in BELOW.items():
        section = text.partition(f"`{typed}")[2]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in section, (typed, parameter.opts)


def test_every_exit_code_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == {int(code) for code in Exit}


def test_every_command_that_reads_has_json() -> None:
    reads = {
        "apps", "builds", "builds show", "releases", "versions", "previews", "config list", "keys list",
        "tokens list", "status", "image list", "image show", "stack list",
    }  # fmt: skip
    for typed in reads:
        assert "--json" in {name for parameter in ALL[f"algo {typed}"].params for name in parameter.opts}


@pytest.mark.parametrize(("status", "code"), [(400, 1), (401, 3), (403, 3), (404, 4), (409, 5), (422, 6), (503, 9)])
def test_an_answers_status_has_an_exit_code(status: int, code: int) -> None:
    assert exit_of_status(status) == code


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 6), ("cancelled", 7), ("superseded", 7)])
def test_a_builds_end_has_an_exit_code(state: str, code: int) -> None:
    assert exit_of_state(state) == code


@pytest.mark.parametrize("arguments", [["nope"], ["builds", "show", "x"], ["config", "set", "A"], ["--nope"]])
def test_a_wrong_command_line_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Usage: algo" in capsys.readouterr().err


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "git push algo main" in capsys.readouterr().out
