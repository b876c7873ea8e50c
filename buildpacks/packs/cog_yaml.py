"""The build section of cog.yaml, for those who choose a Python and packages.

Source  cog 0.23.1, docs/yaml.md
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "cog.yaml"
MAX_BYTES = 1 << 20


def read_build(app: str) -> Mapping[str, object]:
    """`build:`, every value as it is written (3.10 stays 3.10); empty without the file and for one that cannot be read.

    What is wrong with the file says algo/model, where its predictor is served.
    """
    try:
        with open(f"{app}/{FILE}", "rb") as file:
            data = file.read(MAX_BYTES)
    except (FileNotFoundError, IsADirectoryError):
        return {}
    from buildpacks.yaml_subset import NotRead, parse_yaml  # late: most repositories come without this file

    try:
        document = parse_yaml(data, as_text=True)
    except NotRead:
        return {}
    build = document.get("build") if isinstance(document, dict) else None
    return build if isinstance(build, dict) else {}
