"""Workers of a study on all ranks of a job: each rank runs one, with its own cores, which rank 0 gives its trials.

A rank connects to rank 0 and starts its worker with the connection as standard input and output: to rank 0's pool it
is as a process of its own. Where the connection ends, so does the worker, and the next one is started; where there is
nobody to connect to any more, the study is over.
"""

import contextlib
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import LenumbaError
from lenumba.engine.common.interrupts import Graceful
from lenumba.engine.ranks.folders import check_shared
from lenumba.engine.ranks.team import Alone
from lenumba.engine.ranks.watch import SIGNALLED, connect
from lenumba.engine.tuning.worker import COMMAND, answer_line

HELLO_SECONDS = 5.0  # for a rank to say which one it is
POLL_SECONDS = 0.25
PATIENCE = 2.0  # seconds for a worker to end by itself; for a signal to come to rank 0 by its own way


class Connected:
    """A worker that another rank runs, as far as a pool needs it to be a process.

    Parameters
    ----------
    connection
        To the worker.
    rank, host, threads
        Of the rank.
    """

    def __init__(self, connection: socket.socket, rank: str, host: str, threads: str) -> None:
        self.connection, self.where, self.threads = connection, f" on rank {rank} ({host})", int(threads)
        self.stdin, self.stdout = connection.makefile("wb"), connection.makefile("rb", buffering=0)

    def kill(self) -> None:
        """End the worker."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def wait(self) -> int:
        """Return 0: what it ended with, its rank has told."""
        self.connection.close()
        return 0


class Hosts:
    """Rank 0's side: where the other ranks connect to."""

    def __init__(self) -> None:
        self.server, self.secret = socket.create_server(("", 0), backlog=64), os.urandom(16).hex()
        self.place = socket.gethostname(), self.server.getsockname()[1], self.secret

    def connected(self) -> Iterator[Connected]:
        """Yield the workers that have come since."""
        while select.select([self.server], [], [], 0)[0]:
            connection = self.server.accept()[0]
            connection.settimeout(HELLO_SECONDS)
            content = b""
            with contextlib.suppress(OSError):
                while not content.endswith(b"\n") and (more := connection.recv(200)):
                    content += more
            connection.settimeout(None)
            secret, *facts = content.decode("utf-8", "replace").split()
            if secret == self.secret:
                yield Connected(connection, *facts)
            else:
                connection.close()

    def close(self) -> None:
        """Let nobody come any more: to the other ranks, the study is over."""
        self.server.close()


@contextlib.contextmanager
def hosting(team: Alone, folder: Path, threads: int | None) -> Iterator[Hosts | None]:
    """Have the other ranks run workers for a study in a folder; yield where they connect to, None for one process.

    Raises
    ------
    DataError
        Where they do not share the folder.
    """
    if team.size == 1:
        yield None
        return
    with contextlib.closing(Hosts()) as hosts:
        team.wait()
        team.told((folder.absolute(), threads, hosts.place))
        check_shared(team, folder.absolute())
        with team.on_its_own():
            try:
                yield hosts
            except LenumbaError as error:
                if error.exit_code < SIGNALLED:  # which ends the job
                    raise
                hosts.close()
                team.wait()
                raise
        hosts.close()
        team.wait()


def follow_study(team: Alone) -> None:
    """Run workers as one of the ranks that rank 0 leads in ``run_study``, until it is over."""
    with Graceful(lambda: None) as interruption:
        team.wait()
        told: Any = team.told(None)
        folder, threads, (host, port, secret) = told
        check_shared(team, folder)
        here = socket.gethostname()
        hello = f"{secret} {team.rank} {here} {threads or team.threads()}\n".encode()
        since = 0.0
        while True:
            try:
                connection = connect(host, port)
            except OSError:
                break
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(hello)
                pipe = connection.fileno()
                process = subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, process_group=0)
                for _ in living(process, connection):
                    since = since if interruption.signal else time.monotonic()
                    if interruption.signal and time.monotonic() > since + PATIENCE:
                        team.pass_on(interruption.signal)
                if process.returncode < 0:
                    why = f"its worker on rank {team.rank} ({here}) died of signal {-process.returncode}"
                    connection.sendall(answer_line(event="ends", why=why))
        team.wait()


def living(process: subprocess.Popen, connection: socket.socket) -> Iterator[None]:
    """Yield a few times a second while a worker lives; one that rank 0 has dismissed is ended, whatever it does."""
    poll = select.poll()
    poll.register(connection, getattr(select, "POLLRDHUP", 0))
    while process.poll() is None:
        if poll.poll(1000 * POLL_SECONDS):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()
            process.wait()
        yield
