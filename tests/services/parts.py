"""The real parts of a CI run, all there before its first test: no test's time limit has to hold an installation."""

from __future__ import annotations


def prepare() -> None:
    """Debian's packages, the stack, the engine with the containerd image store, models, the reference lifecycle.

    Fails with what is missing.
    """
    from tests.services import newer_docker, reference
    from tests.services.debian import need_debian
    from tests.services.model_makers import FAMILIES, model_cases
    from tests.services.stacks import the_stack

    need_debian("docker.io", "docker-registry", "mmdebstrap", "openssl")
    the_stack()
    newer_docker.unpacked()
    reference.programs()
    for family in FAMILIES:
        model_cases(family)
