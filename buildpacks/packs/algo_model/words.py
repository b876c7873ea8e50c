"""Words for repositories whose model files do not say what is served, or may not be served."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.wording import Words

WORDS: Mapping[str, Words] = {
    "nothing-to-serve": Words(
        title="no model and no code to serve",
        body="Nothing here can be served: no model file, no predict.py, no Procfile. At the top of the repository: "
        "{found}.",
        next="commit a model file (model/, models/ or the top folder), or a predict.py with a function predict, "
        "and push again",
    ),
    "ambiguous-models": Words(
        title="more than one model",
        body="Several models could be served, and guessing would be wrong half of the time: {models}.",
        next="algo config set {setting}   (or write a predict.py that loads what it needs)",
    ),
    "model-missing": Words(
        title="model file not found",
        body="BP_MODEL_FILE names {path}, which is no model file of this repository. Models found: {found}.",
        next="algo config set BP_MODEL_FILE=PATH",
    ),
    "model-damaged": Words(
        title="damaged model file",
        body="{path} begins like a model file, and cannot be read as one: it is cut off or damaged.",
        next="write the file again, and push",
    ),
    "model-part-missing": Words(
        title="part of the model is missing",
        body="{path} is a model in several files, and the repository lacks {missing}.",
        next="git add the missing files, commit and push again",
    ),
    "lfs-pointer": Words(
        title="model is a Git LFS pointer",
        body="{path} is a Git LFS pointer: the {size} bytes that it stands for were not pushed to this server.",
        next="git lfs push --all algo && git push algo main   (or: git lfs uninstall, git add {path}, commit and push)",
    ),
    "framework-not-served": Words(
        title="{framework} needs a predict.py",
        body="{path} holds {what}, which nothing can serve without code.",
        next="{todo}, and push again",
    ),
    "pickle-unsafe": Words(
        title="pickle names what is not allowed",
        body="{path} is a pickle that names what no {framework} model needs: {names}. Whoever loads it runs that.",
        next="{todo}   (the policy is BP_PICKLE_POLICY=deny)",
    ),
    "pickle-policy": Words(
        title="BP_PICKLE_POLICY={found} is no policy",
        body="BP_PICKLE_POLICY is {found}. {reason}",
        next="algo config set BP_PICKLE_POLICY=warn   (or deny)",
    ),
    "model-skew": Words(
        title="model of another {package}",
        body="{path} was written by {package} {written_by}, and {package} {loaded} cannot read it: {reason}.",
        next="{todo}",
    ),
    "setting-of-operator": Words(
        title="{name} is the operator's to set",
        body="{name} is set for this app, in its configuration or in project.toml; it is a setting of the server.",
        next="algo config unset {name}   (or take it out of project.toml), and push again",
    ),
}
