"""The `algo` command: one table of commands, each loaded when it is called.

Why     `algo --help` and the credential helper run at every push; they must not wait for an HTTP client or a database
        to be imported. tests/unit/test_cli_main.py holds the table to what the modules say.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from gitserver.cli.exits import Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a command lives, and its line in `algo --help`."""

    module: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "login": Entry(module="login", summary="Remember a server and your token."),
    "create": Entry(module="apps", summary="Make an app and point git at it."),
    "apps": Entry(module="apps", summary="List your apps."),
    "status": Entry(module="status", summary="Show what the server and this app are doing."),
    "call": Entry(module="call", summary="Call a model."),
    "logs": Entry(module="logs", summary="Show what an app's processes wrote."),
    "builds": Entry(module="builds", summary="List, show, follow and cancel builds."),
    "releases": Entry(module="releases", summary="List releases, newest first."),
    "versions": Entry(module="releases", summary="List versions, newest first."),
    "image": Entry(module="images", summary="List, show, save and verify images."),
    "rollback": Entry(module="releases", summary="Put a version or an earlier release back."),
    "redeploy": Entry(module="releases", summary="Build what serves once more."),
    "previews": Entry(module="previews", summary="List and remove previews."),
    "config": Entry(module="config", summary="Read and change environment variables."),
    "access": Entry(module="apps", summary="Say who may call an app."),
    "keys": Entry(module="keys", summary="Your SSH keys."),
    "tokens": Entry(module="tokens", summary="Your tokens."),
    "destroy": Entry(module="apps", summary="Destroy an app for ever."),
    "credential": Entry(module="login", summary="Answer git's questions for a password."),
    "stack": Entry(module="stacks", summary="Make and choose what images lie on."),
    "gc": Entry(module="gc", summary="Take away images, layers and caches that nothing needs."),
    "serve": Entry(module="serve", summary="Run the server."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when one of them is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """The names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's
        """The command itself; None when there is none of that name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"gitserver.cli.{entry.module}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Each command has examples: algo COMMAND --help",
)
def algo() -> None:
    """git push algo main turns a model repository into a running, versioned API."""


def main() -> NoReturn:
    """Run `algo` and end the process with the exit code of what happened (gitserver/cli/exits.py)."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command with its messages; the exit code."""
    try:
        result: Any = algo.main(args=arguments, prog_name="algo", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # `algo logs | head` ended; whatever Python still holds for stdout must not be written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        from gitserver.cli.report import report

        code = report(error)
        if code is None:
            raise
        return code
    return result if isinstance(result, int) else Exit.DONE


if __name__ == "__main__":
    main()
