"""Descriptors, targets, orders with composites in them, and detection."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.lifecycle.descriptor import Target, read_buildpack
from buildpacks.lifecycle.failure import LifecycleError
from buildpacks.lifecycle.ordering import is_for_target
from tests.contract.lifecycle_house import House, ids
from tests.contract.lifecycle_platform import PACKS

HERE = Target(os="linux", arch="amd64", distros=(("debian", "12"),))


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> House:
    return House(tmp_path)


def describe(tmp_path: Path, text: str, *, has_build: bool = True) -> Path:
    if has_build:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "build").write_text("")
    (tmp_path / "buildpack.toml").write_text(text)
    return tmp_path


def head(api: str = "0.10", pack_id: str = "t/a", version: str = "1.0.0", more: str = "") -> str:
    return f'api = "{api}"\n[buildpack]\nid = "{pack_id}"\nversion = "{version}"\n{more}'


@pytest.mark.conformance("1.2-descriptor")
def test_a_descriptor_with_everything_in_it_is_read() -> None:
    pack = read_buildpack(str(PACKS / "tools"))
    assert (pack.id, pack.version, pack.name, pack.api) == ("demo/tools", "1.2.3", "Tools", (0, 12))
    assert pack.sbom_formats == ("application/vnd.cyclonedx+json",)
    assert (pack.exec_env, pack.targets, pack.metadata) == (("*",), (Target(os="linux"),), {"greeting": "hello"})
    composite = read_buildpack(str(PACKS / "all"))
    assert [[(entry.id, entry.optional) for entry in group] for group in composite.order] == [
        [("demo/tools", False), ("demo/server", False), ("demo/shell", True)],
        [("demo/tools", False), ("demo/shell", False)],
    ]


@pytest.mark.conformance("1.2-descriptor")
@pytest.mark.parametrize("form", ['exec-env = ["test"]', '[[buildpack.exec-env]]\nname = "test"'])
def test_execution_environments_are_read_in_both_forms(tmp_path: Path, form: str) -> None:
    assert read_buildpack(str(describe(tmp_path, head(more=form)))).exec_env == ("test",)


@pytest.mark.conformance("1.2-api")
@pytest.mark.parametrize(("api", "status"), [("0.7", 0), ("0.12", 0), ("0.6", 12), ("0.13", 12), ("1", 12), ("x", 1)])
def test_an_api_is_spoken_or_refused_with_12(tmp_path: Path, api: str, status: int) -> None:
    folder = describe(tmp_path, head(api=api))
    if status == 0:
        assert read_buildpack(str(folder)).api == tuple(map(int, api.split(".")))
        return
    with pytest.raises(LifecycleError) as caught:
        read_buildpack(str(folder))
    assert caught.value.exit_code == status


@pytest.mark.conformance("1.2-id")
@pytest.mark.parametrize(
    ("pack_id", "version", "ok"),
    [
        ("a/b.c-d", "1.0.0", True), (".a/-/b..c", "10.0.30", True), ("app", "1.0.0", False), ("SBOM", "1.0.0", False),
        ("config", "1.0.0", False), ("generated", "1.0.0", False), ("..", "1.0.0", False), ("a//b", "1.0.0", False),
        ("/a", "1.0.0", False), ("a_b", "1.0.0", False), ("", "1.0.0", False), ("a", "1.0", False), ("a", "", False),
        ("a/", "1.0.0", False), ("a/..", "1.0.0", False), ("./a", "1.0.0", False), ("a\\n", "1.0.0", False),
        ("a", "1.2.3-rc.1", False), ("a", "1.2.3+b", False), ("a", "01.2.3", False), ("a", "1.2.3.4", False),
        ("a", "1.2.\u0663", False), ("a", "v1.2.3", False),
    ],
)  # fmt: skip
def test_ids_and_versions_are_the_specifications_and_never_another_folder(
    tmp_path: Path, pack_id: str, version: str, ok: bool
) -> None:
    folder = describe(tmp_path, head(pack_id=pack_id, version=version))
    if ok:
        assert read_buildpack(str(folder)).escaped_id == pack_id.replace("/", "_")
        return
    with pytest.raises(LifecycleError) as caught:
        read_buildpack(str(folder))
    assert caught.value.code == "buildpack-bad"


@pytest.mark.conformance("1.2-id")
def test_two_ids_that_differ_by_the_case_of_their_letters_are_refused(house: House) -> None:
    house.pack("a")
    house.pack("A")
    status, code, fields = house.failure("a")
    assert (status, code) == (1, "buildpack-bad")
    assert fields == {"file": "t/A", "message": "its id is t/a in other letters"}


@pytest.mark.conformance("1.2-default-target", "1.1-0.10")
@pytest.mark.parametrize(
    ("api", "more", "has_build", "targets"),
    [
        ("0.10", "", True, (Target(os="linux"),)),
        ("0.10", "", False, ()),
        ("0.9", '[[stacks]]\nid = "*"', True, (Target(),)),
        ("0.9", '[[stacks]]\nid = "other"', True, (Target(os="linux"),)),
        (
            "0.9", '[[stacks]]\nid = "io.buildpacks.stacks.bionic"', True,
            (Target(os="linux", arch="amd64", distros=(("ubuntu", "18.04"),)),),
        ),
        ("0.9", '[[stacks]]\nid = "io.buildpacks.stacks.bionic"\n[[stacks]]\nid = "o"', True, (Target(os="linux"),)),
        ("0.10", '[[targets]]\narch = "arm64"\n[[stacks]]\nid = "*"', True, (Target(arch="arm64"),)),
    ],
)  # fmt: skip
def test_what_a_buildpack_without_targets_is_made_for(
    tmp_path: Path, api: str, more: str, has_build: bool, targets: tuple[Target, ...]
) -> None:
    folder = describe(tmp_path, head(api=api, more=more), has_build=has_build)
    assert read_buildpack(str(folder)).targets == targets


@pytest.mark.conformance("1.2-target-match")
@pytest.mark.parametrize(
    ("target", "matches"),
    [
        ("", True), ('arch = "amd64"', True), ('arch = "arm64"', False), ('os = "windows"', False),
        ('[[targets.distros]]\nname = "debian"\nversion = "12"', True),
        ('[[targets.distros]]\nname = "debian"', True),
        ('[[targets.distros]]\nname = "ubuntu"\n[[targets.distros]]\nname = "debian"\nversion = "12"', True),
        ('[[targets.distros]]\nname = "debian"\nversion = "11"', False),
    ],
)  # fmt: skip
def test_a_field_that_is_absent_on_either_side_matches(tmp_path: Path, target: str, matches: bool) -> None:
    pack = read_buildpack(str(describe(tmp_path, head(more=f"[[targets]]\n{target}"))))
    assert is_for_target(pack, HERE) is matches
    assert is_for_target(pack, Target()) is True


@pytest.mark.conformance("1.2-target-match")
def test_a_required_buildpack_for_another_platform_fails_its_group_and_an_optional_one_runs(house: House) -> None:
    other = '[[targets]]\narch = "arm64"\n'
    house.pack("required", head=other, detect="echo x > ../required-ran")
    house.pack("optional", head=other)
    house.pack("a")
    assert ids(house.ok("required a", "optional? a")) == ["t/optional", "t/a"]
    assert not (house.root / "required-ran").exists()
    assert house.run("required")[0] == 21


@pytest.mark.conformance("1.2-order")
def test_a_composite_is_expanded_depth_first_and_an_optional_one_may_be_left_out(house: House) -> None:
    house.packs = [PACKS / name for name in ("tools", "server", "shell", "all")]
    house.pack("a")
    for files, wanted in (
        (("plain.txt", "shell.txt"), ["demo/tools", "demo/server", "demo/shell", "t/a"]),
        (("plain.txt",), ["demo/tools", "demo/server", "t/a"]),
        ((), ["t/a"]),
    ):
        for name in ("plain.txt", "shell.txt"):
            (house.root / "app" / name).unlink(missing_ok=True)
        for name in files:
            (house.root / "app" / name).write_text("")
        assert ids(house.ok("demo/all? t/a")) == wanted


@pytest.mark.conformance("1.2-order")
def test_an_order_that_contains_itself_or_a_stranger_is_refused(house: House) -> None:
    folder = house.root / "packs" / "self"
    folder.mkdir(parents=True)
    (folder / "buildpack.toml").write_text(head(pack_id="t/self") + '[[order]]\n[[order.group]]\nid = "t/self"\n')
    house.add(folder)
    for group, words in (("self", "contains itself"), ("nobody", "is not there")):
        status, code, fields = house.failure(group)
        assert (status, code) == (1, "buildpack-bad")
        assert words in str(fields["message"])


@pytest.mark.conformance("1.2-order", "1.9-extensions")
def test_extensions_of_an_order_change_no_group(house: House) -> None:
    house.pack("a")
    house.order_tail = '[[order-extensions]]\n[[order-extensions.group]]\nid = "t/e"\nversion = "1.0.0"\n'
    assert ids(house.ok("a")) == ["t/a"]


@pytest.mark.conformance("1.2-exec-env", "1.1-0.12")
def test_a_buildpack_for_another_execution_environment_is_skipped_without_a_word(house: House) -> None:
    house.pack("test", head='exec-env = ["test"]\n', api="0.12")
    house.pack("any", head='exec-env = ["*"]\n', api="0.12")
    house.pack("a", build='echo "$CNB_EXEC_ENV" > ../seen', api="0.12")
    assert ids(house.ok("test any a")) == ["t/any", "t/a"]
    assert house.read("seen") == "production\n"
    assert ids(house.ok("test any a", exec_env="test")) == ["t/test", "t/any", "t/a"]


@pytest.mark.conformance("1.3-statuses")
def test_an_optional_buildpack_that_errs_is_left_out_and_its_last_words_are_said(house: House) -> None:
    house.pack("bad", detect="echo why; exit 3")
    house.pack("quiet", detect="echo not mine; exit 100")
    house.pack("a", detect="echo fine")
    output = house.run("bad? quiet? a")[2]
    assert "Warning: t/bad@1.0.0 is left out: its detection ended with status 3\n       why\n" in output
    assert "fine" not in output
    assert "not mine" not in output


@pytest.mark.conformance("1.3-once")
def test_a_buildpack_that_is_already_in_the_group_is_not_there_twice_and_groups_run_side_by_side(house: House) -> None:
    # Each waits for the other's mark: one after the other they would wait for ever.
    wait = "echo x >> ../{0}; n=0; while [ ! -e ../{1} ] && [ $n -lt 500 ]; do sleep 0.01; n=$((n+1)); done"
    wait += "; [ $n -lt 500 ]"
    house.pack("a", detect=wait.format("a", "b"))
    house.pack("b", detect=wait.format("b", "a"))
    assert ids(house.ok("a b a")) == ["t/a", "t/b"]
    assert (house.read("a"), house.read("b")) == ("x\n", "x\n")


@pytest.mark.conformance("1.3-plan")
def test_a_plan_with_alternatives_is_met_by_the_first_that_fits(house: House) -> None:
    house.packs = [PACKS / "tools"]
    (house.root / "app" / "plain.txt").write_text("")
    house.pack("a")
    # Nobody requires the tool: the second alternative, which provides nothing, is taken.
    assert ids(house.ok("demo/tools t/a")) == ["demo/tools", "t/a"]


@pytest.mark.conformance("1.3-or", "1.1-0.11")
def test_requires_version_is_refused_whatever_the_api(house: House) -> None:
    for number, api in enumerate(("0.7", "0.12")):
        house.pack(f"a{number}", api=api, detect='printf \'[[requires]]\\nname = "x"\\nversion = "1"\\n\' > "$2"')
        status, _, fields = house.failure(f"a{number}")
        assert status == 22
        assert "requires.metadata.version" in str(fields["message"])
