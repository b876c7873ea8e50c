"""The one door to apt and dpkg: packages resolved, fetched and unpacked without root, without running their scripts.

Rules of this file
1. apt works in folders of its own here; of the system it reads the sources, the keys and what is installed.
2. What only this machine or build image happens to have does not count as installed: the base of Debian alone does, so
   that a layer holds the same packages wherever it is made, and a run image that is smaller has what it needs.
3. Signatures are checked by apt, against the keys of the sources.

Sources  apt.conf(5), deb822(5), https://www.debian.org/doc/debian-policy/ch-controlfields.html
"""

# ruff: noqa: PTH103 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_apt.aptfile import Wanted
from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.toolchains.running import passed

STATUS = "/var/lib/dpkg/status"
_UNKNOWN = re.compile(r"Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate")
_VERSION = re.compile(r"Version '([^']+)' for '([^']+)' was not found")
_UNREACHABLE = re.compile(r"Failed to fetch|Could not resolve|Could not connect|Temporary failure|Unable to connect")
_URI = re.compile(r"^'([^']+)' (\S+_\S+\.deb) (\d+)", re.MULTILINE)


class Apt(NamedTuple):
    """apt, with folders of its own below `folder`."""

    folder: str
    env: Mapping[str, str]

    def options(self) -> list[str]:
        """apt's options for those folders."""
        settings = {
            "Dir::State": f"{self.folder}/state", "Dir::State::lists": f"{self.folder}/lists",
            "Dir::State::status": f"{self.folder}/status", "Dir::Cache": f"{self.folder}/cache",
            "Dir::Cache::archives": f"{self.folder}/archives", "Dir::Log": f"{self.folder}/log",
            "Debug::NoLocking": "true", "APT::Install-Recommends": "false", "APT::Install-Suggests": "false",
            "APT::Sandbox::User": "", "Acquire::Languages": "none", "Acquire::Retries": "3",
            # Images of Debian turn these off; with them, a second question costs a third of the first.
            "Dir::Cache::srcpkgcache": f"{self.folder}/cache/srcpkgcache.bin",
            "Dir::Cache::pkgcache": f"{self.folder}/cache/pkgcache.bin",
            # Hooks of the machine's administrator are for its own packages, and need root.
            "DPkg::Post-Invoke": "", "APT::Update::Post-Invoke": "", "APT::Update::Post-Invoke-Success": "",
        }  # fmt: skip
        if self.env.get("DEBIAN_MIRROR"):
            settings["Dir::Etc::sourcelist"] = f"{self.folder}/sources.list"
            settings["Dir::Etc::sourceparts"] = "-"
        bundle = self.env.get("SSL_CERT_FILE", "")
        if bundle:
            settings["Acquire::https::CaInfo"] = bundle
        return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]

    def prepare(self) -> None:
        """Make the folders, and a status file with Debian's base alone."""
        for name in ("state", "lists/partial", "cache", "archives/partial", "log"):
            os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        with open(STATUS, encoding="utf-8", errors="replace") as file:
            kept = base_of(file.read())
        with open(f"{self.folder}/status", "w", encoding="utf-8") as file:
            file.write(kept)
        mirror = self.env.get("DEBIAN_MIRROR", "")
        if mirror:
            with open(f"{self.folder}/sources.list", "w", encoding="utf-8") as file:
                file.write(f"deb {mirror} {_suite()} main\n")

    def update(self) -> None:
        """Read the package lists of the sources. Raises PackFailed: apt-unreachable, apt-failed."""
        self.run(["apt-get", *self.options(), "-qq", "update"], [])

    def resolve(self, wanted: Sequence[Wanted]) -> list[str]:
        """`name_version_arch.deb` of everything to unpack, sorted. Raises PackFailed: apt-unknown, what run raises."""
        text = self._install(wanted, "--print-uris")
        return sorted(match[2] for match in _URI.finditer(text))

    def download(self, wanted: Sequence[Wanted]) -> list[str]:
        """Fetch them; their paths, sorted."""
        self._install(wanted, "--download-only")
        folder = f"{self.folder}/archives"
        return [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(".deb")]

    def unpack(self, archive: str, target: str) -> None:
        """The files of one package below a folder; its scripts do not run."""
        self.run(["dpkg-deb", "-x", archive, target], [])

    def _install(self, wanted: Sequence[Wanted], how: str) -> str:
        packages = [line.package for line in wanted]
        return self.run(
            [
                "apt-get",
                *self.options(),
                "-qq",
                "-y",
                "--reinstall",
                "--no-install-recommends",
                how,
                "install",
                *packages,
            ],
            wanted,
        )

    def run(self, command: Sequence[str], wanted: Sequence[Wanted]) -> str:
        """Run one of Debian's programs; what it said. Raises PackFailed."""
        done = subprocess.run(
            list(command), env={**passed(self.env), "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, cwd=self.folder,
        )  # fmt: skip
        if done.returncode == 0 and not (command[-1] == "update" and _UNREACHABLE.search(done.stderr)):
            return done.stdout
        raise _explain(done.stderr or done.stdout, wanted)


def is_target_here(env: Mapping[str, str]) -> bool:
    """Whether packages of this system are packages of the place that the image is for."""
    here = _os_release()
    for name, key in (("CNB_TARGET_DISTRO_NAME", "ID"), ("CNB_TARGET_DISTRO_VERSION", "VERSION_ID")):
        if env.get(name) and here.get(key) and env[name] != here[key]:
            return False
    return True


def _suite() -> str:
    """Debian's release here, `bookworm`."""
    return _os_release().get("VERSION_CODENAME", "stable")


def _os_release() -> dict[str, str]:
    """What this system says of itself. Source: os-release(5)."""
    with open("/etc/os-release", encoding="utf-8") as file:
        return dict(re.findall(r'^(\w+)="?([^"\n]*)', file.read(), re.MULTILINE))


def _explain(text: str, wanted: Sequence[Wanted]) -> PackFailed:
    match = _UNKNOWN.search(text)
    if match is not None:
        name = match[1] or match[2]
        line = next((line.line for line in wanted if line.name == name), 0)
        return PackFailed("apt-unknown", name=name, line=line)
    match = _VERSION.search(text)
    if match is not None:
        line = next((line.line for line in wanted if line.name == match[2]), 0)
        return PackFailed("apt-unknown", name=f"{match[2]}={match[1]}", line=line)
    last = " / ".join(line.strip() for line in text.splitlines()[-6:])[:1000]
    if _UNREACHABLE.search(text):
        return PackFailed("apt-unreachable", cause=last)
    return PackFailed("apt-failed", output=last)


def base_of(status: str) -> str:
    """The paragraphs of a status file that every Debian has: essential packages and what those depend on."""
    paragraphs: dict[str, str] = {}
    fields: dict[str, dict[str, str]] = {}
    for paragraph in status.split("\n\n"):
        found = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if "Package" in found and found.get("Status", "").endswith(" installed"):
            paragraphs[found["Package"]], fields[found["Package"]] = paragraph, found
    provided = {name: package for package, found in fields.items() for name in _names(found.get("Provides", ""))}
    left = [
        name for name, found in fields.items() if found.get("Essential") == "yes" or found.get("Priority") == "required"
    ]
    kept: set[str] = set()
    while left:
        name = left.pop()
        name = name if name in fields else provided.get(name, "")
        if not name or name in kept:
            continue
        kept.add(name)
        left += _names(f"{fields[name].get('Depends', '')}, {fields[name].get('Pre-Depends', '')}")
    return "".join(f"{paragraphs[name]}\n\n" for name in sorted(kept))


def _names(relation: str) -> list[str]:
    """Names in a Depends or Provides field; of alternatives, all."""
    return [match[1] for part in re.split(r"[,|]", relation) if (match := re.match(r"\s*([a-z0-9][a-z0-9+.-]+)", part))]
