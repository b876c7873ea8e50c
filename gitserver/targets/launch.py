"""Carries out a sandbox.SandboxPlan and becomes its command. Started as `python -I -S launch.py FD`.

Its own program, because preexec_fn in a threaded server is unsafe. Standard library only, imported with care for
time: it runs before every release. A step that the plan asks for and that fails ends it: 70 + the step's number.

Order (contracts/frameworks.md 7): cgroup, namespaces, hide and bind, limits, capabilities, user, no new privileges,
death signal (setuid clears it), Landlock, exec.
Source  prctl(2), mount(2), unshare(2), capabilities(7), landlock(7)
"""

# os.path and os.open: pathlib would cost a fifth of the start.
# ruff: noqa: PTH103, PTH112, PTH113, PTH120

import ctypes
import json
import os
import resource
import struct
import sys

CLONE_NEWNS, CLONE_NEWIPC = 0x00020000, 0x08000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446  # every architecture
LANDLOCK_READ = (1 << 0) | (1 << 2) | (1 << 3)  # execute, read files, read folders
LANDLOCK_WRITE_FILE, LANDLOCK_TRUNCATE, LANDLOCK_IOCTL_DEV = 1 << 1, 1 << 14, 1 << 15
SYSTEM_DIRS = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/sys", "/run/systemd/resolve",
    "/var/lib/dpkg", "/nix",
)  # fmt: skip
SIGKILL, LAST_CAPABILITY = 9, 63

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    """A C function that answers 0, or OSError."""
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def mount(source, target, kind, flags, options=None):
    """mount(2)."""
    call(
        "mount", source.encode(), target.encode(), None if kind is None else kind.encode(), ctypes.c_ulong(flags),
        None if options is None else options.encode(),
    )  # fmt: skip


def join_cgroups(plan):
    """Before anything of the child's is allocated, so that all of it is counted."""
    for path in plan["join"]:
        with open(path, "w") as file:
            file.write(str(os.getpid()))


def hide_and_bind(plan):
    """A private view: hidden places become empty folders, in which only the listed ones appear again."""
    call("unshare", CLONE_NEWNS | CLONE_NEWIPC)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    binds = [(path, True) for path in plan["readable"]] + [(path, False) for path in plan["writable"]]
    # Opened before they are covered; bound again through their descriptors, at the same paths, outermost first.
    opened = [(os.open(path, os.O_PATH | os.O_CLOEXEC), path, read_only) for path, read_only in binds]
    opened.sort(key=lambda item: item[1].count("/"))
    for path in plan["hidden"]:
        if os.path.isdir(path):
            mode = "1777" if path in {"/tmp", "/var/tmp", "/dev/shm"} else "0755"  # noqa: S108 -- covered, not used
            mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode},size=256m")
    for descriptor, path, read_only in opened:
        make_target(path, os.path.isdir(f"/proc/self/fd/{descriptor}"))
        mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND)
        flags = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | (MS_RDONLY if read_only else 0)
        mount("none", path, None, flags)
        os.close(descriptor)


def make_target(path, is_dir):
    """The empty folder or file to bind on; there already when nothing above it was covered."""
    if os.path.exists(path):
        return
    os.makedirs(path if is_dir else os.path.dirname(path), mode=0o755, exist_ok=True)
    if not is_dir:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o444))


def set_limits(plan):
    """Never raises a limit that the server itself lives under."""
    limits = plan["limits"]
    wanted = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
    ]
    if plan["uid"] is not None:  # counted for each user; a shared one would limit the server's own
        wanted.append((resource.RLIMIT_NPROC, limits["processes"]))
    for what, value in wanted:
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901 -- capped
        resource.setrlimit(what, (value, value))


def drop_rights(plan):
    """An unprivileged user without capabilities; nothing it executes can gain any."""
    uid = plan["uid"]
    if uid is not None:
        for capability in range(LAST_CAPABILITY + 1):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                break  # past the last one that this kernel knows
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def set_death_signal(plan, parent):
    """Build children end with the worker; asked for after setuid, which would clear it."""
    if plan["dies_with_parent"]:
        call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(79)


def restrict_files(plan):
    """Landlock: system folders and readable ones to read, writable ones to write, nothing else. Needs no rights."""
    if not plan["landlock"]:
        return
    abi = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        raise OSError(ctypes.get_errno(), "landlock")
    every = (1 << 13) - 1
    every |= (1 << 13) if abi >= 2 else 0
    every |= LANDLOCK_TRUNCATE if abi >= 3 else 0
    every |= LANDLOCK_IOCTL_DEV if abi >= 5 else 0
    attribute = struct.pack("=Q", every)
    ruleset = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    device = LANDLOCK_READ | LANDLOCK_WRITE_FILE | (every & (LANDLOCK_TRUNCATE | LANDLOCK_IOCTL_DEV))
    rules = [(path, LANDLOCK_READ) for path in (*SYSTEM_DIRS, *plan["readable"])]
    rules += [("/dev", device), ("/dev/shm", every)]  # noqa: S108 -- allowed, not used
    rules += [(path, every) for path in plan["writable"]]
    for path, allowed in rules:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # this system has no such folder
        if not os.path.isdir(path):
            allowed &= LANDLOCK_READ & ~(1 << 3) | LANDLOCK_WRITE_FILE  # noqa: PLW2901 -- folder rights on a file fail
        rule = struct.pack("=Qi", allowed & every, descriptor)
        if libc.syscall(SYS_LANDLOCK_ADD_RULE, ruleset, 1, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
        os.close(descriptor)
    if libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)


def find_program(name, search_path):
    """The program to execute, looked for on the child's own PATH."""
    if "/" in name:
        return name
    for folder in search_path.split(os.pathsep):
        candidate = os.path.join(folder, name)
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return name


def main():
    """Plan in, command out."""
    parent = os.getppid()
    os.umask(0o022)  # the server's own is tighter; mount points made here must be passable
    with open(int(sys.argv[1]), "rb") as file:
        plan = json.load(file)
    steps = (
        join_cgroups,
        lambda it: hide_and_bind(it) if it["level"] == 2 else None,
        set_limits,
        drop_rights,
        lambda it: set_death_signal(it, parent),
        restrict_files,
        lambda it: os.chdir(it["cwd"]),
    )
    for number, step in enumerate(steps, 1):
        try:
            step(plan)
        except OSError as error:
            sys.stderr.write(f"sandbox: step {number}: {error}\n")
            sys.stderr.flush()
            os._exit(70 + number)
    program = find_program(plan["argv"][0], plan["env"].get("PATH", ""))
    try:
        os.execve(program, plan["argv"], plan["env"])
    except OSError as error:
        sys.stderr.write(f"{plan['argv'][0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127)


if __name__ == "__main__":
    main()
