"""Words for web apps in other languages than Python, and for Debian packages of an Aptfile."""

from __future__ import annotations

from buildpacks.wording import Words

WORDS = {
    "runs-code": Words(
        title="{what} runs code of the repository",
        body="{what} runs code of the repository or of its packages, and this attempt of the build runs none.",
        next="git push algo redeploy   (and tell the operator: the second attempt did not start)",
        move="operator",
    ),
    "two-languages": Words(
        title="{first} and {second} could both start",
        body="{first} and {second} each have an app that could be started; guessing would be wrong half of the time.",
        next="write Procfile with the line that starts the right one, for example: web: npm start",
    ),
    "toolchain-missing": Words(
        title="{language} is not available here",
        body="This app needs {language}; the build has none that fits, and none could be fetched: {why}.",
        next="ask the operator to install {package}, or to make a stack with it: algo stack build --package {package}",
        move="operator",
    ),
    "build-tool-failed": Words(
        title="{command} failed",
        body="{command} ended with status {status}: {output}",
        next="make it work on your machine, commit and push again",
    ),
    "go-main-unsure": Words(
        title="which program to start is not certain",
        body="This Go module has several programs: {found}.",
        next="write one of these lines into a file named Procfile, commit and push: {lines}",
    ),
    "package-json-syntax": Words(
        title="package.json cannot be read",
        body="package.json is no JSON object: {message}",
        next="npm pkg fix   (or correct package.json by hand), commit and push again",
    ),
    "engines-node": Words(
        title="engines.node is no version range",
        body="package.json says engines.node is {range}, which npm would not understand either.",
        next='npm pkg set engines.node=">=20", commit and push again',
    ),
    "node-manager": Words(
        title="{file} without package-lock.json",
        body="{file} is {manager}'s; this server installs with npm, which reads package-lock.json.",
        next="npm install --package-lock-only && git add package-lock.json, commit and push again",
    ),
    "java-no-jar": Words(
        title="no jar that starts",
        body="Maven made {found}, and none of it has a Main-Class in its manifest.",
        next="name the class in pom.xml (maven-jar-plugin, archive, manifest, mainClass), commit and push again",
    ),
    "java-two-jars": Words(
        title="which jar to start is not certain",
        body="Maven made several jars that could be started: {found}.",
        next="write one of these lines into a file named Procfile, commit and push: {lines}",
    ),
    "aptfile-syntax": Words(
        title="Aptfile line {line} is no package",
        body="Aptfile line {line} is not the name of a Debian package: {text}",
        next="write one package of Debian a line, for example libgomp1, commit and push again",
    ),
    "apt-unknown": Words(
        title="Aptfile line {line}: no package {name}",
        body="Aptfile line {line} asks for {name}, which the package sources of this server do not have.",
        next="correct the name (apt-cache search WORD finds it), commit and push again",
    ),
    "apt-missing": Words(
        title="Aptfile cannot be installed here",
        body="The Aptfile asks for Debian packages, and what builds this app has no {program}.",
        next="ask the operator for a stack of Debian (algo stack build), or git rm Aptfile",
        move="operator",
    ),
    "apt-unreachable": Words(
        title="package sources unreachable",
        body="Debian's package sources do not answer: {cause}",
        next="git push algo main   (again in a minute; if it lasts, tell the operator)",
        move="operator",
    ),
    "apt-failed": Words(
        title="the Aptfile cannot be installed",
        body="apt failed: {output}",
        next="correct the Aptfile, commit and push again",
    ),
    "ruby-version": Words(
        title="Ruby {asked} is not available here",
        body="The Gemfile asks for Ruby {asked}; this server and Debian's packages have {found}.",
        next='write ruby "~> {found}" into the Gemfile, commit and push again; or ask the operator for that Ruby',
    ),
    "ruby-no-server": Words(
        title="config.ru, and no server in the Gemfile",
        body="There is a config.ru, and none of these servers is in the Gemfile: {servers}.",
        next="bundle add puma, commit and push again",
    ),
    "ruby-start": Words(
        title="how to start this Ruby app is not certain",
        body="There is a Gemfile, and no config.ru or Procfile that says how the app starts.",
        next="write this line into a file named Procfile, commit and push again: web: {line}",
    ),
    "gems-unreachable": Words(
        title="the gems of the Gemfile cannot be had here",
        body="The gems were looked for among Debian's packages, because {why}; they do not fit: {about}",
        next="bundle cache && git add vendor/cache, commit and push again; or ask the operator for BUNDLE_MIRROR__ALL",
    ),
    "gem-compiles": Words(
        title="{gem} cannot be compiled here",
        body="The gem {gem} has to be compiled for the Ruby of this server or its stack, and that failed: {output}",
        next="ask the operator for: algo stack build --package ruby-full --package build-essential",
        move="operator",
    ),
    "r-start": Words(
        title="how to start this R app is not certain",
        body="There are R files ({found}), and none of plumber.R, app.R with shinyApp() or Procfile starts them.",
        next="write this line into a file named Procfile, commit and push again: web: {line}",
    ),
    "r-two-starts": Words(
        title="which R app to start is not certain",
        body="This repository has several R apps: {found}.",
        next="write one of these lines into a file named Procfile, commit and push: {lines}",
    ),
    "r-packages": Words(
        title="R packages that Debian does not have",
        body="The app needs {missing}, which Debian has no package for; it has {found} of the others.",
        next="do without them, or ask the operator for a stack that has them (algo stack build)",
    ),
    "renv-lock": Words(
        title="renv.lock cannot be read",
        body="renv.lock is no JSON object: {message}",
        next='Rscript -e "renv::snapshot()", commit and push again',
    ),
    "language-unbuilt": Words(
        title="{language} apps are not built here",
        body="{file} is an app in {language}; this server builds none, and starts one whose packages its stack has.",
        next="ask the operator for: algo stack build {options}   then write Procfile with: web: {line}",
    ),
}
