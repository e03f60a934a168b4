"""What campaigns on whole commands share: a process that forks one for each, with everything imported already."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# Before the first command: a training, so that all is imported and compiled, and the digits, drawn once for all.
WARM = """
import functools, shutil
from pathlib import Path
from lenumba.kernels.digits import digits
digits.draw_digits = functools.cache(digits.draw_digits)
from lenumba.engine.config.config import load_config
from lenumba.engine.runs.run import start_run
start_run(load_config("tiny.yaml"), out=Path("warm"))
shutil.rmtree("warm")
"""
# Reads a command a line, forks, and lets the child wait until it is told to go.
SERVER = """
import gc, json, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as where lenumba's own process begins
import numpy, yaml, safetensors.numpy, tqdm, requests, pooch
import lenumba.cli, lenumba.engine.config.config, lenumba.engine.report.report, lenumba.engine.models.export
import lenumba.engine.runs.run, lenumba.engine.runs.seeds, lenumba.engine.runs.compare, lenumba.engine.data.download
import lenumba.engine.runs.verify, lenumba.commands.display, lenumba.commands.tables
gc.collect()
gc.freeze()  # a child need not look at all that again when it ends
def line():
    text = b""
    while not text.endswith(b"\\n"):
        if not (byte := os.read(0, 1)):
            sys.exit()
        text += byte
    return text
while True:
    while (text := line()) == b"\\n":  # a signal was quicker than the word to go
        pass
    arguments = json.loads(text)
    child = os.fork()
    if not child:
        os.write(1, b"%d\\n" % os.getpid())  # a signal that came sooner would be lost: Python forgets them in a fork
        line()
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        lenumba.cli.main(arguments)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Ended(NamedTuple):
    """How a command ended: exit code (minus the signal's number), what it printed, and the calls that were traced."""

    code: int
    output: str
    errors: str
    calls: list[str]


class Server:
    """Runs commands in forked processes; `patch` is Python text that runs before the first."""

    def __init__(self, patch: str = "") -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", patch + SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def begin(self, *arguments: object) -> int:
        """Fork the process of a command, which waits; return its number."""
        for name in ("stdout", "stderr"):
            Path(name).write_text("")
        self.process.stdin.write(json.dumps([str(argument) for argument in arguments]).encode() + b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def go(self) -> None:
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def ended(self, seconds: float) -> bool:
        """Return whether the command ends within so many seconds."""
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def end(self, calls: list[str] | None = None) -> Ended:
        code = int(self.process.stdout.readline())
        return Ended(code, Path("stdout").read_text(), Path("stderr").read_text(), calls or [])

    def run(self, *arguments: object) -> Ended:
        self.begin(*arguments)
        self.go()
        return self.end()

    def traced(self, *arguments: object, calls: tuple[str, ...], injection: str = "") -> Ended:
        """Run a command while the kernel's answers are tampered with; return also the calls of its main thread."""
        child = self.begin(*arguments)
        options = ["-e", f"trace={','.join(calls)}", *(["-e", f"inject={injection}"] if injection else [])]
        tracer = subprocess.Popen(
            ["strace", "-f", "-y", "-s", "300", "-p", str(child), "-o", "trace", *options], stderr=subprocess.PIPE
        )
        assert b"attached" in tracer.stderr.readline()
        self.go()
        found = self.end()
        tracer.wait()
        tracer.stderr.close()
        mine = re.findall(rf"^{child} +(\w+\(.*)$", Path("trace").read_text(), re.MULTILINE)
        return found._replace(calls=mine)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def serving(patch: str = "") -> Iterator[Server]:
    server = Server(patch)
    try:
        yield server
    finally:
        server.close()


def may_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-e", "trace=none", "true"], capture_output=True, check=False).returncode == 0


def signalled(server: Server, number: signal.Signals, delay: float, *arguments: object) -> tuple[Ended, float]:
    """Run a command and send it a signal after a delay; return how it ended, and how long that took."""
    child = server.begin(*arguments)
    server.go()
    server.ended(delay)
    start = time.monotonic()
    with_signal = not server.ended(0)
    if with_signal:
        os.kill(child, number)
    assert server.ended(60), f"{arguments} lives on, {number.name} after {delay:.3f} s"
    return server.end(), time.monotonic() - start
