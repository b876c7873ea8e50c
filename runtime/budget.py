"""How many native threads the model's libraries may start, from what this process may really use.

1. Libraries size their pools from the cores of the host, not from the quota: 90 times slower under a quota was
   measured by others (dmlc/xgboost#7653, kserve/kserve#1031). So the sizes are set before user code is imported.
2. Calls run at once in `threads` threads, so each call gets its share of the cores, not all of them.
3. Share 1 means that no pool is ever started in the parent, and only then is it safe to load before the fork
   (pytorch/pytorch#49555, zeeguu/api#664). A larger share loads after the fork.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

POOL_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


def read_cpu_quota(cgroup_root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores that the control group grants, from cpu.max (v2) or cpu.cfs_* (v1); None: no limit, or none readable."""
    try:
        quota, _, period = (cgroup_root / "cpu.max").read_text().strip().partition(" ")
        return None if quota == "max" else int(quota) / int(period or 100_000)
    except (OSError, ValueError):
        pass  # not a v2 root: ask v1
    try:
        quota_us = int((cgroup_root / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((cgroup_root / "cpu/cpu.cfs_period_us").read_text())
        return None if quota_us <= 0 or period_us <= 0 else quota_us / period_us
    except (OSError, ValueError):
        return None


def usable_cpus() -> int:
    """Whole cores for this process: the smaller of affinity and quota, at least 1."""
    allowed = len(os.sched_getaffinity(0))
    quota = read_cpu_quota()
    return max(1, allowed if quota is None else min(allowed, math.floor(quota + 0.01)))


def pool_size(cpus: int, workers: int, threads: int) -> int:
    """Native threads for one call, so that workers x calls x pool fits into cpus."""
    return max(1, cpus // (workers * threads))


def pool_environment(environ: Mapping[str, str], size: int) -> dict[str, str]:
    """The variables to set: those that the app's own configuration does not set already."""
    return {name: str(size) for name in POOL_VARIABLES if not environ.get(name)}


def may_load_before_fork(environ: Mapping[str, str], size: int) -> bool:
    """True when no library will start a pool in the parent: every size, also those of the app's own, is 1."""
    if environ.get("ALGO_PRELOAD", "") == "0":
        return False
    return all(environ.get(name, str(size)) in ("", "1") for name in POOL_VARIABLES) and size == 1


def native_thread_count() -> int:
    """Threads of this process that the kernel sees, Python's and others'."""
    return len(os.listdir("/proc/self/task"))
