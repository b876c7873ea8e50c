"""Carries out a sandbox.SandboxPlan and becomes its command.

    python -I -S launch.py PLAN_FD REPORT_FD [PROGRAM]

With PROGRAM, a script of ours for this very interpreter, it is started before there is a plan: the script's modules are
loaded, and when the plan comes for `python -I -S PROGRAM ARGUMENT`, this process goes on as that program instead of
starting an interpreter once more. For any other command it becomes that, as ever. No plan: nobody needed it.

Its own program, because preexec_fn in a threaded server is unsafe. Standard library only, imported with care for
time: it runs before every release. A step that the plan asks for and that fails is told on REPORT_FD and ends it with
70 + the step's number; REPORT_FD closes by the exec, so its end without a word means that the command runs.

Order (contracts/frameworks.md 7): cgroup, namespaces, hide and bind, limits, capabilities, user, no new privileges,
death signal (setuid clears it), Landlock, exec.
Source  prctl(2), mount(2), unshare(2), capabilities(7), landlock(7)
"""

# os.path and os.open: pathlib would cost a fifth of the start.
# ruff: noqa: PTH102, PTH103, PTH112, PTH113, PTH114, PTH115, PTH120, PTH211

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import sys

TYPE_CHECKING = False  # importing typing would cost as much as all the rest
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWNS, CLONE_NEWIPC = 0x00020000, 0x08000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_MOVE, MS_REC, MS_PRIVATE = 8192, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = (
    1,
    4,
    24,
    38,
    47,
    4,
)
CAPABILITY_VERSION_3 = 0x20080522
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446  # every architecture
LANDLOCK_READ = (1 << 0) | (1 << 2) | (1 << 3)  # execute, read files, read folders
LANDLOCK_WRITE_FILE, LANDLOCK_TRUNCATE, LANDLOCK_IOCTL_DEV = 1 << 1, 1 << 14, 1 << 15
LANDLOCK_SCOPED = 0b11  # no abstract sockets and no signals to anything that was not started from in here (ABI 6)
LANDLOCK_OLDEST = 2  # version 1 forbids every rename from one folder to another, which builds need
NEW_ROOT = "/tmp"  # noqa: S108 -- where the root is put together; it is mounted over, in a namespace of its own
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 -- covered, not used
SYSTEM_DIRS = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/sys", "/nix", "/snap",
)  # fmt: skip
SIGKILL, LAST_CAPABILITY = 9, 63
LEVEL_NAMESPACE = 2  # sandbox.Level

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """A C function that answers 0, or OSError."""
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    call(
        "mount", source.encode(), target.encode(), None if kind is None else kind.encode(), ctypes.c_ulong(flags),
        None if options is None else options.encode(),
    )  # fmt: skip


def join_cgroups(plan: Any) -> None:
    """Before anything of the child's is allocated, so that all of it is counted."""
    for path in plan["join"]:
        with open(path, "w") as file:
            file.write(str(os.getpid()))


def hide_and_bind(plan: Any) -> None:
    """A private view: hidden places become empty folders, in which only the listed ones appear again."""
    if plan["level"] < LEVEL_NAMESPACE:
        return
    call("unshare", CLONE_NEWNS | CLONE_NEWIPC)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    binds = [(path, path, True) for path in plan["readable"]] + [(path, path, False) for path in plan["writable"]]
    binds += [(path, target, False) for path, target in plan["places"]]
    # Opened before they are covered; bound again through their descriptors, at the same paths, outermost first.
    opened = [(os.open(path, os.O_PATH | os.O_CLOEXEC), target, read_only) for path, target, read_only in binds]
    missing = [target for _, target in plan["places"] if not os.path.isdir(target)]
    if missing:
        change_root(missing)
    opened.sort(key=lambda item: item[1].count("/"))
    mask = os.umask(0o066)  # folders made on the way can be passed and not listed
    for path in plan["hidden"]:
        if os.path.isdir(path):
            mode = "1777" if path in TEMPORARY else "0711"
            mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode},size={plan['limits']['memory_mib']}m")
    for path, _ in plan["rooms"]:
        os.makedirs(path, exist_ok=True)
    for descriptor, path, read_only in opened:
        make_target(path, os.path.isdir(f"/proc/self/fd/{descriptor}"))
        mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND)
        flags = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | (MS_RDONLY if read_only else 0)
        mount("none", path, None, flags)
        os.close(descriptor)
    os.umask(mask)
    if plan["private_proc"]:
        # Other users' processes, their command lines above all, are not there. Last: the binds went through /proc.
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2")


def change_root(missing: list[str]) -> None:
    """A root folder of our own: everything that the machine's has, and empty folders that it lacks to bind on.

    Why  the machine's own root must not get a folder because of one build; for those without any such place the root
         stays the machine's, which costs no mounts
    """
    names = sorted(os.listdir("/"))
    links = {name: os.readlink(f"/{name}") for name in names if os.path.islink(f"/{name}")}
    folders = [name for name in names if name not in links and os.path.isdir(f"/{name}")]
    opened = {name: os.open(f"/{name}", os.O_PATH | os.O_CLOEXEC) for name in folders}
    mount("tmpfs", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    for name, target in links.items():
        os.symlink(target, f"{NEW_ROOT}/{name}")
    for name, descriptor in opened.items():
        os.mkdir(f"{NEW_ROOT}/{name}")
        mount(f"/proc/self/fd/{descriptor}", f"{NEW_ROOT}/{name}", None, MS_BIND | MS_REC)
        os.close(descriptor)
    for path in missing:
        os.makedirs(NEW_ROOT + path)
    os.chdir(NEW_ROOT)
    mount(".", "/", None, MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def make_target(path: str, is_dir: bool) -> None:
    """The empty folder or file to bind on; there already when nothing above it was covered."""
    if os.path.exists(path):
        return
    os.makedirs(path if is_dir else os.path.dirname(path), exist_ok=True)
    if not is_dir:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o444))


def set_limits(plan: Any) -> None:
    """Never raises a limit that the server itself lives under."""
    limits = plan["limits"]
    wanted = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
    ]
    if limits["user_processes"] is not None:
        wanted.append((resource.RLIMIT_NPROC, limits["user_processes"]))
    for what, value in wanted:
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901 -- capped
        resource.setrlimit(what, (value, value))


def drop_rights(plan: Any) -> None:
    """An unprivileged user without capabilities; nothing it executes can gain any."""
    uid = plan["uid"]
    if uid is not None:
        for capability in range(LAST_CAPABILITY + 1):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                break  # past the last one that this kernel knows
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    if os.geteuid() != 0:
        # setresuid cleared the effective and permitted ones; what a service manager left inheritable goes here.
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        call("capset", struct.pack("=Ii", CAPABILITY_VERSION_3, 0), struct.pack("=6I", *[0] * 6))
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def set_death_signal(plan: Any) -> None:
    """Build children end with the worker; asked for after setuid, which would clear it."""
    if plan["parent"] is not None:
        call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != plan["parent"]:  # it was gone before we asked
            os._exit(79)


def restrict_files(plan: Any) -> None:
    """Landlock: system folders and readable ones to read, writable ones to write, nothing else. Needs no rights."""
    if not plan["landlock"]:
        return
    abi = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if abi < LANDLOCK_OLDEST:
        raise OSError(ctypes.get_errno(), f"landlock: version {abi} of at least {LANDLOCK_OLDEST}")
    every = (1 << 14) - 1
    every |= LANDLOCK_TRUNCATE if abi >= 3 else 0
    every |= LANDLOCK_IOCTL_DEV if abi >= 5 else 0
    attribute = struct.pack("=Q", every) if abi < 6 else struct.pack("=QQQ", every, 0, LANDLOCK_SCOPED)
    ruleset = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    device = LANDLOCK_READ | LANDLOCK_WRITE_FILE | (every & (LANDLOCK_TRUNCATE | LANDLOCK_IOCTL_DEV))
    rules = [(path, LANDLOCK_READ) for path in (*SYSTEM_DIRS, *plan["readable"])]
    rules += [("/dev", device), ("/dev/shm", every), ("/proc", LANDLOCK_READ | LANDLOCK_WRITE_FILE)]  # noqa: S108 -- allowed, not used
    rules += [(path, every) for path in plan["writable"]]
    rules += [(path, every if is_writable else LANDLOCK_READ) for path, is_writable in plan["rooms"]]
    if plan["level"] == LEVEL_NAMESPACE:  # private and empty there; shared with everybody otherwise
        rules += [(path, every) for path in TEMPORARY]
        rules += [(path, every) for _, path in plan["places"]]
    for path, allowed in rules:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # this system has no such folder, or this user no way to it: not allowed, then
        if not os.path.isdir(path):
            allowed &= LANDLOCK_READ & ~(1 << 3) | LANDLOCK_WRITE_FILE  # noqa: PLW2901 -- folder rights on a file fail
        rule = struct.pack("=Qi", allowed & every, descriptor)
        if libc.syscall(SYS_LANDLOCK_ADD_RULE, ruleset, 1, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
        os.close(descriptor)
    if libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)


def enter_folder(plan: Any) -> None:
    """As the child, so that a folder it may not enter fails here."""
    os.chdir(plan["cwd"])


def find_program(name: str, search_path: str) -> str:
    """The program to execute, looked for on the child's own PATH."""
    if "/" in name:
        return name
    for folder in search_path.split(os.pathsep):
        candidate = os.path.join(folder, name)
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return name


def load(path: str) -> Any:
    """A program's own main, with everything that it is likely to import; nothing of it has run."""
    import runpy  # here alone: the usual start does without it

    sys.dont_write_bytecode = True  # as root, into the installation
    found = runpy.run_path(path, run_name="ready")
    found["load_all"]()
    return found["main"]


def become(plan: Any, run: Any) -> None:
    """Be the plan's program in this process. What an exec does by itself is done here: nothing stays open or set."""
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # cleared by setuid, set again by an exec
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))  # REPORT_FD among them: that says that the command runs
            except OSError:
                pass  # the listing's own
    os.environ.clear()
    os.environ.update(plan["env"])
    sys.argv = plan["argv"][3:]
    status = run(plan["argv"][4:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


STEPS = (
    ("control group", join_cgroups),
    ("mount namespace", hide_and_bind),
    ("resource limits", set_limits),
    ("user", drop_rights),
    ("death signal", set_death_signal),
    ("Landlock", restrict_files),
    ("working folder", enter_folder),
)


def main() -> None:
    """Plan in, command out."""
    report = int(sys.argv[2])
    os.set_inheritable(report, False)
    os.umask(0o022)  # the server's own is tighter than what programs expect
    ready = load(sys.argv[3]) if len(sys.argv) > 3 else None
    with open(int(sys.argv[1]), "rb") as file:
        text = file.read()
    if not text:
        return
    plan = json.loads(text)
    for number, (name, step) in enumerate(STEPS, 1):
        try:
            step(plan)
        except OSError as error:
            os.write(report, json.dumps({"step": name, "why": str(error)}).encode())
            os._exit(70 + number)
    if ready is not None and plan["argv"][1:-1] == ["-I", "-S", sys.argv[3]]:
        become(plan, ready)
    program = find_program(plan["argv"][0], plan["env"].get("PATH", ""))
    try:
        os.execve(program, plan["argv"], plan["env"])  # noqa: S606 -- an argument list of the server's own plan
    except OSError as error:
        sys.stderr.write(f"{plan['argv'][0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127)


if __name__ == "__main__":
    main()
