"""The whole environment of a bin/detect or bin/build: what is inherited, what layers and people set, what the contract
tells a script, as far as the API that its buildpack declares knows it.

Source  buildpacks/spec buildpack.md 0.7 to 0.12, "Environment" and the changes of each; contracts 1.1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildpacks.lifecycle.descriptor import Buildpack
from buildpacks.lifecycle.environment import make_build_env
from buildpacks.lifecycle.job import Job

# API with which a variable came. CNB_BUILDPACK_DIR is older than the oldest that we speak.
_SINCE: Mapping[str, tuple[int, int]] = {
    "CNB_PLATFORM_DIR": (0, 8),
    "CNB_BUILD_PLAN_PATH": (0, 8),
    "CNB_LAYERS_DIR": (0, 8),
    "CNB_BP_PLAN_PATH": (0, 8),
    "CNB_TARGET_OS": (0, 10),
    "CNB_TARGET_ARCH": (0, 10),
    "CNB_TARGET_ARCH_VARIANT": (0, 10),
    "CNB_TARGET_DISTRO_NAME": (0, 10),
    "CNB_TARGET_DISTRO_VERSION": (0, 10),
    "CNB_EXEC_ENV": (0, 12),
}
_TARGET_FIELDS = {
    "os": "CNB_TARGET_OS",
    "arch": "CNB_TARGET_ARCH",
    "variant": "CNB_TARGET_ARCH_VARIANT",
    "distro": "CNB_TARGET_DISTRO_NAME",
    "distro_version": "CNB_TARGET_DISTRO_VERSION",
}


def script_env(
    job: Job, pack: Buildpack, layers: Sequence[str], paths: Mapping[str, str], failure_path: str
) -> dict[str, str]:
    """The environment of one script.

    layers        folders of all build=true layers so far, earlier buildpacks first
    paths         CNB_* variables of the script's own files
    failure_path  where a buildpack of ours leaves code and fields of its failure
    """
    env = make_build_env(
        job.env, layers, platform=None if pack.clear_env else job.platform, build_config=job.build_config
    )
    told = {
        **paths,
        "CNB_PLATFORM_DIR": job.platform,
        "CNB_EXEC_ENV": job.exec_env,
        **{_TARGET_FIELDS[field]: value for field, value in job.target.items() if field in _TARGET_FIELDS and value},
    }
    # These names are the platform's: what a layer or a user says under one of them is not what a script may believe.
    kept = {name: value for name, value in env.items() if name not in _SINCE}
    return {
        **kept,
        **{name: value for name, value in told.items() if pack.api >= _SINCE.get(name, (0, 0))},
        "CNB_BUILDPACK_DIR": pack.directory,
        "ALGO_FAILURE_FILE": failure_path,
    }
