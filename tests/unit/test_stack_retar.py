"""A Debian root file system becomes a layer: the same packages, the same bytes."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from pathlib import Path

from buildpacks.image.tar import MTIME_S
from buildpacks.stack.retar import Seen, difference_layer, parse_os_release, whole_layer
from buildpacks.stack.unpack import unpack_layer

PYC = b"\xa7\x0d\x0d\x0a"
OS_RELEASE = 'ID=debian\nVERSION_ID="12"\n# a remark\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
BASE = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\n",
    "etc/group": b"root:x:0:\n",
    "usr/lib/os-release": OS_RELEASE.encode(),
    "usr/lib/python3/__pycache__/a.cpython-311.pyc": PYC + b"\x03\0\0\0" + b"hash-of-it" + b"code",
    "usr/lib/python3/__pycache__/b.cpython-311.pyc": PYC + b"\0\0\0\0" + b"mtime+size" + b"code",
    "usr/share/doc/bash/copyright": b"GPL",
    "var/lib/dpkg/status": b"Package: bash\n",
}
MACHINE = {
    "etc/hostname": b"builder",
    "etc/resolv.conf": b"nameserver 10.0.0.1",
    "etc/machine-id": b"123",
    "etc/apt/sources.list": b"deb http://mirror",
    "var/lib/apt/lists/x": b"lists",
    "var/cache/ldconfig/aux-cache": b"aux",
    "var/log/dpkg.log": b"today",
    "var/lib/dpkg/status-old": b"old",
    "usr/share/doc/bash/README": b"read",
    "usr/share/man/man1/bash.1.gz": b"man",
    "usr/share/locale/de/LC_MESSAGES/bash.mo": b"mo",
    "root/.profile": b"kept",
}


def debian(files: dict[str, bytes], *, mtime_s: int = 5, extra: tuple[tarfile.TarInfo, ...] = ()) -> io.BytesIO:
    """A tar as mmdebstrap writes it: `./` before each name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mtime, info.uname, info.mode = len(content), mtime_s, "someone", 0o4755
            info.pax_headers = {"SCHILY.xattr.user.x": str(mtime_s)}
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    out.seek(0)
    return out


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def layer(source: io.BytesIO, seen: Seen | None = None) -> bytes:
    return b"".join(whole_layer(source, seen if seen is not None else Seen()))


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def content(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def lay(root: Path, data: bytes) -> None:
    unpack_layer(iter([data]), f"sha256:{hashlib.sha256(data).hexdigest()}", root)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_a_machine_left_behind_does_not_change_the_layer() -> None:
    here = debian({**BASE, **MACHINE}, mtime_s=1_700_000_000)
    there = debian({**BASE, **MACHINE, "etc/hostname": b"other", "var/log/apt.log": b"x"}, mtime_s=1_800_000_000)
    assert layer(here) == layer(there)


def test_logs_caches_manuals_and_host_names_are_gone_and_licences_stay() -> None:
    names = set(members(layer(debian({**BASE, **MACHINE}))))
    assert names & set(MACHINE) == {"root/.profile"}
    assert {"usr/share/doc/bash/copyright", "var/lib/dpkg/status"} <= names


def test_times_setuid_bits_names_and_extended_attributes_are_gone() -> None:
    for member in members(layer(debian(BASE))).values():
        assert (member.mtime, member.mode & 0o6000, member.uname, member.pax_headers) == (MTIME_S, 0, "", {})


def test_devices_are_left_out() -> None:
    null = special("./dev/null", tarfile.CHRTYPE)
    pipe = special("./run/pipe", tarfile.FIFOTYPE)
    assert not {"dev/null", "run/pipe"} & set(members(layer(debian(BASE, extra=(null, pipe)))))


def test_the_image_has_a_user_with_a_home() -> None:
    data = layer(debian(BASE))
    assert content(data, "etc/passwd").decode().splitlines()[-1] == "algo:x:1000:1000::/home/algo:/bin/sh"
    assert content(data, "etc/group").decode().splitlines()[-1] == "algo:x:1000:"
    home = members(data)["home/algo"]
    assert (home.isdir(), home.uid, home.gid) == (True, 1000, 1000)


def test_byte_code_is_never_checked_and_byte_code_bound_to_a_time_is_left_out() -> None:
    data = layer(debian(BASE))
    assert content(data, "usr/lib/python3/__pycache__/a.cpython-311.pyc")[:8] == PYC + b"\x01\0\0\0"
    assert "usr/lib/python3/__pycache__/b.cpython-311.pyc" not in members(data)


def test_a_hard_link_becomes_a_link_that_any_engine_unpacks() -> None:
    same = special("./usr/bin/other", tarfile.LNKTYPE, "./usr/lib/os-release")
    member = members(layer(debian(BASE, extra=(same,))))["usr/bin/other"]
    assert (member.issym(), member.linkname) == (True, "../lib/os-release")


def test_the_difference_over_the_run_image_gives_the_build_image(tmp_path: Path) -> None:
    gone = {"opt/old/a": b"1", "opt/old/b": b"2", "opt/stays": b"3", "var/lib/dpkg/info": b"same"}
    new = {
        "usr/bin/gcc": random.Random(4).randbytes(5 << 20),
        "var/lib/dpkg/status": b"Package: gcc\n",
        "opt/stays": b"3",
        "var/lib/dpkg/info": b"same",
    }
    seen = Seen()
    run = layer(debian({**BASE, **gone}), seen)
    difference = b"".join(difference_layer(debian({**BASE, **new}), seen))
    assert "opt/stays" not in members(difference)
    assert "var/lib/dpkg/info" not in members(difference)
    (tmp_path / "both").mkdir()
    (tmp_path / "whole").mkdir()
    lay(tmp_path / "both", run)
    lay(tmp_path / "both", difference)
    lay(tmp_path / "whole", layer(debian({**BASE, **new})))
    assert tree(tmp_path / "both") == tree(tmp_path / "whole")


def test_a_layer_is_a_whole_number_of_tar_records() -> None:
    assert len(layer(debian(BASE))) % 10240 == 0


def test_os_release_is_read_with_its_quotes() -> None:
    seen = Seen()
    layer(debian(BASE), seen)
    assert parse_os_release(seen.texts["usr/lib/os-release"]) == {
        "ID": "debian",
        "VERSION_ID": "12",
        "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
    }
