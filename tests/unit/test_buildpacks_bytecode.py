"""Byte-code that is kept per distribution: the same bytes wherever they come from, and only bytes compiled here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from buildpacks.packs import bytecode
from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.compiling import compile_folder

IMAGE_PATH = "/layers/algo_python/deps"
SITE = "lib/python3.11/site-packages"
COMPILER = json.dumps({"argv": [sys.executable], "env": {}})

# Names that the interpreter, the compiler's script or a neighbour may have in use: marshal looks at how many use them.
ONE = {
    "one/__init__.py": "from two import fileno, readinto\n\ndef f(x, *, key=None):\n    return [x, key, 'utf-8', 3]\n",
    "one/sub/deep.py": "class A:\n    strict = 'surrogateescape'\n    def _fork(self): return self.split, 'RECORD'\n",
}
TWO = {"two/__init__.py": "fileno = readinto = 'marshal'\ndef f(x, key): return x in {'utf-8', 'one', key, None}\n"}
MANY = {
    f"many/m{number}.py": f"def f{number}(key): return key, 'name{number % 7}', {number}.5\n" for number in range(150)
}


def install(folder: Path, name: str, files: Mapping[str, str], *, record: Mapping[str, str] | None = None) -> Path:
    """A distribution as an installer leaves it; record: what RECORD claims, when that is not the truth."""
    site = folder / SITE
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text("".join(f"{path},sha256=as-you-like,1\n" for path in record or files))
    return folder


def compile_into(folder: Path, cache: Path | None) -> dict[str, bytes]:
    if cache is not None:
        cache.mkdir(exist_ok=True)
    compile_folder(COMPILER, str(folder), IMAGE_PATH, "" if cache is None else str(cache))
    return {str(path.relative_to(folder / SITE)): path.read_bytes() for path in folder.rglob("*.pyc")}


def made_file(source: str) -> str:
    return importlib.util.cache_from_source(source)


def entries(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


@pytest.fixture(name="cache")
def _cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_byte_code_is_the_same_alone_among_others_compiled_now_or_kept(tmp_path: Path, cache: Path) -> None:
    everything = {"one": ONE, "two": TWO, "many": MANY}
    alone: dict[str, bytes] = {}
    for name, files in everything.items():
        alone |= compile_into(install(tmp_path / f"alone-{name}", name, files), None)

    def together(folder: str, names: list[str]) -> Path:
        for name in names:
            install(tmp_path / folder, name, everything[name])
        return tmp_path / folder

    assert len(alone) == len(ONE) + len(TWO) + len(MANY)
    assert compile_into(together("forwards", ["one", "two", "many"]), None) == alone
    assert compile_into(together("some", ["two"]), cache) == {
        made_file("two/__init__.py"): alone[made_file("two/__init__.py")]
    }
    assert compile_into(together("the rest compiled", ["many", "two", "one"]), cache) == alone
    assert compile_into(together("all kept", ["one", "many", "two"]), cache) == alone


def test_what_is_kept_is_not_compiled_again(tmp_path: Path, cache: Path) -> None:
    first = compile_into(install(tmp_path / "first", "one", ONE), cache)
    (entry,) = entries(cache)
    marks = [b"byte-code of %d" % number for number in range(len(ONE))]
    bytecode.write_entry(os.fsencode(cache), os.fsencode(entry.name), marks)
    install(tmp_path / "second", "one", ONE)
    second = compile_into(install(tmp_path / "second", "two", TWO), cache)
    assert sorted(second[path] for path in first) == marks
    assert second[made_file("two/__init__.py")].startswith(importlib.util.MAGIC_NUMBER)


def test_a_layer_shares_no_inode_with_what_is_kept(tmp_path: Path, cache: Path) -> None:
    for folder in ("first", "second"):
        compile_into(install(tmp_path / folder, "one", ONE), cache)
    assert {path.stat().st_nlink for path in tmp_path.rglob("*") if path.is_file()} == {1}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: b"",
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        lambda data: data[:32] + b"\xff\xff\xff\xff" + data[36:],
        lambda data: data + b"x",
    ],
    ids=["a byte short", "cut off in its digest", "empty", "one bit", "another length", "longer"],
)  # fmt: skip
def test_a_damaged_entry_is_noticed_and_made_again(
    tmp_path: Path, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    whole = compile_into(install(tmp_path / "first", "one", ONE), cache)
    (entry,) = entries(cache)
    kept = entry.read_bytes()
    entry.write_bytes(damage(kept))
    assert compile_into(install(tmp_path / "second", "one", ONE), cache) == whole
    assert entries(cache) == [entry]
    assert entry.read_bytes() == kept


def test_an_entry_under_the_name_of_another_is_damaged(tmp_path: Path, cache: Path) -> None:
    compile_into(install(tmp_path / "first", "one", {"a.py": "x = 1\n"}), cache)
    (other,) = entries(cache)
    right = compile_into(install(tmp_path / "right", "one", {"a.py": "x = 2\n"}), None)
    compile_into(install(tmp_path / "second", "one", {"a.py": "x = 2\n"}), cache)
    (entry,) = set(entries(cache)) - {other}
    entry.write_bytes(other.read_bytes())
    assert compile_into(install(tmp_path / "third", "one", {"a.py": "x = 2\n"}), cache) == right


def test_a_record_that_claims_to_be_another_distribution_is_not_believed(tmp_path: Path, cache: Path) -> None:
    right = compile_into(install(tmp_path / "right", "one", ONE), None)
    compile_into(install(tmp_path / "evil", "one", dict.fromkeys(ONE, "import evil\n"), record=ONE), cache)
    assert compile_into(install(tmp_path / "victim", "one", ONE), cache) == right


def test_byte_code_that_a_wheel_brings_along_reaches_nobody(tmp_path: Path, cache: Path) -> None:
    """The same sources as everybody's, one of them for another Python, each with byte-code of its author's choice."""
    files = {**ONE, "one/py2.py": "print 'of Python 2'\n"}
    right = compile_into(install(tmp_path / "right", "one", files), None)
    assert made_file("one/py2.py") not in right
    evil = install(tmp_path / "evil", "one", files)
    for path in files:
        planted = evil / SITE / made_file(path)
        planted.parent.mkdir(exist_ok=True)
        planted.write_bytes(b"evil")
    assert compile_into(evil, cache) == right
    assert compile_into(install(tmp_path / "victim", "one", files), cache) == right
    again = install(tmp_path / "again", "one", files)
    (again / SITE / made_file("one/py2.py")).parent.mkdir()
    (again / SITE / made_file("one/py2.py")).write_bytes(b"evil")
    assert compile_into(again, cache) == right


def test_a_record_with_files_of_a_neighbour_takes_nothing_from_it(tmp_path: Path, cache: Path) -> None:
    folder = install(tmp_path / "first", "one", ONE)
    made = compile_into(install(folder, "two", TWO, record={**ONE, **TWO, "../../../../../etc/x.py": ""}), cache)
    assert sorted(made) == sorted(made_file(path) for path in (*ONE, *TWO))


def test_sources_that_no_record_names_have_byte_code_too(tmp_path: Path, cache: Path) -> None:
    folder = install(tmp_path / "first", "one", ONE)
    (folder / SITE / "a, quoted name.py").write_text("x = 1\n")
    (folder / SITE / "_virtualenv.py").write_text("y = 1\n")
    made = compile_into(folder, cache)
    assert {made_file("a, quoted name.py"), made_file("_virtualenv.py")} <= set(made)


def test_another_place_in_the_image_is_another_entry(tmp_path: Path, cache: Path) -> None:
    compile_into(install(tmp_path / "first", "one", ONE), cache)
    folder = install(tmp_path / "second", "one", ONE)
    compile_folder(COMPILER, str(folder), "/somewhere/else", str(cache))
    assert len(entries(cache)) == 2
    assert b"/somewhere/else/" in (folder / SITE / made_file("one/__init__.py")).read_bytes()


def test_tests_stay_source_and_what_does_not_compile_is_left_alone(tmp_path: Path, cache: Path) -> None:
    files = {**ONE, "one/tests/test_a.py": "x = 1\n", "one/template.py": "{{ name }} = (\n", "one/nul.py": "x = '\0'\n"}
    for folder in ("compiled", "kept"):
        made = compile_into(install(tmp_path / folder, "one", files), cache)
        assert sorted(made) == sorted(made_file(path) for path in ONE)


def test_a_link_to_nowhere_is_no_reason_to_end(tmp_path: Path, cache: Path) -> None:
    folder = install(tmp_path / "first", "one", ONE)
    (folder / SITE / "one" / "gone.py").symlink_to("/nowhere/at/all.py")
    assert sorted(compile_into(folder, cache)) == sorted(made_file(path) for path in ONE)


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    folder = install(tmp_path / "first", "one", ONE)
    compile_folder(COMPILER, str(folder), IMAGE_PATH, str(no_folder))
    assert (folder / SITE / made_file("one/__init__.py")).is_file()
    assert "Byte-code was not kept for later: Not a directory" in capfd.readouterr().err


def test_two_builds_at_once_keep_the_same(tmp_path: Path, cache: Path) -> None:
    cache.mkdir()
    folders = [install(tmp_path / f"at once {number}", "many", MANY) for number in range(3)]
    running = [
        subprocess.Popen([sys.executable, "-s", "-S", bytecode.__file__, str(folder), IMAGE_PATH, str(cache)],
                         env={"PYTHONHASHSEED": "0"})
        for folder in folders
    ]  # fmt: skip
    assert [process.wait(60) for process in running] == [0] * len(folders)
    (entry,) = entries(cache)
    kept = entry.read_bytes()
    alone = compile_into(install(tmp_path / "alone", "many", MANY), None)
    for folder in folders:
        assert {path.name: path.read_bytes() for path in folder.rglob("*.pyc")} == {
            Path(path).name: data for path, data in alone.items()
        }
    assert bytecode.read_entry(os.fsencode(cache), os.fsencode(entry.name), len(MANY)) is not None
    assert entry.read_bytes() == kept


def test_the_cache_stays_within_its_bound_and_keeps_what_is_used(tmp_path: Path, cache: Path) -> None:
    cache.mkdir()
    keys = [f"{number:064x}".encode() for number in range(4)]
    for age, key in enumerate(keys):
        bytecode.write_entry(os.fsencode(cache), key, [bytes(1000)])
        os.utime(cache / key.decode(), (1000 + age, 1000 + age))
    (cache / "draft-of-a-killed-build").write_bytes(bytes(1000))
    os.utime(cache / "draft-of-a-killed-build", (999, 999))
    assert bytecode.read_entry(os.fsencode(cache), keys[0], 1) is not None  # used: young again
    bytecode.trim(os.fsencode(cache), 2200)
    assert [path.name.encode() for path in entries(cache)] == [keys[0], keys[3]]


def test_an_interpreter_that_fails_is_named() -> None:
    with pytest.raises(PackFailed) as caught:
        compile_folder(json.dumps({"argv": ["/bin/false"], "env": {}}), "/nowhere", IMAGE_PATH)
    assert caught.value.code == "python-broken"


def test_byte_code_that_cannot_be_written_ends_the_build(tmp_path: Path, cache: Path) -> None:
    """A file that cannot be written where byte-code belongs: nothing is left out silently."""
    folder = install(tmp_path / "first", "one", ONE)
    (folder / SITE / "one" / "__pycache__").write_text("a file of that name")
    with pytest.raises(PackFailed) as caught:
        compile_into(folder, cache)
    assert caught.value.code == "python-broken"
    assert entries(cache) == []
