"""Durable builds from the outside: hand one in, watch it, ask for its end.

The connection only watches. What is handed in here is a row before it is anything else; a worker carries it out
whether anybody watches or not, so a client that is cut, or a server that is killed, changes nothing of the outcome.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gitserver import explain
from gitserver.errors import Failure, Problem
from gitserver.ledger.records import Build, BuildState, NewBuild
from gitserver.ledger.store import Ledger
from gitserver.settings import Settings
from gitserver.wire import tell

_LOOK_S = 0.02  # how soon a follower sees new output: below what a person notices
_TICK_S = 0.2  # how often it hears that nothing came, and looks at the record itself
_CHUNK_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A build's end as a push reports it. title is the text of `ng`, old and new are what the ref did."""

    ok: bool
    title: str
    old: str
    new: str
    failure: Failure | None


class Pushes:
    """The desk where builds are handed in and followed. Threads may share one."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings, self._ledger = settings, ledger

    def submit(self, new: Sequence[NewBuild]) -> list[Build]:
        """Write the jobs down, all or none, and wake the worker."""
        made = self._ledger.enqueue(new)
        self.kick()
        return made

    def kick(self) -> None:
        """Wake the worker. It would look by itself half a second later, so being unheard is no error."""
        tell(self._settings.run_dir / "worker.sock", {"op": "kick"})

    def cancel(self, build_id: int, actor: str) -> bool:
        """Ask for a build's end; False when it had ended."""
        asked = self._ledger.request_cancel(build_id, actor)
        self.kick()
        return asked

    def follow(self, build_id: int, *, from_start: bool = True) -> Iterator[bytes | None]:
        """The build's log as it comes; None at least every 0.2 s of silence; ends when the build is final.

        Ends too when the build does not exist. Each yielded piece holds at most 32 KiB.
        """
        path, done = self._settings.build_log(build_id), self._settings.build_done(build_id)
        position = 0 if from_start or not path.exists() else path.stat().st_size
        ticked_at = time.monotonic()
        while True:
            is_over = done.exists()
            if time.monotonic() - ticked_at > _TICK_S:
                ticked_at = time.monotonic()
                is_over = is_over or self._is_final(build_id)
                yield None
            data = b""
            if path.exists():
                with path.open("rb") as file:
                    file.seek(position)
                    data = file.read(_CHUNK_BYTES)
            if data:
                position += len(data)
                ticked_at = time.monotonic()
                yield data
            elif is_over:
                return
            else:
                time.sleep(_LOOK_S)

    def verdict(self, build_id: int) -> Verdict:
        """How a final build ended.

        Raises  Problem('build-unfinished') when it has not: asking too early is the caller's mistake
        """
        build = self._ledger.build(build_id)
        if build is None or not build.state.is_final:
            raise Problem("build-unfinished", build=build_id)
        if build.state is BuildState.SUCCEEDED:
            return Verdict(ok=True, title="", old=build.old, new=build.new, failure=None)
        failure = build.failure or Failure(code="unknown-end", fields={"build": build_id})
        return Verdict(ok=False, title=explain.title(failure), old=build.old, new=build.new, failure=failure)

    def _is_final(self, build_id: int) -> bool:
        build = self._ledger.build(build_id)
        return build is None or build.state.is_final
