"""What our buildpacks share: the folders they are given, the log's grammar, how they fail.

Standard library only, and as little of it as can be: each buildpack is two processes a push.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing, which takes longer to import than a detection takes
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PASS, ERROR, NOT_MINE = 0, 1, 100


class PackFailed(Exception):  # noqa: N818 -- it is data on its way to a person
    """Ends a buildpack: a code of buildpacks.words and its fields."""

    def __init__(self, code: str, **fields: object) -> None:
        self.code, self.fields = code, fields
        super().__init__(f"{code} {fields}")


class NotMine(PackFailed):
    """A detection that fails without an error: another buildpack may know this repository."""


class Context:
    """Where a buildpack works. layers is '' during detection; plan is the plan file to write or to read."""

    __slots__ = ("app", "buildpack", "env", "layers", "plan", "platform")

    def __init__(
        self, *, app: str, layers: str, platform: str, plan: str, buildpack: str, env: Mapping[str, str]
    ) -> None:
        self.app, self.layers, self.platform = app, layers, platform
        self.plan, self.buildpack, self.env = plan, buildpack, env

    def wants(self, name: str) -> list[Mapping[str, object]]:
        """Metadata of every plan entry of a name, in the order of those who asked."""
        import tomllib  # late: detection never reads TOML

        with open(self.plan, "rb") as file:
            entries = tomllib.load(file).get("entries", [])
        return [entry.get("metadata", {}) for entry in entries if entry.get("name") == name]

    def restored(self, layer: str) -> Mapping[str, object]:
        """Metadata that a layer had in the previous image; empty when there was none.

        The reference lifecycle keeps it as JSON and reads every number as a fraction: whole ones are whole again here.
        """
        import tomllib

        try:
            with open(f"{self.layers}/{layer}.toml", "rb") as file:
                metadata = tomllib.load(file).get("metadata", {})
        except FileNotFoundError:
            return {}
        if not isinstance(metadata, dict):
            return {}
        return {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in metadata.items()}

    def write_layer(self, layer: str, types: Sequence[str], metadata: Mapping[str, object]) -> None:
        """<layer>.toml: types of launch, build, cache."""
        self.write_toml(f"{layer}.toml", {"types": dict.fromkeys(types, True), "metadata": metadata})

    def write_toml(self, name: str, document: Mapping[str, object]) -> None:
        """A TOML file in the layers folder."""
        from buildpacks.lifecycle.toml_writer import render_toml

        with open(f"{self.layers}/{name}", "w", encoding="utf-8") as file:
            file.write(render_toml(document))

    def write_env(self, layer: str, folder: str, name: str, value: str) -> None:
        """One environment file of a layer, for example folder 'env.launch', name 'PYTHONPATH.prepend'."""
        os.makedirs(f"{self.layers}/{layer}/{folder}", exist_ok=True)  # noqa: PTH103 -- no pathlib here, see the top
        with open(f"{self.layers}/{layer}/{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(value)


def step(text: str) -> None:
    """A line of the log that says what happens: `-----> text`."""
    sys.stdout.write(f"-----> {text}\n")
    sys.stdout.flush()


def detail(text: str) -> None:
    """A line beneath a step."""
    sys.stdout.write(f"       {text}\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """A line that a user should not overlook; the build goes on."""
    detail(f"Warning: {text}")


def human_size(size_bytes: int) -> str:
    """`4.1 kB`, `213 MB`: three digits at most, powers of ten as on a disk's label."""
    size, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007 -- the last unit is used after the loop
        if size < 1000:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"


def run(main: Callable[[Context], int]) -> int:
    """Call a phase with its folders and turn a PackFailed into an exit status and a record.

    The record goes to ALGO_FAILURE_FILE, whose reader words it; under another platform the words are printed here.
    A buildpack that was packaged alone brings its programs (uv) in its folder tools/.
    """
    env = os.environ
    tools = f"{env['CNB_BUILDPACK_DIR']}/tools"
    if os.path.isdir(tools):  # noqa: PTH112 -- no pathlib here, see the top
        env["PATH"] = f"{tools}:{env.get('PATH', '')}"
    is_build = "CNB_BP_PLAN_PATH" in env
    context = Context(
        app=os.getcwd(),  # noqa: PTH109 -- no pathlib here, see the top
        layers=env.get("CNB_LAYERS_DIR", "") if is_build else "",
        platform=env.get("CNB_PLATFORM_DIR", ""),
        plan=env["CNB_BP_PLAN_PATH"] if is_build else env["CNB_BUILD_PLAN_PATH"],
        buildpack=env["CNB_BUILDPACK_DIR"],
        env=env,
    )
    try:
        return main(context)
    except PackFailed as failed:
        _record(failed, env.get("ALGO_FAILURE_FILE", ""))
        return NOT_MINE if isinstance(failed, NotMine) and not is_build else ERROR


def _record(failed: PackFailed, path: str) -> None:
    import json

    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"code": failed.code, "fields": failed.fields}, file)
        return
    from buildpacks.words import WORDS

    words = WORDS[failed.code]
    fields = {name: ", ".join(map(str, v)) if isinstance(v, list) else v for name, v in failed.fields.items()}
    for line in (words.title, words.body, words.next):
        sys.stdout.write(f" !     {line.format_map(fields)}\n")
