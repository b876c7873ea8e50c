"""How a phase of the lifecycle fails: an exit code of the specification, and facts.  Pure.

A rule of this whole package: values are NamedTuples, made by keyword. A dataclass would be the house's habit, but
importing dataclasses (with inspect behind it) takes longer than detection itself, and this process starts every push.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """Source  buildpacks/spec platform.md 0.15, "Exit Code"; reference lifecycle platform/exit.go."""

    GENERIC = 1
    ARGUMENTS = 3
    BUILDPACK_API = 12
    NONE_DETECTED = 20
    NONE_DETECTED_WITH_ERRORS = 21
    DETECT = 22
    ANALYZE = 32
    RESTORE = 42
    BUILDPACK_FAILED = 51
    BUILD = 52
    EXPORT = 62
    LAUNCH = 82


class LifecycleError(Exception):
    """Ends the lifecycle with one of the specification's exit codes.

    code    a code of buildpacks.words
    fields  facts for its sentence: strings, numbers, lists of them
    held_output  what the buildpack printed, when it was kept back until now
    """

    def __init__(self, exit_code: ExitCode, code: str, **fields: object) -> None:
        self.exit_code, self.code, self.held_output = exit_code, code, ""
        self.fields: Mapping[str, object] = fields
        super().__init__(f"{code} {fields}")

    @classmethod
    def from_record(cls, exit_code: ExitCode, record: Mapping[str, object], held_output: str = "") -> LifecycleError:
        """The failure that a buildpack recorded: {"code", "fields"}, whose fields may have any name."""
        error = cls(exit_code, str(record["code"]))
        fields = record["fields"]
        error.fields = dict(fields) if isinstance(fields, Mapping) else {}
        error.held_output = held_output
        return error
