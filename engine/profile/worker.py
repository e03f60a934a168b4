"""A process that times one function on request, so that two versions of it can take turns."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError, LenumbaError
from lenumba.engine.profile.calls import Calls
from lenumba.engine.profile.subject import file_of, find_subject

QUANTILE = 0.25  # of the calls in a turn: others lengthen some of them, and shorten none
PROGRAM = "from lenumba.engine.profile.worker import serve; serve()"


@dataclass
class Version:
    """A version of a function: its name, its arguments' text, the folders to look for it before others, its threads."""

    target: str
    arguments: str | None
    setup: str = ""
    folder: str = "."
    path: Sequence[str] = field(default_factory=tuple)
    threads: int | None = None


class Worker:
    """A process that times one version."""

    def __init__(self, version: Version) -> None:
        """Start it, and wait until it has compiled.

        Raises
        ------
        ConfigError
            With what that version's process found wrong.
        """
        known = [*version.path, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | ({"PYTHONPATH": os.pathsep.join(known)} if known else {})
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=version.folder, env=environment,
        )  # fmt: skip
        self.version = version
        self.facts = self.ask(asdict(version))

    def ask(self, question: Any) -> dict[str, Any]:
        """Send a question and return the answer."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline() or "null")
        except (OSError, ValueError):
            answer = None
        if answer is None:
            code = self.process.wait()
            raise DataError(f"{self.version.target}: the process that times it ended with exit code {code}")
        if "error" in answer:
            raise ConfigError(answer["error"])
        return answer

    def turn(self, seconds: float) -> float:
        """Return the seconds of a call, from a turn of about so many seconds."""
        return float(self.ask(seconds)["seconds"])

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> None:
    """Answer questions on stdin, a line of JSON each; what the user's code prints goes to stderr."""
    from lenumba.kernels.measure.user_function import use_threads

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        first = json.loads(sys.stdin.readline())
        subject = find_subject(first["target"], first["arguments"], first["setup"])
        use_threads(first["threads"])
        calls = Calls(subject.function, subject.values, subject.make)
        reply({"first_s": calls.first_s, "file": str(file_of(subject.function))})
    except LenumbaError as error:
        reply({"error": str(error)})
        return
    except Exception as error:  # of the user's function
        reply({"error": f"calling it raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"})
        return
    for line in sys.stdin:
        # Where arrays lie in memory may cost some percent: new ones for every turn, so that no version keeps its luck.
        calls.values = subject.make() if subject.make else calls.values
        if calls.writes:
            calls = Calls(subject.function, calls.values, subject.make)
        reply({"seconds": float(np.quantile(calls.times(json.loads(line)), QUANTILE))})
