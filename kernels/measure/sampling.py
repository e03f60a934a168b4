"""Program counters at regular times: what code runs, and for what share of the time. Linux alone, without privileges.

A timer for each thread sends it SIGPROF; a handler of machine code, as Python's handlers run too late, notes where the
thread is: the address if it lies in the code that is watched, else that of the watched code that called what is
running, which is found on the stack.
"""

import contextlib
import ctypes
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from lenumba.kernels.compile.native import get_program
from lenumba.kernels.measure.peaks import chain_source

RATE = 997.0  # samples a second; a prime, so that no loop keeps step with them
CAPACITY = 1 << 17
BEARABLE, LEAST_RATE = 0.02, 199.0  # of the time, for sampling; samples a second all the same
SPIN = 10_000_000  # rounds of 4 cycles: some milliseconds
SCANNED = 200  # words of the stack: those above belong to a thread's own data
# Where glibc's ucontext_t has the program counter, the stack pointer and the link register (none on x86-64): bytes.
CONTEXTS = {"x86_64": (168, 160, 0), "aarch64": (440, 432, 424)}
SIGEV_THREAD_ID, CLOCK_MONOTONIC, SA_SIGINFO, SA_RESTART = 4, 1, 4, 0x10000000

HANDLER = """
@lenumba.state = global [8 x i64] zeroinitializer

define void @lenumba.handler(i32 %signal, ptr %info, ptr %context) {{
entry:
  %on = load atomic i64, ptr @lenumba.state monotonic, align 8
  %low = load i64, ptr getelementptr (i64, ptr @lenumba.state, i64 1)
  %high = load i64, ptr getelementptr (i64, ptr @lenumba.state, i64 2)
  %size = load i64, ptr getelementptr (i64, ptr @lenumba.state, i64 4)
  %buffer = load ptr, ptr getelementptr (i64, ptr @lenumba.state, i64 5)
  %off = icmp eq i64 %on, 0
  br i1 %off, label %done, label %take
take:
  %pc.at = getelementptr i8, ptr %context, i64 {pc}
  %pc = load i64, ptr %pc.at
  %sp.at = getelementptr i8, ptr %context, i64 {sp}
  %sp = load i64, ptr %sp.at
  %sp.ptr = inttoptr i64 %sp to ptr
  %link.at = getelementptr i8, ptr %context, i64 {link}
  %link = load i64, ptr %link.at
  br label %scan
scan:
  %k = phi i64 [ -2, %take ], [ %next, %more ]
  %site = phi i64 [ %pc, %take ], [ %word, %more ]
  %above = icmp uge i64 %site, %low
  %below = icmp ult i64 %site, %high
  %inside = and i1 %above, %below
  br i1 %inside, label %check, label %more
check:
  %running = icmp eq i64 %k, -2
  %after = add i64 %low, 8
  %early = icmp ult i64 %site, %after
  br i1 %running, label %note, label %later
later:
  br i1 %early, label %more, label %called
called:
  {check}
  br i1 %call, label %note, label %more
more:
  %next = add i64 %k, 1
  %slot = icmp sge i64 %next, 0
  %index = select i1 %slot, i64 %next, i64 0
  %word.at = getelementptr i64, ptr %sp.ptr, i64 %index
  %stacked = load i64, ptr %word.at
  %word = select i1 %slot, i64 %stacked, i64 %link
  %over = icmp sge i64 %next, {scanned}
  br i1 %over, label %note, label %scan
note:
  %found = phi i64 [ %site, %check ], [ %site, %called ], [ 0, %more ]
  %count = atomicrmw add ptr getelementptr (i64, ptr @lenumba.state, i64 3), i64 1 monotonic
  %full = icmp uge i64 %count, %size
  br i1 %full, label %done, label %store
store:
  %time = call i64 @llvm.readsteadycounter()
  %place = mul i64 %count, 4
  %p0 = getelementptr i64, ptr %buffer, i64 %place
  store i64 %pc, ptr %p0
  %p1 = getelementptr i64, ptr %p0, i64 1
  store i64 %found, ptr %p1
  %p2 = getelementptr i64, ptr %p0, i64 2
  store i64 %sp, ptr %p2
  %p3 = getelementptr i64, ptr %p0, i64 3
  store i64 %time, ptr %p3
  br label %done
done:
  ret void
}}

declare i64 @llvm.readsteadycounter()
"""

# A word on the stack is a return address only if a call stands before it: E8, or FF with a register or an address.
BEHIND_CALL = """%code = inttoptr i64 %site to ptr
  %b5.at = getelementptr i8, ptr %code, i64 -5
  %b5 = load i8, ptr %b5.at
  %near = icmp eq i8 %b5, -24
  %b2.at = getelementptr i8, ptr %code, i64 -2
  %b2 = load i8, ptr %b2.at
  %far2 = icmp eq i8 %b2, -1
  %b3.at = getelementptr i8, ptr %code, i64 -3
  %b3 = load i8, ptr %b3.at
  %far3 = icmp eq i8 %b3, -1
  %b6.at = getelementptr i8, ptr %code, i64 -6
  %b6 = load i8, ptr %b6.at
  %far6 = icmp eq i8 %b6, -1
  %c1 = or i1 %near, %far2
  %c2 = or i1 %c1, %far3
  %call = or i1 %c2, %far6"""


class Value(ctypes.Union):
    """sigval."""

    _fields_ = (("number", ctypes.c_int), ("pointer", ctypes.c_void_p))


class Event(ctypes.Structure):
    """Struct sigevent, with the thread's number."""

    _fields_ = (("value", Value), ("signal", ctypes.c_int), ("notify", ctypes.c_int), ("thread", ctypes.c_int),
                ("rest", ctypes.c_char * 44))  # fmt: skip


class Action(ctypes.Structure):
    """Struct sigaction of glibc."""

    _fields_ = (("handler", ctypes.c_void_p), ("mask", ctypes.c_uint64 * 16), ("flags", ctypes.c_int),
                ("restorer", ctypes.c_void_p))  # fmt: skip


@dataclass
class Samples:
    """What the handler noted.

    Attributes
    ----------
    sites
        Addresses in the watched code, 0 where none of it was running or waiting for what it called.
    inside
        Whether the watched code itself was running, not what it called.
    threads
        A number for each thread.
    times
        Of a counter.
    """

    counters: np.ndarray
    sites: np.ndarray
    threads: np.ndarray
    times: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Whether the watched code itself was running, not what it called."""
        return self.sites == self.counters


def why_not() -> str:
    """Return why this machine cannot be sampled; "" where it can."""
    if sys.platform != "linux":
        return f"sampling needs Linux's timers, found {sys.platform}"
    if platform.machine() not in CONTEXTS:
        return f"sampling knows x86-64 and AArch64, found {platform.machine()}"
    return ""


def behind_call(counter: int) -> bool:
    """Return whether a program counter lies behind an instruction that calls the system: a thread there was waiting."""
    if platform.machine() == "x86_64":
        return ctypes.string_at(counter - 2, 2) == b"\x0f\x05"
    return ctypes.string_at(counter - 4, 4) == b"\x01\x00\x00\xd4"


@cache
def handler() -> Any:
    """Return the engine that has the handler."""
    pc, sp, link = CONTEXTS[platform.machine()]
    check = BEHIND_CALL if platform.machine() == "x86_64" else "%call = and i1 true, true"
    text = HANDLER.format(pc=pc, sp=sp, link=link or pc, scanned=SCANNED, check=check)
    if platform.machine() == "x86_64":
        text = text.replace("readsteadycounter", "readcyclecounter")
    module = llvm.parse_assembly(text)
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(opt=2)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


class Sampler:
    """Samples of the threads that there are when it begins, while :meth:`running`."""

    def __init__(self, low: int, high: int, every_thread: bool) -> None:
        """Watch the code between two addresses, on this thread or on every one."""
        engine = handler()
        address = engine.get_global_value_address("lenumba.state")
        self.state = (ctypes.c_int64 * 8).from_address(address)
        self.buffer = np.zeros((CAPACITY, 4), np.int64)
        self.state[0] = self.state[3] = 0
        self.state[1], self.state[2], self.state[4] = low, high, CAPACITY
        self.state[5] = self.buffer.ctypes.data
        self.entry = engine.get_function_address("lenumba.handler")
        own = threading.get_native_id()
        self.numbers = [int(name) for name in os.listdir("/proc/self/task")] if every_thread else [own]
        self.libc = ctypes.CDLL(None, use_errno=True)

    @contextlib.contextmanager
    def running(self, rate: float) -> Iterator[None]:
        """Let the timers run, so many times a second."""
        new, old = Action(self.entry, flags=SA_SIGINFO | SA_RESTART), Action()
        if self.libc.sigaction(signal.SIGPROF, ctypes.byref(new), ctypes.byref(old)):
            raise OSError(ctypes.get_errno(), "sigaction")
        timers = []
        pause = (ctypes.c_long * 4)(0, int(1e9 / rate), 0, int(1e9 / rate))
        try:
            for number in self.numbers:
                timer = ctypes.c_void_p()
                event = Event(signal=signal.SIGPROF, notify=SIGEV_THREAD_ID, thread=number)
                if not self.libc.timer_create(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
                    timers.append(timer)
                    self.libc.timer_settime(timer, 0, ctypes.byref(pause), None)
            yield
        finally:
            self.state[0] = 0
            for timer in timers:
                self.libc.timer_delete(timer)
            signal.pthread_sigmask(signal.SIG_BLOCK, [])  # lets what is pending arrive
            ignored = Action(1)
            self.libc.sigaction(signal.SIGPROF, ctypes.byref(ignored), None)
            self.libc.sigaction(signal.SIGPROF, ctypes.byref(old), None)

    def watch(self, on: bool) -> None:
        """Note samples from now on, or none."""
        self.state[0] = int(on)

    def bearable(self, rounds: int = 8) -> tuple[float, float]:
        """Return how many samples a second to take, and what that adds to the time of a thread that computes.

        A sample costs from one to some thirty microseconds, by how the system keeps time: the least times of some tell.
        """
        program, place = get_program(chain_source()), np.ones(1, np.int64)

        def spin() -> float:
            start = time.perf_counter()
            program(SPIN, place.ctypes.data)
            return time.perf_counter() - start

        plain, sampled = [], []
        for _ in range(rounds):
            plain.append(spin())
            with self.running(RATE):
                self.watch(True)
                sampled.append(spin())
                self.watch(False)
        cost = max(0.0, min(sampled) / min(plain) - 1)
        rate = RATE * min(1.0, BEARABLE / cost) if cost else RATE
        return max(LEAST_RATE, rate), cost * max(LEAST_RATE, rate) / RATE

    def forget(self) -> None:
        """Forget what was noted so far."""
        self.state[3] = 0

    def samples(self) -> Samples:
        """Return what was noted so far."""
        count = min(int(self.state[3]), CAPACITY)
        found = self.buffer[:count]
        # Stacks of threads lie apart, and what calls here is deep in none.
        order = np.argsort(found[:, 2])
        steps = np.diff(found[order, 2], prepend=found[order[:1], 2]) > 1 << 17
        threads = np.zeros(count, np.int64)
        threads[order] = np.cumsum(steps)
        return Samples(found[:, 0], found[:, 1], threads, found[:, 3])
