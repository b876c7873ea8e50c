"""How a Ruby web app starts without a Procfile: a config.ru, and a server among its gems."""

# ruff: noqa: PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re

from buildpacks.packs.algo_ruby.gemfile import read_gemfile
from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.toolchains.starts import Start

_HOST = "0.0.0.0"  # noqa: S104 -- an app behind the router listens on every address of its sandbox
# Gem -> the line that serves config.ru with it. rackup finds thin and webrick by itself.
SERVERS = {
    "puma": f"bundle exec puma -b tcp://{_HOST}:$PORT",
    "unicorn": f"bundle exec unicorn -l {_HOST}:$PORT",
    "thin": f"bundle exec rackup -o {_HOST} -p $PORT",
    "webrick": f"bundle exec rackup -o {_HOST} -p $PORT",
}
_RAILS = f"bundle exec rails server -b {_HOST} -p $PORT"
_SINATRA = re.compile(rb"""^\s*require\s*\(?\s*["']sinatra["']""", re.MULTILINE)
_MAX_BYTES = 256 * 1024


def find_start(app: str) -> Start | None:
    """The start of a config.ru, Rails' or any Rack app's; None without one.

    Raises  PackFailed('ruby-no-server') for a config.ru and no server in the Gemfile
    """
    if not all(os.path.isfile(f"{app}/{name}") for name in ("Gemfile", "config.ru")):
        return None
    gemfile = read_gemfile(app)
    server = next((name for name in SERVERS if gemfile.has(name)), None)
    if server is None:
        raise PackFailed("ruby-no-server", servers=list(SERVERS))
    if os.path.isfile(f"{app}/bin/rails") and os.path.isfile(f"{app}/config/application.rb"):
        return Start(["bash", "-c", f"exec {_RAILS}"], f"bin/rails, config.ru, and {server} in the Gemfile")
    return Start(["bash", "-c", f"exec {SERVERS[server]}"], f"config.ru, and {server} in the Gemfile")


def likely_line(app: str) -> str:
    """The `web:` line to write for a Gemfile without a config.ru, '' where no script of the app looks like one."""
    names = [name for name in sorted(os.listdir(app)) if name.endswith(".rb") and os.path.isfile(f"{app}/{name}")]
    for name in names:
        with open(f"{app}/{name}", "rb") as file:
            if _SINATRA.search(file.read(_MAX_BYTES)):
                return f"bundle exec ruby {name} -o {_HOST} -p $PORT"
    known = [name for name in ("app.rb", "server.rb", "main.rb", "web.rb") if name in names]
    return f"bundle exec ruby {known[0]}" if known else ""
