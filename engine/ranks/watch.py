"""Who notices that a rank has died: a small process beside the job, to which every rank holds a connection.

A launcher may kill the other ranks at once, before one of them could tell whose death it was, or leave them waiting
for ever. So rank 0 starts this file as a process of its own, outside of the job's process group: where a connection
breaks without a farewell, it names the rank in one line and ends the others. It also counts, for ranks that share out
work. Only the standard library is imported, as it starts with every job.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

KEEPALIVE = {"TCP_KEEPIDLE": 3, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}  # seconds, seconds, trials: for lost machines
PATIENCE, FAREWELL = 60.0, 5.0  # seconds for all ranks to come, and to go when they are told to
SIGNALLED = 128  # and more: exit codes of ranks that a signal has ended, as it ends all


# ------------------------------------------------------------------------------------------------------ in the ranks


def start_watch(ranks: int) -> tuple[str, int, str]:
    """Start the process; return its host, its port and what to say to be let in."""
    secret = os.urandom(16).hex()
    command = [sys.executable, "-I", "-S", __file__, str(ranks), secret]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    with process.stdout:
        port = int(process.stdout.readline())
    return socket.gethostname(), port, secret


def connect(host: str, port: int) -> socket.socket:
    """Return a connection to a process of this job, which breaks soon after its machine is lost."""
    here = host == socket.gethostname()
    connection = socket.create_connection(("127.0.0.1" if here else host, port), PATIENCE)
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


class Watched:
    """A rank's connection to the process that watches.

    Parameters
    ----------
    place
        What :func:`start_watch` returned.
    end
        Called in another thread, with an exit code, where the job is over: ends the process.
    received
        The signals that have come to this process.
    """

    def __init__(
        self, place: tuple[str, int, str], rank: int, end: Callable[[int], None], received: Sequence[int] = ()
    ) -> None:
        host, port, secret = place
        self.connection = connect(host, port)
        self.end, self.received, self.leaving, self.alone = end, received, False, False
        self.answers: list[str] = []
        self.answered = threading.Semaphore(0)
        self.say(f"hello {secret} {rank} {os.getpid()} {socket.gethostname()}")
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, line: str) -> None:
        """Tell the watching process something; where it is gone, :meth:`_listen` notices."""
        with contextlib.suppress(OSError):
            self.connection.sendall(line.encode("utf-8", "backslashreplace") + b"\n")

    def leave(self, code: int) -> None:
        """Say farewell: this rank ends as it should, with an exit code."""
        self.leaving = True
        self.say(f"bye {code}")

    def tell_how_to_resume(self, command: str) -> None:
        """Let the line about a rank that died say what goes on with the work."""
        self.say(f"resume {command}")

    def next_number(self, name: str) -> int:
        """Return 0, 1, 2, …: each number to one of the ranks that ask by this name."""
        self.say(f"next {name}")
        self.answered.acquire()
        return int(self.answers.pop())

    @contextlib.contextmanager
    def on_its_own(self) -> Iterator[None]:
        """Let a signal that ended another rank reach this one as well: here nobody else tells of it."""
        self.alone = True
        try:
            yield
        finally:
            self.alone = False

    def _listen(self) -> None:
        code = 3
        with contextlib.suppress(OSError), self.connection.makefile(encoding="utf-8") as lines:
            for line in lines:
                word, number = line.split()
                if word == "end":
                    code = int(number)
                    break
                if word == "signal":
                    if self.alone and not self.received:
                        os.kill(os.getpid(), int(number))
                    continue
                self.answers.append(number)
                self.answered.release()
        if not self.leaving:
            self.end(code)


# ------------------------------------------------------------------------------------------------- the process itself


class Watch:
    """The process that watches: its connections, and what it knows of the ranks behind them."""

    def __init__(self, ranks: int, secret: str) -> None:
        self.expected, self.secret = ranks, secret
        self.names: dict[socket.socket, str] = {}
        self.rest: dict[socket.socket, bytes] = {}
        self.left: set[socket.socket] = set()
        self.accepted = self.come = 0  # connections; ranks that have said who they are
        self.counts: Counter[str] = Counter()
        self.resume = ""
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Watch until the last rank has gone."""
        with socket.create_server(("", 0), backlog=self.expected) as self.server:
            os.write(1, f"{self.server.getsockname()[1]}\n".encode())
            os.close(1)
            self.selector.register(self.server, selectors.EVENT_READ)
            while self.come < self.expected or self.rest:
                events = self.selector.select(PATIENCE if self.come < self.expected else None)
                if not events:
                    return
                for key, _ in events:
                    if key.fileobj is self.server:
                        self.selector.register(self.accept(), selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket) and not self.read(key.fileobj):
                        return

    def accept(self) -> socket.socket:
        """Let a rank in."""
        connection = self.server.accept()[0]
        self.rest[connection] = b""
        self.accepted += 1
        return connection

    def read(self, connection: socket.socket) -> bool:
        """Take in what a rank says; return whether the job goes on."""
        try:
            content = connection.recv(1 << 16)
        except OSError:
            content = b""
        *lines, self.rest[connection] = (self.rest[connection] + content).split(b"\n")
        for line in lines:
            word, _, text = line.decode("utf-8", "replace").partition(" ")
            if word == "hello" and text.startswith(f"{self.secret} "):
                rank, process, host = text.split()[1:]
                self.names[connection] = f"rank {rank} (process {process} on {host})"
                self.come += 1
            elif connection not in self.names:
                content = b""
            elif word == "next":
                connection.sendall(f"number {self.counts[text]}\n".encode())
                self.counts[text] += 1
            elif word == "signal":
                self.tell(f"signal {text}")
            elif word == "resume":
                self.resume = text
            elif word == "bye":
                self.left.add(connection)
                if 0 < int(text) < SIGNALLED:
                    return self.end(int(text))
        if content:
            return True
        self.selector.unregister(connection)
        connection.close()
        del self.rest[connection]
        if connection in self.names and connection not in self.left:
            resume = f"; go on with: {self.resume}" if self.resume else ""
            os.write(2, f"error: {self.names[connection]} died, which ends the job{resume}\n".encode())
            return self.end(3)
        return True

    def tell(self, line: str) -> None:
        """Tell all ranks something."""
        for connection in self.rest:
            with contextlib.suppress(OSError):
                connection.sendall(line.encode() + b"\n")

    def end(self, code: int) -> bool:
        """Let all ranks end, with an exit code; return False."""
        self.tell(f"end {code}")
        deadline = time.monotonic() + FAREWELL
        with contextlib.suppress(OSError):  # nor does it end without those that are on their way here
            while self.accepted < self.expected and (left := deadline - time.monotonic()) > 0:
                self.server.settimeout(left)
                self.accept().sendall(f"end {code}\n".encode())
        for connection in self.rest:  # what is closed too early may take its last words with it
            with contextlib.suppress(OSError):
                while (left := deadline - time.monotonic()) > 0:
                    connection.settimeout(left)
                    if not connection.recv(1 << 16):
                        break
        return False


if __name__ == "__main__":
    for caught in ("SIGINT", "SIGTERM", "SIGHUP"):  # Slurm sends them to all processes; this one ends after the ranks
        with contextlib.suppress(AttributeError):
            signal.signal(getattr(signal, caught), signal.SIG_IGN)
    Watch(int(sys.argv[1]), sys.argv[2]).run()
