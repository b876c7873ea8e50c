"""PyTorch for tests without its 3 GB: the real wheel, its GPU libraries replaced by stubs, behind a small index.

The package index that PyTorch's own project runs holds CPU wheels; it cannot be reached from everywhere. So a test
machine makes one: the public wheel of torch, with every library that only a GPU needs replaced by a stub that has the
same symbols. What runs on a CPU is the real thing. Made once a machine, kept in the cache.

Why stubs load: no library of torch is linked with BIND_NOW, so a function is looked up when it is called, and on a
machine without a GPU none of these is. Source: contracts, frameworks.md 1.2.
"""

from __future__ import annotations

import base64
import csv
import fcntl
import hashlib
import http.server
import io
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

TORCH = "2.15.0"
LOCAL = f"{TORCH}+cpu"
# Wheels that hold GPU libraries alone; the runtime and its tracing library stay: torch calls those to find no GPU.
EXCLUDED = (
    "triton", "nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-cufft", "nvidia-cusolver", "nvidia-cusparse",
    "nvidia-nccl-cu13", "nvidia-cusparselt-cu13", "nvidia-nvshmem-cu13", "nvidia-cuda-nvrtc", "nvidia-nvjitlink",
    "nvidia-cufile", "nvidia-cuda-cccl", "nvidia-nvtx", "cuda-bindings",
)  # fmt: skip
GPU_PARTS = ("libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so")
KEPT_PARTS = ("libcudart", "libcupti")
UNVERSIONED = {
    "libnccl": ("nccl", "pnccl"),
    "libcusparseLt": ("cusparseLt",),
    "libcufile": ("cuFile",),
    "libnvshmem_host": ("nvshmem",),
}
GPU_LIBRARY = re.compile(r"lib(cublas(Lt)?|cudnn|cufft|cusparse(Lt)?|cusolver|nccl|nvrtc|nvshmem_host|cufile)\.so")
LEFT_OUT = ("torch/include/", "torch/share/", "torch/test/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbols:
    """Dynamic symbols of one library. undefined: name to version ('' without); nodes: version to the file it is of."""

    needed: frozenset[str]
    undefined: dict[str, str]
    functions: frozenset[str]
    data: frozenset[str]
    nodes: dict[str, str]


@contextmanager
def torch_index() -> Iterator[str]:
    """The URL of a simple index (PEP 503) with torch +cpu, for the time of the block."""
    handler = partial(_Quiet, directory=str(torch_wheels()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        finally:
            server.shutdown()
            thread.join()


def torch_wheels() -> Path:
    """The folder that the index serves: simple/torch/ with one wheel. About a minute the first time on a machine."""
    folder = Path.home() / ".cache/algo-tests/torch"
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{LOCAL}-{_recipe_digest()}"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                draft = Path(scratch) / "index"
                _make(Path(scratch), draft)
                draft.rename(final)
    return final


def _recipe_digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def _make(scratch: Path, draft: Path) -> None:
    site = _installed(scratch)
    libraries = site / "torch/lib"
    for part in sorted((site / "nvidia").rglob("lib*.so*")):
        if part.name.startswith(KEPT_PARTS):
            shutil.move(part, libraries / part.name)
    write_stubs(libraries)
    _rename(site)
    shelf = draft / "simple/torch"
    shelf.mkdir(parents=True)
    _pack(site, shelf)


def _installed(scratch: Path) -> Path:
    site = scratch / "site"
    excludes = scratch / "excludes.txt"
    excludes.write_text("\n".join(EXCLUDED) + "\n")
    uv = str(Path(sys.executable).parent / "uv")
    command = [uv, "pip", "install", "-q", "--python", sys.executable, "--target", str(site), "--link-mode", "copy"]
    wanted = ["--only-binary", ":all:", "--excludes", str(excludes), f"torch=={TORCH}"]
    subprocess.run([*command, *wanted], check=True, timeout=600)
    return site


def write_stubs(libraries: Path) -> None:
    """Replace the GPU libraries of torch/lib, and add those that other wheels would bring, as stubs."""
    seen = {path.name: _symbols(path) for path in sorted(libraries.glob("lib*.so*"))}
    own = {name: seen.pop(name) for name in GPU_PARTS if name in seen}
    defined = {name for symbols in seen.values() for name in symbols.functions | symbols.data}
    wanted = {name for symbols in seen.values() for name in symbols.undefined} - defined
    # All of them in each: they find each other's symbols through the one that torch is linked with.
    functions = {name for symbols in own.values() for name in symbols.functions} & wanted
    data = {name for symbols in own.values() for name in symbols.data} & wanted - functions
    for name in own:
        (libraries / name).unlink()
        _compile(libraries / name, functions, data, version="")
    needed = {name for symbols in seen.values() for name in symbols.needed}
    nodes = {version: file for symbols in seen.values() for version, file in symbols.nodes.items()}
    for name in sorted(filter(GPU_LIBRARY.match, needed)):
        versioned = {
            symbol: version
            for symbols in seen.values()
            for symbol, version in symbols.undefined.items()
            if nodes.get(version) == name and symbol not in defined
        }
        prefixes = UNVERSIONED.get(name.split(".")[0], ())
        loose = {symbol for symbol in wanted if prefixes and symbol.startswith(prefixes)} - set(versioned)
        version = next(iter(versioned.values()), "")
        _compile(libraries / name, set(versioned) | loose, set(), version=version)


def _symbols(path: Path) -> Symbols:
    needed = {found[1] for line in _lines("readelf", "-dW", path) if (found := re.search(r"NEEDED.*\[(.*)\]", line))}
    undefined: dict[str, str] = {}
    functions: set[str] = set()
    data: set[str] = set()
    for parts in map(str.split, _lines("nm", "-D", path)):
        symbol, _, version = parts[-1].partition("@")
        if len(parts) == 2 and parts[0] in "Uw":
            undefined[symbol] = version.lstrip("@")
        elif len(parts) == 3:
            (data if parts[1] in "BbDdRrVvu" else functions).add(symbol)
    nodes, file = {}, ""
    for line in _lines("readelf", "-VW", path):
        if found := re.search(r"File: (\S+)", line):
            file = found[1]
        elif file and (found := re.search(r"Name: (\S+)\s+Flags", line)):
            nodes[found[1]] = file
    return Symbols(
        needed=frozenset(needed),
        undefined=undefined,
        functions=frozenset(functions),
        data=frozenset(data),
        nodes=nodes,
    )


def _lines(tool: str, option: str, path: Path) -> list[str]:
    done = subprocess.run([tool, option, str(path)], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.splitlines()


def _compile(path: Path, functions: Iterable[str], data: Iterable[str], *, version: str) -> None:
    # Some are called while torch is imported, to be handed the place of a hook: it gets one, and as a truth value the
    # same address reads as false.
    source = "extern void *_ZTVN10__cxxabiv117__class_type_infoE[];\n"
    source += "static char room[4096] __attribute__((aligned(4096)));\n"
    source += 'static void *type[2] = {&_ZTVN10__cxxabiv117__class_type_infoE[2], "gpu"};\n'
    source += "static void *nothing(void){return room;}\n"
    source += "".join(f"void *{name}(void){{return room;}}\n" for name in sorted(functions))
    source += "".join(_datum(name) for name in sorted(data))
    with tempfile.TemporaryDirectory() as scratch:
        code, script = Path(scratch, "stub.c"), Path(scratch, "versions")
        code.write_text(source)
        options = ["-w", "-O0", "-fno-builtin", "-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{path.name}"]
        if version:
            script.write_text(f"{version} {{ global: *; }};\n")
            options.append(f"-Wl,--version-script,{script}")
        subprocess.run(["gcc", *options, "-o", str(path), str(code)], check=True, timeout=120)


def _datum(name: str) -> str:
    """A class that is told to Python is looked up by its type's name and has its methods called: each does nothing."""
    if name.startswith("_ZTI"):
        value = f'{{&_ZTVN10__cxxabiv117__class_type_infoE[2], "{name[4:]}"}}'
    elif name.startswith("_ZTV"):
        value = "{0, type, " + ", ".join(["nothing"] * 62) + "}"
    else:
        value = "{0}"
    return f"void *{name}[64] = {value};\n"


def _rename(site: Path) -> None:
    """The version with its local part, and without the packages that the stubs stand for."""
    version = site / "torch/version.py"
    text = re.sub(r"__version__ = '[^']*'", f"__version__ = '{LOCAL}'", version.read_text())
    version.write_text(re.sub(r"(?m)^cuda(: [^=]+)? = .*$", "cuda = None", text))
    # The objects of torch.distributed would be made by stubs; a build without it says so by the same functions.
    for module in (site / "torch/__init__.py", *(site / "torch/distributed").rglob("__init__.py")):
        module.write_text(re.sub(r'hasattr\(torch\._C, "_\w+_init"\)', "False", module.read_text()))
    # Python's own GPU kernels would replace built ones, which are gone.
    native = site / "torch/_native/__init__.py"
    native.write_text(native.read_text().replace("registry._register_all_overrides()", "registry._graphs.clear()"))
    (site / f"torch-{TORCH}.dist-info").rename(site / f"torch-{LOCAL}.dist-info")
    metadata = site / f"torch-{LOCAL}.dist-info/METADATA"
    kept = [
        line
        for line in metadata.read_text().splitlines(keepends=True)
        if not re.match(r"Requires-Dist: (nvidia|cuda|triton)", line)
    ]
    metadata.write_text("".join(kept).replace(f"Version: {TORCH}\n", f"Version: {LOCAL}\n", 1))


def _pack(site: Path, shelf: Path) -> None:
    """The wheel, its RECORD made anew, and the index page that names it."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel = shelf / f"torch-{LOCAL}-{tag}-{tag}-manylinux_2_28_x86_64.whl"
    information = f"torch-{LOCAL}.dist-info"
    rows = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for top in ("torch", "torchgen", "functorch", information):
            for path in sorted((site / top).rglob("*")):
                name = path.relative_to(site).as_posix()
                skipped = (
                    name.startswith(LEFT_OUT)
                    or "__pycache__" in path.parts
                    or path.name in {"RECORD", "REQUESTED", "INSTALLER"}
                )
                if not path.is_file() or skipped:
                    continue
                digest = hashlib.sha256(path.read_bytes()).digest()
                rows.append(
                    (name, "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("="), path.stat().st_size)
                )
                archive.write(path, name)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*rows, (f"{information}/RECORD", "", "")])
        archive.writestr(f"{information}/RECORD", text.getvalue())
    write_page(shelf, wheel, (site / information / "METADATA").read_bytes())


def write_page(shelf: Path, wheel: Path, metadata: bytes) -> None:
    """The index page, and the metadata beside the wheel (PEP 658): without it a resolver reads the whole wheel."""
    wheel.with_name(f"{wheel.name}.metadata").write_bytes(metadata)
    quoted = wheel.name.replace("+", "%2B")
    with wheel.open("rb") as file:
        wheel_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    core = f'data-core-metadata="sha256={hashlib.sha256(metadata).hexdigest()}"'
    link = f'<a href="{quoted}#sha256={wheel_sha256}" {core}>{wheel.name}</a>'
    (shelf / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>\n")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_message: object) -> None:
        """Tests need no log of requests."""
