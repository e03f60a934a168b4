"""The processor's own counters while something runs: Linux's ``perf_event_open``, where it may be used."""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable, Mapping

SYSCALLS = {"x86_64": 298, "aarch64": 241}
SIZE = 128  # bytes of struct perf_event_attr
FLAGS = 0x1 | 0x20 | 0x40  # disabled at first; neither the kernel nor a hypervisor
ENABLE, DISABLE = 0x2400, 0x2401  # ioctl requests
HARDWARE = {"cycles": (0, 0), "instructions": (0, 1), "cache misses": (0, 3), "branch misses": (0, 5)}  # type, number


def open_counter(kind: int, number: int) -> int:
    """Return a file that counts events of this thread.

    Raises
    ------
    OSError
        Where the system has no such counter, or does not let this process use it.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in SYSCALLS:
        raise OSError(0, f"perf_event_open is not known on {sys.platform}, {machine}")
    attributes = bytearray(SIZE)
    struct.pack_into("IIQ", attributes, 0, kind, SIZE, number)
    struct.pack_into("Q", attributes, 40, FLAGS)
    pointer = (ctypes.c_char * SIZE).from_buffer(attributes)
    file = ctypes.CDLL(None, use_errno=True).syscall(SYSCALLS[machine], pointer, 0, -1, -1, 0)
    if file < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(file)


def counted(run: Callable[[], object], events: Mapping[str, tuple[int, int]] = HARDWARE) -> tuple[dict[str, int], str]:
    """Run something, and return how often each event happened meanwhile; or nothing, and why that cannot be known."""
    files: dict[str, int] = {}
    try:
        for name, event in events.items():
            files[name] = open_counter(*event)
        import fcntl  # not on Windows

        for file in files.values():
            fcntl.ioctl(file, ENABLE, 0)
        run()
        for file in files.values():
            fcntl.ioctl(file, DISABLE, 0)
        return {name: int.from_bytes(os.read(file, 8), sys.byteorder) for name, file in files.items()}, ""
    except OSError as error:
        return {}, f"perf_event_open: {error.strerror}"
    finally:
        for file in files.values():
            os.close(file)
