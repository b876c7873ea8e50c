"""A Maven project becomes a jar, by the machine's or stack's Maven and JDK.

Rules of this file
1. Of what Maven leaves in target/, jars and folders of libraries stay; classes, reports and its notes go.
2. Every jar is made with one fixed time of its entries, so that the same source is the same layer.
3. The JVM takes its share of the memory that the release has, and ends when that is used up, instead of crawling on.
"""

# ruff: noqa: PTH103 -- no pathlib in buildpacks

from __future__ import annotations

import glob
import os
import shutil
import time
from urllib.parse import unquote, urlsplit

from buildpacks.packs.algo_java.jars import find_jar
from buildpacks.packs.cnb import PASS, Context, PackFailed, detail, human_size, step
from buildpacks.packs.toolchains.running import find_program, passed, refuse_trusted, run_tool, version_of
from buildpacks.packs.toolchains.starts import Start, read_start, start_process

_LEFT_OVER = (
    "classes", "test-classes", "generated-sources", "generated-test-sources", "maven-archiver", "maven-status",
    "surefire-reports", "failsafe-reports", "site",
)  # fmt: skip
_JVM = "-XX:MaxRAMPercentage=70 -XX:+ExitOnOutOfMemoryError"
_TIME = "1980-01-01T00:00:02Z"  # the oldest time that a zip can hold; Source: Maven, reproducible builds


def build(context: Context) -> int:
    """Make target/*.jar, write launch.toml.

    Raises  PackFailed: toolchain-missing, build-tool-failed, what find_jar raises
    """
    refuse_trusted(context.env, "Maven")
    start = read_start(context, "java")
    java = _need(context, "javac", "Java", "default-jdk-headless")
    step(f"Java {'.'.join(map(str, version_of([java, '-version'], passed(context.env))))} (the build's own)")
    # A project's own mvnw would fetch a Maven from a place that it names; the Maven that is here is known.
    maven = _need(context, "mvn", "Maven", "maven")
    repository = f"{context.layers}/repository"
    os.makedirs(repository, exist_ok=True)
    started_at = time.monotonic()
    run_tool(
        [maven, "--batch-mode", "--no-transfer-progress", "-DskipTests", f"-Dmaven.repo.local={repository}",
         f"-Dproject.build.outputTimestamp={_TIME}", *_settings(context), *_proxies(context), "package"],
        context, {**passed(context.env), "MAVEN_OPTS": "-Xmx1g"}, shown="mvn package",
    )  # fmt: skip
    for name in _LEFT_OVER:
        shutil.rmtree(f"{context.app}/target/{name}", ignore_errors=True)
    jars = sorted(glob.glob("target/*.jar", root_dir=context.app))  # noqa: PTH207 -- no pathlib in buildpacks
    size_bytes = sum(os.stat(f"{context.app}/{path}").st_size for path in jars)  # noqa: PTH116 -- no pathlib
    step(f"Built {', '.join(jars) or 'no jar'} ({human_size(size_bytes)}, {time.monotonic() - started_at:.1f} s)")
    if start is not None:
        jar = find_jar(context.app)
        start = Start(jar.command, jar.path)
        detail(f"Web app: {jar.path}, Main-Class {jar.main_class}")
    context.write_layer("repository", ["cache"], {})
    context.write_env("settings", "env.launch", "JAVA_TOOL_OPTIONS.default", _JVM)
    context.write_layer("settings", ["launch"], {})
    start_process(context, start, slices=["target"])
    return PASS


def _need(context: Context, program: str, language: str, package: str) -> str:
    found = find_program(program, context.env)
    if found is None:
        raise PackFailed(
            "toolchain-missing", language=language, wanted=program, why=f"there is no {program}", package=package
        )
    return found


def _settings(context: Context) -> list[str]:
    """Maven's settings with the operator's mirror, which it reads from a file only."""
    mirror = context.env.get("MAVEN_MIRROR", "")
    if not mirror:
        return []
    from xml.sax.saxutils import escape

    path = f"{context.env.get('TMPDIR', context.layers)}/maven-settings.xml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            f"<settings><mirrors><mirror><id>operator</id><mirrorOf>*</mirrorOf><url>{escape(mirror)}</url>"
            "</mirror></mirrors></settings>\n"
        )
    return ["--settings", path]


def _proxies(context: Context) -> list[str]:
    """Java reads its proxies from properties, not from the environment."""
    options = []
    for scheme in ("http", "https"):
        name = f"{scheme}_proxy"
        parts = urlsplit(context.env.get(name) or context.env.get(name.upper()) or "")
        if parts.hostname:
            options += [f"-D{scheme}.proxyHost={parts.hostname}", f"-D{scheme}.proxyPort={parts.port or 80}"]
            if parts.username:
                options += [f"-D{scheme}.proxyUser={unquote(parts.username)}"]
    return options
