"""What an image is made of, as a CycloneDX document: Python packages, Debian packages, model files, buildpacks.  Pure.

It describes one image and depends on that alone: no time, no random serial number, so it is made again byte by byte.

Source  CycloneDX 1.6 JSON, https://cyclonedx.org/docs/1.6/json/; package URL, https://github.com/package-url/purl-spec
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from buildpacks.image.config import render_config
from buildpacks.image.document import Document, parse_document, table, table_list
from buildpacks.image.oci import image_id
from buildpacks.order import Json
from buildpacks.packs.algo_python.manager import canonical

MEDIA_TYPE = "application/vnd.cyclonedx+json"
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:==([^\s;\\]+)| @ ([^\s;\\]+))", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_LOCKED_BY = "algo/python"


def sbom(doc: Mapping[str, Json], name: str, dpkg_status: str, file_sha256: Mapping[str, str] | None = None) -> bytes:
    """The bill of materials of an image, canonical JSON.

    name         of the application: `alice/iris`
    dpkg_status  var/lib/dpkg/status of the stack's run image; '' for a stack without it
    file_sha256  repository path -> hex digits, of the model files whose sum is known
    Raises       BuildFailed('no-stack' | 'dockerfile-image')
    """
    parts, identity = parse_document(doc), image_id(doc)
    components = [
        *_python_packages(lock_of(doc)),
        *_debian_packages(dpkg_status, parts.base.labels),
        *_files(doc, parts, file_sha256 or {}),
    ]
    root: dict[str, Json] = {"bom-ref": "image", "type": "container", "name": name, "version": identity}
    return render_config(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
            "version": 1,
            "metadata": {"component": root, "tools": {"components": _tools(doc)}},
            "components": list(components),
            "dependencies": [{"ref": "image", "dependsOn": [item["bom-ref"] for item in components]}],
        }
    )


def lock_of(doc: Mapping[str, Json]) -> str:
    """The lock that the image's Python packages were installed from; '' when it has none."""
    for pack in table_list(table(doc.get("lifecycle")).get("buildpacks")):
        if pack.get("key") == _LOCKED_BY:
            data = table(table(table(pack.get("layers")).get("deps")).get("data"))
            return str(data.get("lock", ""))
    return ""


def _python_packages(lock: str) -> Iterator[dict[str, Json]]:
    """One component for each version. hashes are those of every file that the lock allows for it."""
    found = list(_PIN.finditer(lock))
    ends = [match.start() for match in found[1:]] + [len(lock)]
    hashes: dict[tuple[str, str, str], set[str]] = {}
    for match, end in zip(found, ends, strict=True):
        key = canonical(match[1]), match[2] or "", match[3] or ""
        hashes.setdefault(key, set()).update(_HASH.findall(lock, match.end(), end))
    for (name, version, source), sums in sorted(hashes.items()):
        purl = f"pkg:pypi/{name}" + (f"@{_quoted(version)}" if version else "")
        component: dict[str, Json] = {"bom-ref": purl + source, "type": "library", "name": name, "purl": purl}
        if version:
            component["version"] = version
        if source:
            component["properties"] = [{"name": "algo:source", "value": source}]
        if sums:
            component["hashes"] = [{"alg": "SHA-256", "content": text} for text in sorted(sums)]
        yield component


def _debian_packages(status: str, base_labels: Mapping[str, str]) -> Iterator[dict[str, Json]]:
    distro = base_labels.get("io.buildpacks.base.distro.name", "") or "debian"
    version = base_labels.get("io.buildpacks.base.distro.version", "")
    if version:
        ref = f"os:{distro}@{version}"
        yield {"bom-ref": ref, "type": "operating-system", "name": distro, "version": version}
    packages = [_stanza(text) for text in re.split(r"\n{2,}", status)]
    for package in sorted(packages, key=lambda fields: (fields.get("Package", ""), fields.get("Architecture", ""))):
        if package.get("Status", "").split(" ")[-1] != "installed":
            continue
        name, arch = package.get("Package", ""), package.get("Architecture", "")
        qualifiers = f"?arch={_quoted(arch)}" + (f"&distro={_quoted(f'{distro}-{version}')}" if version else "")
        purl = f"pkg:deb/{_quoted(distro)}/{_quoted(name)}@{_quoted(package.get('Version', ''))}{qualifiers}"
        yield {
            "bom-ref": purl,
            "type": "library",
            "name": name,
            "version": package.get("Version", ""),
            "purl": purl,
        }


def _stanza(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines() if line and not line[0].isspace())
    return {key: value.strip() for key, _, value in lines}


def _files(doc: Mapping[str, Json], parts: Document, file_sha256: Mapping[str, str]) -> Iterator[dict[str, Json]]:
    facts = table(table(doc.get("model")).get("facts"))
    slices = {layer.path: layer for layer in parts.layers if layer.kind == "slice"}
    model = str(facts.get("path", ""))
    for path in sorted({*slices, *([model] if model else [])}):
        kind = "machine-learning-model" if path == model else "file"
        component: dict[str, Json] = {"bom-ref": f"file:{path}", "type": kind, "name": path}
        properties: list[Json] = []
        if path in slices:
            properties.append({"name": "algo:layer", "value": slices[path].diff_id})
        if path == model:
            properties += [
                {"name": f"algo:model:{key}", "value": str(facts[key])}
                for key in ("framework", "kind", "version", "size")
                if facts.get(key)
            ]
        if path in file_sha256:
            component["hashes"] = [{"alg": "SHA-256", "content": file_sha256[path]}]
        yield {**component, "properties": properties} if properties else component


def _tools(doc: Mapping[str, Json]) -> list[Json]:
    return [
        {"type": "application", "name": str(pack.get("id", "")), "version": str(pack.get("version", ""))}
        for pack in table_list(doc.get("buildpacks"))
    ]


def _quoted(text: str) -> str:
    # purl: everything but these is percent-encoded, ':' stays as it is (Debian epochs)
    return quote(text, safe=":")
