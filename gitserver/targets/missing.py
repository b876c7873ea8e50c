"""What a crash says is missing: a Python module and the package that has it, a library of the system.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gitserver.errors import Json, Problem

# Modules whose package has another name. Source: the packages' own pages in the Python package index.
PACKAGES: Mapping[str, str] = {
    "attr": "attrs", "bs4": "beautifulsoup4", "Bio": "biopython", "cairosvg": "CairoSVG",
    "Crypto": "pycryptodome", "cv2": "opencv-python-headless", "dateutil": "python-dateutil",
    "django_filters": "django-filter", "docx": "python-docx", "dotenv": "python-dotenv", "faiss": "faiss-cpu",
    "fitz": "pymupdf", "flask_cors": "flask-cors", "flask_login": "flask-login",
    "flask_sqlalchemy": "flask-sqlalchemy", "flask_wtf": "flask-wtf", "git": "gitpython", "google.protobuf": "protobuf",
    "jose": "python-jose", "jwt": "pyjwt", "keras": "keras", "magic": "python-magic", "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart", "MySQLdb": "mysqlclient", "OpenSSL": "pyopenssl", "PIL": "pillow",
    "pptx": "python-pptx", "psycopg2": "psycopg2-binary", "rest_framework": "djangorestframework",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "slugify": "python-slugify", "yaml": "pyyaml",
    "umap": "umap-learn", "zmq": "pyzmq", "pkg_resources": "setuptools<81", "distutils": "setuptools",
}  # fmt: skip
_MODULE = re.compile(r"\b(?:ModuleNotFoundError|ImportError): No module named '?([A-Za-z_][\w.]*)'?\s*$")
_LIBRARY = re.compile(r"\bImportError: (lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
# Without a screen, OpenCV's own other build needs none of these.
_OF_A_SCREEN = re.compile(r"lib(?:GL|gthread|SM|Xext|Xrender|X11)\b")


def missing_part(lines: Sequence[str], how: str) -> Problem | None:
    """Why a process crashed, when its last lines say that something is not installed; None when they do not."""
    for line in reversed(lines):
        found = _MODULE.search(line)
        if found is not None:
            module = found[1]
            fields: dict[str, Json] = {"module": module, "package": package_of(module), "file": module.split(".")[0]}
            return Problem("module-missing", how=how, log=tuple(lines), **fields)
        found = _LIBRARY.search(line)
        if found is not None:
            mend = (
                "write opencv-python-headless in place of opencv-python into requirements.txt, and push again"
                if _OF_A_SCREEN.match(found[1])
                else "name the Debian package that has it in a file Aptfile, and push again"
            )
            return Problem("library-missing", how=how, log=tuple(lines), library=found[1], mend=mend)
    return None


def package_of(module: str) -> str:
    """The package that has a module, as far as its name is known; the module's own name otherwise."""
    top = module.split(".", maxsplit=1)[0]
    return PACKAGES.get(module) or PACKAGES.get(top) or top.replace("_", "-")
