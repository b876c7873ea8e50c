"""The real parts of a CI run, all there before its first test: no test's time limit has to hold an installation."""

from __future__ import annotations


def prepare() -> None:
    """Debian's packages, the stack, and the engine with the containerd image store. Fails with what is missing."""
    from tests.services import newer_docker
    from tests.services.debian import need_debian
    from tests.services.stacks import the_stack

    need_debian("docker.io", "docker-registry", "mmdebstrap", "openssl")
    the_stack()
    newer_docker.unpacked()
