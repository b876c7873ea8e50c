"""What a bin/build may leave behind, and which environment the next one gets of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.contract.lifecycle_house import PATH, House, packs_of

CDX = 'sbom-formats = ["application/vnd.cyclonedx+json"]\n'


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> House:
    return House(tmp_path)


def write(path: str, text: str) -> str:
    """A line of a bin/build that writes a file into its layers folder."""
    return f"cat > \"$1/{path}\" <<'END'\n{text}\nEND\n"


def layer(name: str, *types: str) -> str:
    """Lines of a bin/build that make a layer of these types."""
    return f'mkdir -p "$1/{name}"\n' + write(f"{name}.toml", "[types]\n" + "".join(f"{t} = true\n" for t in types))


def processes_of(result: Mapping[str, object]) -> dict[str, dict[str, object]]:
    found = result["processes"]
    assert isinstance(found, list)
    return {process["type"]: process for process in found}


# -- launch.toml


@pytest.mark.conformance("1.4-processes", "1.1-0.9")
@pytest.mark.parametrize(
    ("api", "launch", "words"),
    [
        ("0.9", '[[processes]]\ntype = "web"\ncommand = ["a"]\ndirect = true', "no direct"),
        ("0.9", '[[processes]]\ntype = "web"\ncommand = "a"', "a command is a list"),
        ("0.10", '[[processes]]\ntype = "we b"\ncommand = ["a"]', "'we b' is not allowed"),
        ("0.10", '[[processes]]\ntype = "w"\ncommand = ["a"]\n[[processes]]\ntype = "w"\ncommand = ["b"]', "twice"),
        (
            "0.10",
            "".join(f'[[processes]]\ntype = "{name}"\ncommand = ["a"]\ndefault = true\n' for name in "vw"),
            "two defaults",
        ),
    ],
)
def test_a_process_that_breaks_the_rules_ends_the_build(house: House, api: str, launch: str, words: str) -> None:
    house.pack("a", build=write("launch.toml", launch), api=api)
    status, code, fields = house.failure("a")
    assert (status, code, fields["file"]) == (52, "buildpack-bad", "t/a: launch.toml")
    assert words in str(fields["message"])


@pytest.mark.conformance("1.4-processes")
def test_a_later_buildpack_overrides_a_process_type_and_the_last_label_wins(house: House) -> None:
    text = (
        '[[processes]]\ntype = "web"\ncommand = ["{0}"]\ndefault = {1}\n'
        '[[labels]]\nkey = "k"\nvalue = "{0}"\n[[labels]]\nkey = "{0}"\nvalue = "x"\n[[slices]]\npaths = ["{0}/*"]'
    )
    house.pack("a", build=write("launch.toml", text.format("one", "false")))
    house.pack("b", build=write("launch.toml", text.format("two", "true")))
    result = house.ok("a b")
    assert processes_of(result)["web"] | {"args": [], "direct": True} == {
        "type": "web", "command": ["two"], "args": [], "default": True, "direct": True, "working-dir": "",
        "buildpack-id": "t/b",
    }  # fmt: skip
    assert result["labels"] == {"k": "two", "one": "x", "two": "x"}
    assert result["slices"] == [["one/*"], ["two/*"]]


@pytest.mark.conformance("1.4-direct", "1.1-0.7", "1.1-0.8")
@pytest.mark.parametrize(("api", "folder"), [("0.7", ""), ("0.8", "sub")])
def test_before_0_9_a_command_is_a_text_for_a_shell_and_0_7_knows_no_working_folder(
    house: House, api: str, folder: str
) -> None:
    text = '[[processes]]\ntype = "web"\ncommand = "a && b"\nworking-dir = "sub"\n[[bom]]\nname = "old"'
    house.pack("a", build=write("launch.toml", text), api=api)
    web = processes_of(house.ok("a"))["web"]
    assert (web["command"], web["direct"], web["working-dir"]) == (["a && b"], False, folder)


# -- layers


@pytest.mark.conformance("1.4-layer-names")
def test_a_folder_without_a_toml_is_no_layer_and_the_names_of_phases_are_none(house: House) -> None:
    house.pack("a", build='mkdir "$1/launch" "$1/build" "$1/store" "$1/stray"\n' + layer("x", "launch"))
    assert packs_of(house.ok("a"))[0]["layers"] == {
        "x": {"launch": True, "build": False, "cache": False, "data": {}, "contents": True, "sboms": []}
    }


@pytest.mark.conformance("1.4-layer-names")
@pytest.mark.parametrize(
    ("build", "words"),
    [
        ('printf "cache = true\\n" > "$1/x.toml"', "cache should be in the types table"),
        ('printf "not toml" > "$1/x.toml"', ""),
        ('printf "types = 1\\n" > "$1/x.toml"', "types and metadata are tables"),
        ('printf "" > "$1/sp ace.toml"', "a layer's name has"),
        ('ln -s /usr "$1/x"; printf "[types]\\nlaunch = true\\n" > "$1/x.toml"', "a link in place of a layer's folder"),
    ],
)
def test_a_layer_that_breaks_the_rules_ends_the_build_and_the_buildpack_is_named(
    house: House, build: str, words: str
) -> None:
    house.pack("a", build=build)
    status, code, fields = house.failure("a")
    assert (status, code) == (52, "buildpack-bad")
    assert words in str(fields["message"])


@pytest.mark.conformance("1.4-ignore")
def test_a_layer_of_no_type_is_put_aside_before_the_next_buildpack_runs(house: House) -> None:
    house.pack("a", build=layer("x"))
    house.pack("b", build='ls "$1/../t_a" > ../seen')
    house.ok("a b")
    assert house.read("seen").split() == ["x.ignore", "x.toml"]


@pytest.mark.conformance("1.4-outputs")
def test_sbom_files_of_layers_and_phases_are_found_by_name_and_format(house: House) -> None:
    house.pack(
        "a", head=CDX,
        build=layer("x", "launch") + "".join(write(f"{n}.sbom.cdx.json", "{}") for n in ("x", "launch", "build")),
    )  # fmt: skip
    pack = packs_of(house.ok("a"))[0]
    assert pack["sboms"] == ["sbom.cdx.json"]
    assert pack["layers"]["x"]["sboms"] == ["sbom.cdx.json"]  # type: ignore[index]  # JSON


@pytest.mark.conformance("1.4-outputs")
@pytest.mark.parametrize(
    ("name", "words"),
    [("x.sbom.spdx.json", "does not declare application/spdx+json"), ("y.sbom.cdx.json", "there is no layer y")],
)
def test_an_sbom_of_a_format_or_layer_that_was_not_declared_ends_the_build(house: House, name: str, words: str) -> None:
    house.pack("a", head=CDX, build=layer("x", "launch") + write(name, "{}"))
    status, _, fields = house.failure("a")
    assert status == 52
    assert words in str(fields["message"])


@pytest.mark.conformance("1.6-reuse")
def test_a_cached_layer_without_contents_is_a_warning(house: House) -> None:
    house.pack("a", build='printf "[types]\\ncache = true\\n" > "$1/x.toml"')
    assert "the layer t/a:x has no contents" in house.run("a")[2]


# -- scripts and their environment


APIS = ["0.7", "0.8", "0.9", "0.10", "0.11", "0.12"]


@pytest.mark.conformance("1.4-script", "1.2-stored", "1.1-0.7")
@pytest.mark.parametrize("api", APIS)
def test_scripts_of_every_api_have_paths_as_arguments_and_are_told_where_their_buildpack_lies(
    house: House, api: str
) -> None:
    house.pack(
        "a", api=api,
        detect='[ "$1" = "$(cd ../platform && pwd)" ]; [ -x "$CNB_BUILDPACK_DIR/bin/detect" ]; [ ! -s "$2" ]; '
        '[ "$(stat -c %a "$2")" = 600 ]; pwd > ../detect',
        build='[ "$2" = "$(cd ../platform && pwd)" ]; [ -f "$3" ]; basename "$1" > ../build; pwd >> ../build',
    )  # fmt: skip
    house.ok("a")
    assert house.read("detect").strip() == str(house.root / "app")
    assert house.read("build").split() == ["t_a", str(house.root / "app")]


@pytest.mark.conformance("1.3-environment", "1.4-script", "1.1-0.8", "1.1-0.10", "1.1-0.12")
@pytest.mark.parametrize("api", APIS)
def test_a_script_has_the_variables_that_its_api_knows_and_no_later_ones(house: House, api: str) -> None:
    for name in ("CNB_EXEC_ENV", "CNB_TARGET_OS"):  # and nobody else can tell it under such a name
        (house.root / "platform" / "env" / name).write_text("of a user")
    house.pack("a", api=api, detect='env | grep "^CNB_" > ../detect', build='env | grep "^CNB_" > ../build')
    house.ok("a")
    number = int(api.partition(".")[2])
    told = {"CNB_STACK_ID": "s", "CNB_BUILDPACK_DIR": str(house.packs[0])}
    if number >= 8:
        told["CNB_PLATFORM_DIR"] = f"{house.root}/platform"
    if number >= 10:
        told |= {
            "CNB_TARGET_OS": "linux", "CNB_TARGET_ARCH": "amd64", "CNB_TARGET_DISTRO_NAME": "debian",
            "CNB_TARGET_DISTRO_VERSION": "12",
        }  # fmt: skip
    if number >= 12:
        told["CNB_EXEC_ENV"] = "production"
    for phase, paths in (("detect", ["BUILD_PLAN_PATH"]), ("build", ["LAYERS_DIR", "BP_PLAN_PATH"])):
        found = dict(line.split("=", 1) for line in house.read(phase).splitlines())
        given = {name: found.pop(f"CNB_{name}") for name in paths if number >= 8}
        assert found == told
        assert all(Path(path).is_relative_to(house.root) for path in given.values())


@pytest.mark.conformance("1.5-allow-list")
def test_only_listed_variables_are_inherited_and_a_stack_id_is_among_them(house: House) -> None:
    house.pack("a", build='set -u; echo "$CNB_STACK_ID $PATH ${PYTHONPATH:-none} ${LEAK:-none}" > ../seen')
    house.ok("a")
    assert house.read("seen") == f"s {PATH} none none\n"


@pytest.mark.conformance("1.5-layer-folders")
def test_later_buildpacks_and_inside_one_the_last_layer_come_first(house: House) -> None:
    folders = 'mkdir -p "$1/{0}/bin" "$1/{0}/lib" "$1/{0}/include" "$1/{0}/pkgconfig"\n'
    two = "".join(folders.format(name) + layer(name, "build") for name in ("one", "two"))
    house.pack("a", build=two)
    house.pack("b", build=folders.format("one") + layer("one", "build"))
    house.pack(
        "c",
        build="for n in PATH LD_LIBRARY_PATH LIBRARY_PATH CPATH PKG_CONFIG_PATH; do eval echo \\$$n; done > ../seen",
    )
    house.ok("a b c")
    layers = [f"{house.root}/layers/{path}" for path in ("t_b/one", "t_a/two", "t_a/one")]
    path, lib, library, include, pkgconfig = house.read("seen").splitlines()
    assert path == ":".join([*(f"{p}/bin" for p in layers), PATH])
    assert lib == library == ":".join(f"{p}/lib" for p in layers)
    assert include == ":".join(f"{p}/include" for p in layers)
    assert pkgconfig == ":".join(f"{p}/pkgconfig" for p in layers)


@pytest.mark.conformance("1.5-env-files")
def test_settings_of_build_layers_alone_reach_the_next_buildpack_byte_for_byte(house: House) -> None:
    files = (
        'mkdir -p "$1/x/env" "$1/x/env.build/sub" "$1/x/env.launch"; printf "a\\n" > "$1/x/env/A"; '
        'printf b > "$1/x/env.build/A.append"; printf no > "$1/x/env.launch/L"; printf no > "$1/x/env/U.unknown"; '
        'printf no > "$1/x/env.build/sub/S"; printf d > "$1/x/env/D.default"; printf e > "$1/x/env/D.override"; '
    )
    house.pack("a", build=files + layer("x", "build"))
    house.pack("b", build='printf "%s|%s|%s|%s|%s" "$A" "${L:-}" "${U:-}" "${S:-}" "$D" > ../seen')
    house.ok("a b")
    assert house.read("seen") == "a\nb||||e"


@pytest.mark.conformance("1.5-platform", "1.5-operator", "1.1-0.10")
def test_a_users_variable_overrides_a_path_is_put_before_and_the_operator_has_the_last_word(house: House) -> None:
    for folder, name, value in (
        ("platform", "A", "user"), ("platform", "PATH", "/user"), ("platform", "O", "user"), ("platform", "BP_X", "1"),
        ("build-config", "O.override", "operator"), ("build-config", "A", "a default"), ("build-config", "N", "new"),
    ):  # fmt: skip
        (house.root / folder / "env" / name).write_text(value)
    house.pack("a", build='mkdir -p "$1/x/env"; printf layer > "$1/x/env/A"\n' + layer("x", "build"))
    line = 'echo "$A $O $N ${PATH%%:*} $BP_X"'
    house.pack("b", build=f"{line} > ../seen", detect='echo "$A $O" > ../detect')
    house.pack("c", build='echo "${A:-} $O $N ${PATH%%:*} $(cat "$2/env/BP_X")" > ../clear', head="clear-env = true\n")
    house.ok("a b c")
    assert house.read("detect") == "user operator\n"
    assert house.read("seen") == "user operator new /user 1\n"
    assert house.read("clear") == "layer operator new /usr/bin 1\n"


@pytest.mark.conformance("1.5-reserved")
def test_what_the_platform_says_of_itself_no_layer_changes(house: House) -> None:
    files = 'mkdir -p "$1/x/env"; printf no > "$1/x/env/CNB_BUILDPACK_DIR"; printf no > "$1/x/env/CNB_LAYERS_DIR"\n'
    (house.root / "platform" / "env" / "CNB_EXEC_ENV").write_text("no")
    house.pack("a", build=files + layer("x", "build"))
    house.pack(
        "b", api="0.12",
        build='echo "$CNB_EXEC_ENV $HOME"; [ "$CNB_LAYERS_DIR" = "$1" ]; [ -x "$CNB_BUILDPACK_DIR/bin/build" ]',
    )  # fmt: skip
    assert "production /nonexistent\n" in house.run("a b")[2]
