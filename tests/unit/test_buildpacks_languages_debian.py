"""What decides the start, the version and the packages of Ruby and R apps, before anything is run."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildpacks.packs.algo_r import build as r_build
from buildpacks.packs.algo_r import detect as r
from buildpacks.packs.algo_r.needs import debian_name, locked_versions, needed_packages
from buildpacks.packs.algo_r.starting import PLUMBER, SHINY
from buildpacks.packs.algo_ruby import detect as ruby
from buildpacks.packs.algo_ruby.gemfile import accepts, read_gemfile
from buildpacks.packs.algo_ruby.gems import key_of
from buildpacks.packs.algo_ruby.toolchain import mend_programs
from buildpacks.packs.cnb import NOT_MINE, PASS, Context, PackFailed
from buildpacks.packs.toolchains.debian_layer import Debian, kept_packages
from buildpacks.packs.toolchains.starts import language_of, needs_debian, started_language
from buildpacks.packs.toolchains.unbuilt import is_unbuilt, refuse_unbuilt

DETECT = {"ruby": ruby.detect, "r": r.detect}
PUMA = "exec bundle exec puma -b tcp://0.0.0.0:$PORT"
RUBY = {"Gemfile": "gem 'puma'\n", "config.ru": ""}


def write(folder: Path, files: Mapping[str, str]) -> str:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return str(folder)


def context_of(tmp_path: Path, files: Mapping[str, str], env: Mapping[str, str] | None = None) -> Context:
    app, layers = tmp_path / "app", tmp_path / "layers"
    app.mkdir()
    layers.mkdir()
    plan = str(tmp_path / "plan")
    return Context(app=write(app, files), layers=str(layers), platform="", plan=plan, buildpack="", env=env or {})


def start_of(tmp_path: Path) -> Any:
    plan = tomllib.loads((tmp_path / "plan").read_text())
    return json.loads(plan["requires"][0]["metadata"]["start"])["command"]


RAILS = {"bin/rails": "", "config/application.rb": ""}
STARTS = [
    ("ruby", RUBY, ["bash", "-c", PUMA]),
    ("ruby", {"Gemfile": "gem 'sinatra'\n", "Gemfile.lock": "GEM\n  specs:\n    puma (6.4.0)\n", "config.ru": ""},
     ["bash", "-c", PUMA]),
    ("ruby", {"Gemfile": "gem 'rack'\ngem 'webrick'\n", "config.ru": ""},
     ["bash", "-c", "exec bundle exec rackup -o 0.0.0.0 -p $PORT"]),
    ("ruby", {"Gemfile": "gem 'unicorn'\n", "config.ru": ""},
     ["bash", "-c", "exec bundle exec unicorn -l 0.0.0.0:$PORT"]),
    ("ruby", {**RUBY, **RAILS, "package.json": '{"scripts": {"build": "esbuild x.js"}}'},
     ["bash", "-c", "exec bundle exec rails server -b 0.0.0.0 -p $PORT"]),
    ("r", {"plumber.R": "#* @get /x\n"}, ["Rscript", "-e", PLUMBER]),
    ("r", {"app.R": "library(shiny)\nshinyApp(ui, server)\n"}, ["Rscript", "-e", SHINY]),
    ("r", {"server.R": "", "ui.R": ""}, ["Rscript", "-e", SHINY]),
]  # fmt: skip


@pytest.mark.parametrize(("language", "files", "command"), STARTS)
def test_an_app_without_a_procfile_starts_by_the_convention_of_its_language(
    language: str, files: dict[str, str], command: list[str], tmp_path: Path
) -> None:
    context = context_of(tmp_path, files)
    assert DETECT[language](context) == PASS
    assert start_of(tmp_path) == command
    assert started_language(context.app)
    assert not is_unbuilt(context.app)


NOT_THEIRS = [
    {"predict.py": "def predict(x): ...\n"},
    {"Gemfile": "gem 'jekyll'\n", "predict.py": "def predict(x): ...\n"},
    {"DESCRIPTION": "Imports: plumber\n", "run.R": ""},
    {"app.R": "# shinyApp(ui, server)\n"},
    {**RUBY, "plumber.R": "", "Procfile": "web: python app.py\n"},
]


@pytest.mark.parametrize("files", NOT_THEIRS)
def test_what_is_no_web_app_of_these_languages_is_left_to_others(files: dict[str, str], tmp_path: Path) -> None:
    context = context_of(tmp_path, files)
    assert {name: detect(context) for name, detect in DETECT.items()} == dict.fromkeys(DETECT, NOT_MINE)


LINES = [
    ("bundle exec puma -p $PORT", {"Gemfile": ""}, "ruby"),
    ("bin/rails server -p $PORT", {"Gemfile": ""}, "ruby"),
    ("ruby app.rb", {}, ""),
    ("Rscript run.R", {"run.R": ""}, "r"),
    ("Rscript -e 'plumber::pr_run(1)'", {"api.R": ""}, "r"),
    ("Rscript run.R", {"run.txt": ""}, ""),
    ("python app.py", {"Gemfile": "", "run.R": ""}, ""),
]


@pytest.mark.parametrize(("line", "files", "language"), LINES)
def test_a_web_line_belongs_to_the_language_of_the_program_that_it_starts(
    line: str, files: dict[str, str], language: str, tmp_path: Path
) -> None:
    assert language_of(write(tmp_path, files), line) == language


REFUSED = [
    ({"Gemfile": "gem 'rack'\n", "config.ru": ""}, "ruby-no-server",
     {"servers": ["puma", "unicorn", "thin", "webrick"]}),
    ({"Gemfile": "", "web.rb": "", "x.rb": "  require('sinatra')\n"}, "ruby-start",
     {"line": "bundle exec ruby x.rb -o 0.0.0.0 -p $PORT"}),
    ({"Gemfile": "", "server.rb": ""}, "ruby-start", {"line": "bundle exec ruby server.rb"}),
    ({"Gemfile": ""}, "ruby-start", {"line": "bundle exec ruby YOUR_FILE.rb"}),
    ({"renv.lock": "{}", "b.R": "", "a.R": ""}, "r-start", {"found": ["a.R", "b.R"], "line": "Rscript a.R"}),
    ({"build.gradle": ""}, "language-unbuilt",
     {"language": "Gradle", "file": "build.gradle", "line": "java -jar app.jar",
      "options": "--package gradle --package default-jdk-headless"}),
]  # fmt: skip


@pytest.mark.parametrize(("files", "code", "fields"), REFUSED)
def test_an_app_whose_start_is_not_certain_is_refused_with_the_line_to_add(
    files: dict[str, str], code: str, fields: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(PackFailed) as caught:
        refuse_unbuilt(write(tmp_path, files))
    assert (caught.value.code, caught.value.fields) == (code, fields)


@pytest.mark.parametrize("files", [{"DESCRIPTION": "words"}, {"renv.lock": "{}"}, {"run.R": ""}, RUBY])
def test_a_description_without_scripts_and_an_app_that_starts_are_not_refused(
    files: dict[str, str], tmp_path: Path
) -> None:
    refuse_unbuilt(write(tmp_path, files))


def test_two_r_apps_are_refused_with_a_line_for_each(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as caught:
        r.detect(context_of(tmp_path, {"plumber.R": "", "app.R": "shinyApp(1, 2)\n"}))
    assert caught.value.code == "r-two-starts"
    assert caught.value.fields["lines"] == [f"web: Rscript -e '{PLUMBER}'", f"web: Rscript -e '{SHINY}'"]


def test_ruby_and_node_that_could_both_start_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as caught:
        ruby.detect(context_of(tmp_path, {**RUBY, "package.json": '{"scripts": {"start": "x"}}'}))
    assert caught.value.fields == {"first": "Gemfile", "second": "package.json"}


GEMFILE = """
# gem "comment"
source "https://gems.invalid" # and more
ruby "~> 3.1", ">= 3.1.2"
gem "sinatra", "~> 3.0"
gem('puma') if true
gem "rspec", group: :test
group :development, :test do
  gem "rubocop"
  platforms :mri do
    gem "byebug"
  end
end
group :production, :test do
  gem "pg"
end
if ENV["X"]
  gem "extra_thing"
end
gem "last"
"""


def test_a_gemfile_is_read_with_its_groups(tmp_path: Path) -> None:
    lock = "GEM\n  remote: https://gems.invalid/\n  specs:\n    rack (2.2.4)\n    x (1.0)\n      rack (>= 1)\n"
    found = read_gemfile(write(tmp_path, {"Gemfile": GEMFILE, "Gemfile.lock": lock, ".ruby-version": "ruby-3.2.1\n"}))
    assert found.gems == ["sinatra", "puma", "pg", "extra_thing", "last"]
    assert found.aside == ["rspec", "rubocop", "byebug"]
    assert found.ruby == ["~> 3.1", ">= 3.1.2"]
    assert (found.ruby_file, found.sources) == ("3.2.1", True)
    assert found.locked == {"rack": "2.2.4", "x": "1.0"}


@pytest.mark.parametrize(
    ("text", "ruby_asked", "sources"),
    [
        ("ruby file: '.ruby-version'\n", ["3.2.1"], False),
        ("ruby '3.1.2', engine: 'jruby', engine_version: '9'\n", ["3.1.2"], False),
        ("gem 'a', git: 'https://x.invalid'\n", [], True),
        ("gem 'a', :path => '../a'\n", [], True),
        ("gemspec\n", [], True),
    ],
)
def test_where_a_gemfile_takes_its_ruby_and_its_gems_from(
    text: str, ruby_asked: list[str], sources: bool, tmp_path: Path
) -> None:
    found = read_gemfile(write(tmp_path, {"Gemfile": text, ".ruby-version": "3.2.1"}))
    assert (found.ruby, found.sources) == (ruby_asked, sources)


BOUNDS = [
    ([], (3, 1, 2), True), (["3.1.2"], (3, 1, 2), True), (["3.1.4"], (3, 1, 2), False), (["3.1"], (3, 1, 0), True),
    (["~> 3.1"], (3, 4, 0), True), (["~> 3.1"], (4, 0, 0), False), (["~> 3.1.0"], (3, 1, 9), True),
    (["~> 3.1.0"], (3, 2, 0), False), (["~> 3"], (3, 9, 0), True), ([">= 3.0", "< 3.1"], (3, 1, 0), False),
    ([">= 3.0, != 3.1.2"], (3, 1, 2), False), ([">3.1"], (3, 1, 2), True), (["<= 3.1"], (3, 1, 2), False),
    (["newest"], (3, 1, 2), False), (["3.1.2-p20"], (3, 1, 2), False),
]  # fmt: skip


@pytest.mark.parametrize(("bounds", "version", "fits"), BOUNDS)
def test_a_requirement_of_ruby_is_read_as_rubygems_reads_it(
    bounds: list[str], version: tuple[int, ...], fits: bool
) -> None:
    assert accepts(bounds, version) is fits


def test_gems_are_installed_anew_when_what_they_depend_on_changes_and_not_for_code(tmp_path: Path) -> None:
    app = write(tmp_path, {**RUBY, "vendor/cache/a-1.gem": "a"})
    first = key_of(app)
    write(tmp_path, {"app.rb": "puts 1"})
    assert key_of(app) == first
    for files in ({"vendor/cache/b-1.gem": "b"}, {"Gemfile.lock": ""}, {"Gemfile.lock": "x"}, {".ruby-version": "3"}):
        write(tmp_path, files)
        changed = key_of(app)
        assert (changed == first) is (files == {"Gemfile.lock": ""})
        first = changed


def test_programs_of_debians_ruby_find_the_ruby_beside_them(tmp_path: Path) -> None:
    programs = {
        "puma": "#!/usr/bin/ruby3.1\nputs 1\n",
        "gem": "#!/usr/bin/env ruby\n",
        "elf": "\x7fELF /usr/bin/ruby\n",
    }
    write(tmp_path / "usr" / "bin", programs)
    (tmp_path / "usr/bin/ruby").symlink_to("ruby3.1")
    mend_programs(str(tmp_path))
    found = {name: (tmp_path / "usr/bin" / name).read_text() for name in programs}
    assert found == {**programs, "puma": "#!/usr/bin/env ruby\nputs 1\n"}


def test_scripts_of_debians_r_follow_the_variable_that_leads_to_them(tmp_path: Path) -> None:
    script = "#!/bin/bash\nR_HOME_DIR=/usr/lib/R\nR_DOC_DIR=/usr/share/R/doc\nexec /usr/lib/Rmore\n"
    write(tmp_path / "usr/lib/R", {"bin/R": script, "etc/Renviron.ucf": "PAGER=less\n"})
    (tmp_path / "usr/lib/R/etc/Renviron").symlink_to("/etc/R/Renviron.not.here")
    r_build.mend_programs(str(tmp_path))
    text = (tmp_path / "usr/lib/R/bin/R").read_text()
    assert text == '#!/bin/bash\nR_HOME_DIR="${R_HOME}"\nR_DOC_DIR=${R_HOME%/lib/R}/share/R/doc\nexec /usr/lib/Rmore\n'
    assert (tmp_path / "usr/lib/R/etc/Renviron").read_text() == "PAGER=less\n"


def test_the_packages_of_an_r_app_are_read_from_all_that_names_them(tmp_path: Path) -> None:
    files = {
        "DESCRIPTION": "Depends: R (>= 4.0), methods\nImports:\n    plumber (>= 1.0),\n    R6\nTitle: jsonlite\n",
        "install.R": "install.packages(c('httr2', \"xml2\"))\n",
        "plumber.R": "library(jsonlite) # library(no)\nrequire('dplyr', quietly = TRUE)\nglue::glue(1)\nstats::sd(1)\n",
        "R/util.R": 'if (requireNamespace("later")) renv::restore()\nMASS:::boxcox(1)\n',
        "tests/testthat.R": "library(testthat)\n",
    }
    app = write(tmp_path, files)
    assert needed_packages(app) == ["MASS", "R6", "dplyr", "glue", "httr2", "jsonlite", "later", "plumber", "xml2"]
    assert debian_name("data.table") == "r-cran-data.table"


def test_versions_of_renv_are_read_and_a_broken_file_is_named(tmp_path: Path) -> None:
    assert locked_versions(str(tmp_path)) == {}
    write(tmp_path, {"renv.lock": json.dumps({"Packages": {"glue": {"Version": "1.6.2"}}})})
    assert locked_versions(str(tmp_path)) == {"glue": "1.6.2"}
    for text in ("{", "[]", '{"Packages": {"glue": 1}}', "[" * 100_000):
        write(tmp_path, {"renv.lock": text})
        with pytest.raises(PackFailed) as caught:
            locked_versions(str(tmp_path))
        assert caught.value.code == "renv-lock"


def test_only_these_languages_and_an_aptfile_see_what_the_system_has_installed(tmp_path: Path) -> None:
    for number, (files, is_needed) in enumerate(
        [({"go.mod": ""}, False), ({"Aptfile": ""}, True), ({"Gemfile": ""}, True), ({"run.R": ""}, True), ({}, False)]
    ):
        (tmp_path / str(number)).mkdir()
        assert needs_debian(write(tmp_path / str(number), files)) is is_needed


def test_without_apt_the_push_says_which_package_a_stack_needs(tmp_path: Path) -> None:
    context = context_of(tmp_path, {}, env={"PATH": str(tmp_path)})
    with pytest.raises(PackFailed) as caught:
        Debian(context, "Ruby", "ruby").unpack(["ruby"], str(tmp_path / "layers/ruby"))
    assert caught.value.code == "toolchain-missing"
    assert caught.value.fields["why"] == "what builds this app has no apt-get"
    assert caught.value.fields["package"] == "ruby"


def test_a_layer_made_for_another_debian_is_not_kept(tmp_path: Path) -> None:
    context = context_of(tmp_path, {}, env={"CNB_TARGET_DISTRO_VERSION": "12"})
    (tmp_path / "layers/ruby").mkdir()
    context.write_layer("ruby", ["cache"], {"asked": "of another", "packages": ["ruby"]})
    assert kept_packages(context, "ruby") == []


def test_a_gem_in_the_repository_that_was_built_again_is_another_one(tmp_path: Path) -> None:
    gem = tmp_path / "vendor/cache/mine-1.0.gem"
    (gem.parent / "checkout-1a2b3c").mkdir(parents=True)
    gem.write_bytes(b"one")
    first = key_of(str(tmp_path))
    gem.write_bytes(b"two")
    assert key_of(str(tmp_path)) != first
