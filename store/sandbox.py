"""The store's process shut in: its own folder, its own libraries, no TCP but its own listener.

Landlock (Linux >= 5.13) takes rights away from the calling thread and from all that it starts, for
ever and without privileges. The engine starts threads while it is imported, and on kernels without
TSYNC nothing restricts a thread that runs already: so rights are taken before that import, and
what the import and the interpreter read (libraries, never data) stays readable. What the kernel's
version cannot hold is said: TCP needs ABI 4, signals ABI 6, and UDP stays open everywhere.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CREATE: Final = 444  # system calls; the same numbers on every architecture
_ADD: Final = 445
_RESTRICT: Final = 446
_VERSION_FLAG: Final = 1
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_FS_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}  # ABI -> how many bits of rights it knows
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_EXECUTE: Final = 1
_MAKE_SPECIAL: Final = (1 << 6) | (1 << 9) | (1 << 10) | (1 << 11)  # devices, sockets, pipes
_IOCTL: Final = 1 << 15
_TCP: Final = 3  # bind, connect
_ABI_TCP: Final = 4
_ABI_SCOPES: Final = 6
_SCOPES: Final = 3  # abstract sockets, signals
_FILES: Final = (
    "/dev/null",
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self/auxv",  # without it the engine looks behind `environ` and may crash
    "/proc/self/maps",
    "/proc/self/statm",
)
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_FIGURES: Final = (
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
)  # how much memory and how many cores


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What holds: `abi` 0 is none. `open_doors` says in words what does not."""

    abi: int
    open_doors: tuple[str, ...]


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_fs", ctypes.c_uint64),
        ("handled_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def libraries() -> list[Path]:
    """Where this process may still find code: interpreter, packages, shared objects, `store`."""
    own = Path(__file__).resolve().parents[1]
    paths = [*map(Path, _LIBRARIES), *(own / name for name in ("store", "wire"))]
    paths += [
        Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    ]
    return sorted({path.resolve() for path in paths if path.is_dir()})


def enter(folder: Path) -> Sandbox:
    """Take every right from this process but to read and write below `folder`.

    Call it once, before a second thread exists; RuntimeError otherwise, because that thread would
    keep its rights.
    """
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("a thread that runs already would escape the sandbox")
    libc = ctypes.CDLL(None, use_errno=True)
    abi = max(int(libc.syscall(_CREATE, None, 0, _VERSION_FLAG)), 0)
    if not abi:
        return Sandbox(0, ("files", "TCP", "signals", "UDP"))
    fs = (1 << _FS_RIGHTS[max(v for v in _FS_RIGHTS if v <= abi)]) - 1
    rules = _Ruleset(fs, _TCP if abi >= _ABI_TCP else 0, _SCOPES if abi >= _ABI_SCOPES else 0)
    size = 8 if abi < _ABI_TCP else 16 if abi < _ABI_SCOPES else 24
    ruleset = _checked(int(libc.syscall(_CREATE, ctypes.byref(rules), size, 0)))
    try:
        _allow(libc, ruleset, folder, fs & ~(_EXECUTE | _MAKE_SPECIAL | _IOCTL))
        for path in libraries():
            _allow(libc, ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
        for path in filter(Path.is_dir, map(Path, _FIGURES)):
            _allow(libc, ruleset, path, _READ_FILE | _READ_DIR)
        for path in map(Path, _FILES):
            if path.exists():
                _allow(libc, ruleset, path, _READ_FILE)
        _checked(int(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
        _checked(int(libc.syscall(_RESTRICT, ruleset, 0)))
    finally:
        os.close(ruleset)
    open_doors = [
        name for name, since in (("TCP", _ABI_TCP), ("signals", _ABI_SCOPES)) if abi < since
    ]
    return Sandbox(abi, (*open_doors, "UDP"))


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights, descriptor)
        _checked(int(libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)))
    finally:
        os.close(descriptor)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return answer
