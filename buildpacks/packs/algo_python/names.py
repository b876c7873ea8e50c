"""Names that people write for packages, and what they mean here: tables, and nothing but tables.

Source  project pages of each package, and requirement files of public model repositories
"""

from __future__ import annotations

import re

# Another spelling of something that has wheels. A dummy of that name may be in the index, which installs nothing.
ALIASES = {
    "sklearn": "scikit-learn", "skimage": "scikit-image", "pytorch": "torch", "pytorch-cpu": "torch",
    "pytorch-gpu": "torch", "tensorflow-gpu": "tensorflow", "cv2": "opencv-python-headless", "pil": "pillow",
    "py-opencv": "opencv-python-headless", "opencv": "opencv-python-headless", "libopencv": "opencv-python-headless",
    "matplotlib-base": "matplotlib", "py-xgboost": "xgboost", "py-xgboost-cpu": "xgboost",
    "msgpack-python": "msgpack", "pytables": "tables", "dask-core": "dask",
    "seaborn-base": "seaborn", "tensorflow-base": "tensorflow", "tensorflow-mkl": "tensorflow",
    "tensorflow-eigen": "tensorflow", "numpy-base": "numpy", "python-flatbuffers": "flatbuffers",
    "ruamel-yaml": "ruamel.yaml", "python-graphviz": "graphviz", "yaml": "pyyaml",
}  # fmt: skip

WINDOWS_ONLY = frozenset({
    "pywin32", "pypiwin32", "pywinpty", "pywin32-ctypes", "win-inet-pton", "wincertstore", "windows-curses", "wmi",
    "pywinauto", "comtypes", "winshell", "pyreadline", "win32-setctime", "pyad", "win-unicode-console", "winrt",
    "tensorflow-intel", "menuinst", "console-shortcut", "vc", "vs2015-runtime", "vs2019-win-64", "ucrt", "winpty",
    "m2w64-gcc-libs", "m2w64-gcc-libgfortran", "m2w64-gcc-libs-core", "m2w64-gmp", "m2w64-libwinpthread-git",
    "msys2-conda-epoch", "vc14-runtime",
})  # fmt: skip
MACOS_ONLY = frozenset(
    {"appnope", "pyobjc", "pyobjc-core", "tensorflow-macos", "tensorflow-metal", "applaunchservices"}
)

# Parts of Debian's Python that its pip freeze lists, and that no index has.
NOBODYS = frozenset({"pkg-resources"})

# The interpreter, and libraries that conda packs by themselves and wheels hold inside.
CONDA_INSIDE_WHEELS = frozenset({
    "blas", "bzip2", "ca-certificates", "certifi-win32", "cudatoolkit", "cudnn", "expat", "fontconfig", "freetype",
    "giflib", "glib", "gmp", "gst-plugins-base", "gstreamer", "hdf5", "icu", "intel-openmp", "jpeg", "krb5", "lame",
    "lcms2", "ld-impl-linux-64", "lerc", "libblas", "libcblas", "libcurl", "libcxx", "libdeflate", "libedit",
    "libffi", "libgcc", "libgcc-ng", "libgfortran", "libgfortran-ng", "libgfortran4", "libgfortran5", "libgomp",
    "libiconv", "liblapack", "libopenblas", "libpng", "libpq", "libprotobuf", "libsodium", "libssh2", "libstdcxx-ng",
    "libstdcxx", "libtiff", "libuuid", "libuv", "libwebp", "libwebp-base", "libxcb", "libxml2", "libxslt", "libzlib",
    "llvm-openmp", "lz4-c", "mkl", "mkl-fft", "mkl-random", "mkl-service", "mpc", "mpfr", "ncurses", "nettle",
    "openblas", "openh264", "openjpeg", "openssl", "pcre", "pthread-stubs", "python-abi", "pytorch-cuda",
    "pytorch-mutex", "qt", "qt-main", "readline", "snappy", "sqlite", "tbb", "tk", "tzdata", "xz", "yaml-cpp",
    "libyaml", "zeromq", "zlib", "zstd", "cpuonly", "nomkl", "libgcc-mutex", "openmp-mutex", "tensorflow-mutex",
    "blas-devel", "libabseil", "cudatoolkit-dev", "libnghttp2", "libev", "c-ares", "libbrotlicommon",
    "libbrotlidec", "libbrotlienc", "libnsl", "py-xgboost-mutex", "libsqlite", "libexpat", "liblzma",
})  # fmt: skip

# What conda has and no index of wheels does: refused together, by name.
CONDA_ALONE = re.compile(
    r"r-.*|bioconductor-.*|perl(-.*)?|gcc.*|gxx.*|gfortran.*|clang.*|cxx-compiler|c-compiler|compilers|git|nodejs|"
    r"openjdk|java-.*|go|rust|ruby|graph-tool|gdal|libgdal|fenics.*|psi4|root|ffmpeg|graphviz|imagemagick|"
    r"poppler|tesseract|samtools|bwa|blast|bedtools|hmmer|mafft|boost|boost-cpp|eigen|cgal|pcl|ambertools|"
    r"pythonocc-core|make|postgresql|redis|mysql|mongodb|openmpi|mpich|hadoop|spark"
)

# Minutes of compiling, and nearly always in vain for an old version under a new Python: not even tried.
HEAVY = frozenset({
    "numpy", "scipy", "pandas", "scikit-learn", "scikit-image", "matplotlib", "opencv-python",
    "opencv-python-headless", "opencv-contrib-python", "tensorflow", "torch", "torchvision", "torchaudio", "xgboost",
    "lightgbm", "catboost", "h5py", "grpcio", "pyarrow", "numba", "llvmlite", "statsmodels", "spacy", "blis", "thinc",
    "gensim", "tables", "onnxruntime", "onnx", "cryptography", "shapely", "jax", "jaxlib", "dlib", "tokenizers",
    "sentencepiece", "pystan", "prophet", "fbprophet", "mxnet", "bottleneck", "pywavelets", "cvxpy",
})  # fmt: skip


def canonical(name: str) -> str:
    """PEP 503's one spelling of a package name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_standard_library(name: str) -> bool:
    """A module that comes with Python: installing a package of that name is never what was meant."""
    import sys

    return name.lower().replace("-", "_") in _MODULES or name in sys.stdlib_module_names


_MODULES = frozenset({"dataclasses", "typing", "asyncio", "pathlib", "argparse", "distutils", "configparser"})
