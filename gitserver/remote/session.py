"""One push, from the advertisement to the last word on every ref, whatever the transport (contracts/git.md section 2).

The session receives, hands in and watches. It moves no ref and builds nothing: a client that goes away, or this
process with it, changes nothing of what becomes of the push.

Rules of this file
1. Whatever goes wrong is told per ref, in words, after the client has sent everything.
2. A client that is gone never raises out of here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gitserver import explain
from gitserver.errors import Failure, Problem
from gitserver.ledger.records import Build, BuildKind, Principal
from gitserver.push import PRODUCTION_BRANCH, ZERO_OID, AppName
from gitserver.remote.advertise import make_advertisement
from gitserver.remote.channel import RemoteDoors, Wire
from gitserver.remote.intake import Intake, Taken
from gitserver.remote.judge import Accepted, Judgement, NothingToDo, Refused
from gitserver.remote.objects import PktReader, make_pkt
from gitserver.remote.refs import list_refs
from gitserver.remote.report import RefReport, make_report
from gitserver.remote.request import PushRequest, read_request
from gitserver.remote.sideband import KEEPALIVE_S, Sideband, clean_line

_LOG = logging.getLogger(__name__)
_IDLE_COMMANDS_S = 2 * 3600.0  # the client's pre-push hook may upload gigabytes first (F12)
# Refusals of the pack itself are the `unpack` line's; everything else leaves it `ok` and speaks per ref.
_UNPACK_CODES = frozenset({
    "pack-incomplete", "bad-pack", "pack-too-big", "too-many-objects", "disk-full", "objects-missing",
    "too-many-pushes", "push-broken",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveSession:
    """git-receive-pack for one authenticated principal, who may push to app_name, and one client."""

    doors: RemoteDoors
    principal: Principal
    app_name: AppName
    wire: Wire
    address: str = ""
    keepalive_s: float = KEEPALIVE_S

    def advertisement(self) -> bytes:
        """What the client is told first; an app that does not exist yet looks like an empty one."""
        app = self.doors.ledger.find_app(self.app_name)
        return make_advertisement(list_refs(self.doors.settings.repo_path(app.id)) if app is not None else {})

    def serve(self) -> bool:
        """A whole conversation over a lasting connection (SSH): True when nothing was refused."""
        try:
            self.wire.write(self.advertisement())
        except OSError:
            return False
        return self.receive()

    def receive(self) -> bool:
        """What follows the advertisement: the request, the pack, the wait, the report. True: nothing was refused."""
        self.wire.set_idle(_IDLE_COMMANDS_S)
        try:
            request = read_request(PktReader(self.wire.read))
        except (EOFError, OSError):
            return False  # the client left before it had asked for anything
        except Problem as problem:
            self._break_off(problem)
            return False
        if request is None:
            return True
        sideband = Sideband(
            self.wire.write,
            is_multiplexed=request.wants(b"side-band-64k"),
            keepalive_s=self.keepalive_s,
        )
        try:
            return self._answer(request, sideband)
        finally:
            sideband.stop()

    def _answer(self, request: PushRequest, sideband: Sideband) -> bool:
        intake = Intake(
            doors=self.doors, principal=self.principal, app_name=self.app_name, wire=self.wire, sideband=sideband
        )
        try:
            taken = intake.take(request)
        except Problem as problem:
            return self._refuse_all(request, sideband, problem.failure)
        except Exception as error:  # noqa: BLE001 -- see below
            # The last net: a bug of ours must still reach the client as a verdict and the operator as a trace.
            _LOG.exception("push to %s", self.app_name)
            return self._refuse_all(
                request, sideband, Failure(code="push-broken", fields={"detail": repr(error)[:200]})
            )
        for one in taken:
            self._audit(one, request)
        self._tell_queue(taken, sideband)
        reports = []
        for one in taken:
            report = self._watch(one, request, sideband)
            if report is None:
                return False
            reports.append(report)
        self._report(request, sideband, reports, unpack_error="")
        return not any(report.cause for report in reports)

    def _watch(self, one: Taken, request: PushRequest, sideband: Sideband) -> RefReport | None:
        """Follow one ref to its end; None when there is nobody left to tell."""
        match one.judgement:
            case Refused(command=command, failure=failure):
                return RefReport(command=command, cause=self._refuse(failure, sideband))
            case NothingToDo(command=command, note=note):
                sideband.line(f"       {note}")
                return RefReport(command=command, cause="")
            case Accepted(command=command) as accepted:
                assert one.build is not None
                build_id = one.build.id
                if b"detach" in request.options:
                    failure = Failure(code="detached", fields={"build": build_id})
                    return RefReport(command=command, cause=self._refuse(failure, sideband))
                printed = self._follow(build_id, sideband)
                if printed is None:
                    return None
                verdict = self.doors.pushes.verdict(build_id)
                if not verdict.ok and verdict.failure is not None and not printed:
                    return RefReport(command=command, cause=self._refuse(verdict.failure, sideband))
                if not verdict.ok:
                    return RefReport(command=command, cause=self._cause(verdict.title, sideband))
                return self._success(accepted, build_id, verdict.old, verdict.new)

    def _follow(self, build_id: int, sideband: Sideband) -> int | None:
        """How many bytes of log went by until the build was final; None when the client or this process goes."""
        printed = 0
        for piece in self.doors.pushes.follow(build_id, from_start=True):
            if piece:
                printed += len(piece)
                sideband.progress(piece)
            elif self.doors.stopping.is_set():
                sideband.fatal(f"restarting; build {build_id} continues: algo builds logs {build_id} -f")
                return None
            if sideband.is_gone:
                return None
        sideband.flush()
        return printed

    def _success(self, accepted: Accepted, build_id: int, old: str, new: str) -> RefReport:
        command = accepted.command
        match accepted.kind:
            case BuildKind.ROLLBACK:
                old, new = self._served_before(build_id) or ZERO_OID, accepted.commit
                return RefReport(command=command, cause="", old=old, new=new)
            case BuildKind.REDEPLOY if accepted.old == accepted.commit:
                # Named after main, or the client would remember a branch `redeploy` that does not exist.
                main = f"refs/heads/{PRODUCTION_BRANCH}"
                return RefReport(command=command, cause="", moved_ref=main, old=accepted.commit, new=accepted.commit)
            case (
                BuildKind.DEPLOY | BuildKind.PUBLISH | BuildKind.REDEPLOY | BuildKind.DELETE | BuildKind.CONFIG
                | BuildKind.REBASE | BuildKind.VERIFY | BuildKind.UPLOAD  # these are asked for over the API alone
            ):  # fmt: skip
                return RefReport(command=command, cause="", old=old, new=new)

    def _served_before(self, build_id: int) -> str | None:
        """The commit that production served before a rollback's release: shows in the push what moved (F9)."""
        ledger = self.doors.ledger
        build = ledger.build(build_id)
        release = ledger.release(build.release_id) if build is not None and build.release_id is not None else None
        if release is None:
            return None
        releases = ledger.releases(release.app_id, environment_id=release.environment_id)
        return next((one.commit for one in releases if one.number < release.number), None)

    def _refuse(self, failure: Failure, sideband: Sideband) -> str:
        for line in explain.lines(failure):
            sideband.line(line)
        return self._cause(explain.title(failure), sideband)

    def _cause(self, title: str, sideband: Sideband) -> str:
        """The `ng` text: the title, and for a client that saw no progress the last lines of it."""
        tail = sideband.take_tail()
        if not tail:
            return title
        return clean_line(f"{title}: {' / '.join(tail[-3:])}")

    def _refuse_all(self, request: PushRequest, sideband: Sideband, failure: Failure) -> bool:
        self.doors.audit.write(
            "push.refuse", actor=self.principal.name, app=str(self.app_name), address=self.address, cause=failure.code,
            refs=[command.git_ref.decode(errors="replace") for command in request.commands[:20]],
        )  # fmt: skip
        cause = self._refuse(failure, sideband)
        reports = [RefReport(command=command, cause=cause) for command in request.commands]
        unpack_error = cause if failure.code in _UNPACK_CODES else ""
        self._report(request, sideband, reports, unpack_error=unpack_error)
        return False

    def _report(
        self, request: PushRequest, sideband: Sideband, reports: Sequence[RefReport], *, unpack_error: str
    ) -> None:
        is_v2 = request.wants(b"report-status-v2")
        is_wanted = is_v2 or request.wants(b"report-status")
        sideband.report(make_report(reports, unpack_error=unpack_error, is_v2=is_v2) if is_wanted else b"")

    def _tell_queue(self, taken: Sequence[Taken], sideband: Sideband) -> None:
        running = self.doors.ledger.running()
        for one in taken:
            build = one.build
            if build is None:
                continue
            ahead = next((other for other in running if _is_same_place(other, build) and other.id < build.id), None)
            if one.is_attached:
                sideband.line(f"       {build.actor} pushed the same already: this follows build {build.id}")
            elif ahead is not None:
                sideband.line(f"       Build {build.id} waits for build {ahead.id} ({ahead.actor})")

    def _audit(self, one: Taken, request: PushRequest) -> None:
        judgement = one.judgement
        self.doors.audit.write(
            "push.judge",
            actor=self.principal.name,
            app=str(self.app_name),
            address=self.address,
            ref=judgement.command.git_ref.decode(errors="replace"),
            old=judgement.command.old,
            new=judgement.command.new,
            options=[option.decode(errors="replace") for option in request.options],
            verdict=_name_of(judgement),
            build=one.build.id if one.build is not None else None,
        )

    def _break_off(self, problem: Problem) -> None:
        """Not the protocol: an ERR line is all that a client would read here (F8)."""
        self.wire.close_read()
        try:
            self.wire.write(make_pkt(b"ERR " + clean_line(explain.sentence(problem.failure)).encode()[:1000]))
        except OSError:
            return  # it left as well


def _is_same_place(one: Build, other: Build) -> bool:
    return (one.app_id, one.env_kind, one.branch) == (other.app_id, other.env_kind, other.branch)


def _name_of(judgement: Judgement) -> str:
    match judgement:
        case Accepted(kind=kind):
            return kind.value
        case Refused(failure=failure):
            return f"refused: {failure.code}"
        case NothingToDo():
            return "nothing to do"
