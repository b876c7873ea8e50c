"""When pins are older than every Python at hand: another Python, or one refusal that names all of them."""

from __future__ import annotations

from buildpacks.packs.algo_python.interpreter import Interpreter, candidates
from buildpacks.packs.algo_python.manager import Manager
from buildpacks.packs.algo_python.survey import Survey, survey_pins
from buildpacks.packs.algo_python.wanted import Wanted, satisfies
from buildpacks.packs.cnb import Context, PackFailed, step

_ABOUT_WHEELS = frozenset({
    "needs-source-build", "no-wheel", "source-build-failed", "needs-other-python", "requirement-missing",
    "requirements-conflict", "requirement-version-missing",
})  # fmt: skip


def find_other_python(
    context: Context, manager: Manager, wanted: Wanted, python: Interpreter, failed: PackFailed
) -> Interpreter | None:
    """A Python at hand that every pin has a wheel for, said in the log; None: the failure stands.

    failed  what resolving for `python` ended with
    Raises  PackFailed: pins-dead or pins-other-python where no build can help, packages-missing
    """
    if failed.code not in _ABOUT_WHEELS:
        return None
    survey = survey_pins(context, manager, python)
    if len(survey.missing) > 1 or (survey.missing and manager.kind == "conda"):
        raise PackFailed(
            "packages-missing", file=manager.file, names=[pin.partition("==")[0] for pin in survey.missing]
        )
    if not survey.dead:
        return None
    for other in candidates(context.env, ""):
        allowed = not wanted.spec or satisfies(other.version, wanted.spec)
        if allowed and other.minor != python.minor and survey.fits(other.minor):
            reason = survey.dead[0].sentence()
            more = f" and {len(survey.dead) - 1} more pins" if len(survey.dead) > 1 else ""
            step(f"Python {other.minor} in place of {python.minor}: {reason}{more}")
            return other
    is_last_chance = failed.code == "source-build-failed" or context.env.get("ALGO_WHEELS_ONLY") != "1"
    if is_last_chance or survey.is_hopeless:
        built = failed.code == "source-build-failed"
        tried = f"; building {failed.fields['name']} from source failed" if built else ""
        raise _dead(context, survey, python.minor, _asked(wanted), tried=tried) from failed
    return None


def refuse_dead_pins(context: Context, manager: Manager, wanted: Wanted, failed: PackFailed) -> None:
    """The Python that is asked for is not here: say at once what the pins need, so that nobody changes one in vain.

    Raises  PackFailed('pins-dead' | 'pins-other-python') when pins have no wheel for the Python at hand; else returns
    """
    if failed.code != "python-missing" or not manager.named:
        return
    import os

    os.makedirs(f"{context.layers}/scratch", exist_ok=True)  # noqa: PTH103 -- no pathlib in buildpacks
    here = next(iter(candidates(context.env, "")), None)
    survey = survey_pins(context, manager, here) if here is not None else None
    if here is not None and survey is not None and survey.dead:
        asked = f"{wanted.reason} asks for Python {failed.fields['wanted']}, which is not here"
        raise _dead(context, survey, here.minor, asked) from failed


def _asked(wanted: Wanted) -> str:
    return f"asked for by {wanted.reason}" if wanted.spec else "the default, for nothing asks for another"


def _dead(context: Context, survey: Survey, minor: str, asked: str, *, tried: str = "") -> PackFailed:
    together = sorted(
        set.intersection(*(set(pin.pythons) for pin in survey.dead)), key=lambda text: int(text.partition(".")[2])
    )
    here = list(dict.fromkeys(python.minor for python in candidates(context.env, "")))
    fits = f"All of them had wheels for Python {', '.join(together)}" if together else "No one Python had all of them"
    more = f" and {len(survey.dead) - 1} more" if len(survey.dead) > 1 else ""
    found = [text for text in together if text in here]
    fields: dict[str, object] = {
        "which": f"{survey.dead[0].pin}{more}", "asked": asked, "python": minor,
        "pins": [pin.sentence() for pin in survey.dead], "fits": fits + tried, "available": here,
    }  # fmt: skip
    if found:
        return PackFailed("pins-other-python", other=found[-1], **fields)
    return PackFailed("pins-dead", **fields)
