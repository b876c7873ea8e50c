"""What the lifecycle is asked for, as a JSON file: every path that it may touch, nothing from its surroundings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from buildpacks.lifecycle.failure import ExitCode, LifecycleError

_PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy"})


class Job(NamedTuple):
    """One run of all phases.

    app, layers, platform, build_config   the folders of the specification
    tmp        plan files, held-back output, failure records; writable
    result     where the result goes, JSON
    order      an order.toml
    buildpacks buildpack directories
    cache      restored cache=true layers: <cache>/metadata.json and <cache>/layers/<id>/<layer>; '' for none
    previous   `buildpacks` of the previous image's lifecycle metadata, as the result's
    env        base values for the allow-list
    sboms      <folder>/<escaped id>/<layer>/sbom.<ext> of the previous image; '' for none
    previous_exec_env  of the previous image: nothing is restored from another one
    timeout_s  what the build has in all; a stranger's buildpack is ended, and named, shortly before; 0: no limit here
    inherits_proxies  whoever started this process decides the way out: its proxy variables count, not env's
    """

    app: str
    layers: str
    platform: str
    build_config: str
    tmp: str
    result: str
    order: str
    buildpacks: tuple[str, ...]
    cache: str
    previous: tuple[Mapping[str, object], ...]
    env: Mapping[str, str]
    target: Mapping[str, str]
    exec_env: str = "production"
    inherits_proxies: bool = False
    detect_timeout_s: float = 60.0
    timeout_s: float = 0.0
    sboms: str = ""
    previous_exec_env: str = "production"


def read_job(path: str) -> Job:
    """The job file. Raises LifecycleError 3 when it is not one."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        document["buildpacks"] = tuple(document["buildpacks"])
        document["previous"] = tuple(document["previous"])
        if document.get("inherits_proxies"):
            document["env"] |= {name: value for name, value in os.environ.items() if name.lower() in _PROXIES}
        return Job(**document)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LifecycleError(ExitCode.ARGUMENTS, "lifecycle-arguments", message=str(error)) from error
