"""Ruby from Debian's packages in a kitchen: gems of the repository, compiled where they must be, and what is kept."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from buildpacks.order import BuildFailed
from tests.contract.kitchen_house import Kitchen, layers
from tests.contract.test_buildpacks_languages import run_web, web_of

SPECIFICATION = """--- !ruby/object:Gem::Specification
name: quick
version: !ruby/object:Gem::Version
  version: 1.2.0
platform: ruby
authors: [somebody]
summary: a number from C
extensions: [ext/quick/extconf.rb]
files: [lib/quick.rb, ext/quick/extconf.rb, ext/quick/quick.c]
require_paths: [lib]
dependencies: []
executables: []
specification_version: 4
"""
FILES = {
    "lib/quick.rb": "require 'quick/quick'\n",
    "ext/quick/extconf.rb": "require 'mkmf'\ncreate_makefile('quick/quick')\n",
    "ext/quick/quick.c": """#include <ruby.h>
static VALUE answer(VALUE self) { return INT2NUM(42); }
void Init_quick(void) { rb_define_module_function(rb_define_module("Quick"), "answer", answer, 0); }
""",
}
APP = {
    "Gemfile": "source 'https://gems.invalid'\ngem 'quick'\n",
    "Procfile": "web: bundle exec ruby app.rb\n",
    "app.rb": "require 'quick'\nputs \"#{Quick.answer} #{ENV['RACK_ENV']}\"\n",
}


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gem() -> bytes:
    """A gem that has to be compiled. Source: RubyGems, lib/rubygems/package.rb."""
    contents = tar({name: text.encode() for name, text in FILES.items()})
    return tar({"metadata.gz": gzip.compress(SPECIFICATION.encode()), "data.tar.gz": gzip.compress(contents)})


@pytest.fixture(name="kitchen")
def _kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(state=tmp_path)


@pytest.mark.timeout(900)
def test_a_gem_of_the_repository_is_compiled_once_and_what_does_not_fit_is_told(kitchen: Kitchen) -> None:
    files: dict[str, bytes | str] = {**APP, "vendor/cache/quick-1.2.0.gem": gem()}
    first = kitchen.build(files)
    assert [child.trusted for child in kitchen.children] == [True, False]
    assert "       quick has to be compiled: Ruby's headers and a compiler" in kitchen.log
    assert [line for line in kitchen.log if line.startswith("-----> Gems: installed from vendor/cache")]
    assert web_of(first)["command"] == ["bundle", "exec", "ruby", "app.rb"]
    assert run_web(kitchen, first) == "42 production\n"

    kitchen.children.clear()
    second = kitchen.build({**files, "app.rb": "require 'quick'\nputs Quick.answer + 1\n"}, previous=first)
    assert [child.trusted for child in kitchen.children] == [True]  # nothing of the repository runs for it
    assert "-----> Gems: reused, Gemfile and its lock unchanged" in kitchen.log
    for name in ("gems", "ruby"):
        assert layers(second)["layer", f"algo_ruby/{name}"] == layers(first)["layer", f"algo_ruby/{name}"]
    assert run_web(kitchen, second) == "43\n"

    for gemfile, code, field, words in (
        ("gem 'no-such-gem-anywhere'\n", "gems-unreachable", "about", "it has none for no-such-gem-anywhere"),
        ("ruby '2.7.0'\n", "ruby-version", "asked", "2.7.0"),
    ):
        with pytest.raises(BuildFailed) as caught:
            kitchen.build({**APP, "Gemfile": gemfile}, previous=second)
        assert (caught.value.code, caught.value.fields[field]) == (code, words)
