"""Words for web apps: Procfiles, what they start, apps that are found without one."""

from __future__ import annotations

from buildpacks.wording import Words

WORDS = {
    "procfile-syntax": Words(
        title="Procfile line {line} cannot be read",
        body="Procfile line {line} is not TYPE: COMMAND: {text}",
        next="correct the line, for example: web: gunicorn app:app --bind 0.0.0.0:$PORT",
    ),
    "procfile-twice": Words(
        title="Procfile names {type} twice",
        body="Procfile line {line} gives the process type {type} a second command; only one can run.",
        next="remove one of the two lines, commit and push again",
    ),
    "procfile-no-web": Words(
        title="Procfile without web",
        body="The Procfile has {types}, but no web process, and there is no model to serve instead.",
        next="add to Procfile: web: COMMAND that listens on $PORT",
    ),
    "procfile-name": Words(
        title="{found} is not named Procfile",
        body="{found} has a web: line, and only a file named Procfile, with a capital P and no ending, is read.",
        next="git mv {found} Procfile && git commit -m Procfile && git push algo main",
    ),
    "heroku-yml-docker": Words(
        title="heroku.yml builds an image with docker",
        body="heroku.yml line {line} builds {file}; this server does not build from heroku.yml.",
        next="write Procfile with a line web: COMMAND that listens on $PORT, git rm heroku.yml, commit and push again",
    ),
    "heroku-yml-unread": Words(
        title="heroku.yml line {line} cannot be read",
        body="heroku.yml line {line} is no process of one line: {text}",
        next="write Procfile with a line web: COMMAND that listens on $PORT, git rm heroku.yml, commit and push again",
    ),
    "web-app-unsure": Words(
        title="which app to start is not certain",
        body="There are several apps, and guessing would be wrong half of the time: {found}.",
        next="write one of these lines into a file named Procfile, commit and push: {lines}",
    ),
    "web-fixed-port": Words(
        title="{file} listens on port {port}, not on $PORT",
        body="{file} line {line} listens on port {port}, and calls arrive at the port in the variable PORT: {text}",
        next="import os, write {change} there, commit and push again",
    ),
    "web-port-literal": Words(
        title="the web line listens on port {port}, not on $PORT",
        body="The Procfile's web line says {option} {value}, and calls arrive at the port in the variable PORT.",
        next="write $PORT in place of {port}, commit and push again",
    ),
    "web-port-untold": Words(
        title="the web line does not tell {program} the port",
        body="{program} listens on port {port} when it is not told another, and calls arrive at the port in $PORT.",
        next="add to the web line: {options}",
    ),
    "web-file-missing": Words(
        title="the web line starts {file}, which is not here",
        body="The Procfile's web line starts {file}, and this repository has no such file; it has {found}.",
        next="correct the web line, or git add {file}, commit and push again",
    ),
    "web-module-missing": Words(
        title="the web line names {module}, which is not here",
        body="The Procfile's web line names the module {module}, and there is no {file}; the app is here: {found}.",
        next="correct the module in the web line, commit and push again",
    ),
    "web-name-missing": Words(
        title="{file} has no '{name}'",
        body="The Procfile's web line names {module}:{name}; {file} has no {name} at its top level; it has {found}.",
        next="correct the name in the web line, commit and push again",
    ),
    "apps-in-folders": Words(
        title="nothing at the top, but apps in folders",
        body="At the top of the repository is nothing to serve; these folders have something: {folders}.",
        next="algo config set {setting}   (the folder to serve), and push again",
    ),
    "app-dir-missing": Words(
        title="no folder {folder}",
        body="BP_APP_DIR names {folder}, which is no folder of this repository; it has {found}.",
        next="algo config set BP_APP_DIR=FOLDER   (or: algo config unset BP_APP_DIR)",
    ),
    "weights-missing": Words(
        title="{file} opens {path}, which is not here",
        body="{file} line {line} opens {path} at the start, and this repository has no such file: {text}",
        next="{mend}",
    ),
    "foreign-path": Words(
        title="{file} names a path of another machine",
        body="{file} line {line} opens {path} at the start, which is a path of {machine}: {text}",
        next="put the file into the repository and open it by its path in there, commit and push again",
    ),
}
