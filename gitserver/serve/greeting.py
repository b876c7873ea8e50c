"""What the start says of the docker target: its engine, its stack, and what is missing of both."""

from __future__ import annotations

from gitserver import explain
from gitserver.errors import Problem
from gitserver.settings import Settings

_ASK_S = 5.0


def describe_target(settings: Settings) -> list[str]:
    """Lines for the operator; none for the process target. Asks the engine once and waits for it 5 s at most.

    A missing engine or stack refuses nothing: both may come while the server runs, and pushes say what is missing.
    """
    if settings.target != "docker":
        return []
    return [_engine(settings), _stack(settings)]


def _engine(settings: Settings) -> str:
    from gitserver.targets.engine import DockerEngine  # the docker SDK takes a fifth of a second to import

    engine = DockerEngine(settings.docker_host, timeout_s=_ASK_S)
    try:
        facts = engine.facts()
    except Problem as problem:
        return f"Docker: {explain.sentence(problem.failure)}"
    finally:
        engine.close()
    limits = "" if facts.has_limits else "; it cannot limit memory"
    return f"Docker: engine {facts.version} at {settings.docker_host}, {facts.store.value} store{limits}"


def _stack(settings: Settings) -> str:
    from buildpacks.stack.store import StackStore

    stack = StackStore(root=settings.state / "stacks").current()
    if stack is None:
        return "Stack: none yet, so nothing can be built. Make one: algo stack build"
    pythons = ", ".join(python.version for python in stack.pythons) or "none"
    return f"Stack: {stack.name} ({stack.distro} {stack.distro_version}, Python {pythons})"
