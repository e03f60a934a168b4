"""Errors that a user can cause: one line each, with the exit code that the command line returns."""

import errno
import functools
import os
import re
import shlex
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")
SWITCHES = ("force", "retry_failed")
#: Whether a command line is running, whose errors advise what to do there.
on_command_line: ContextVar[bool] = ContextVar("on_command_line", default=False)


class LenumbaError(Exception):
    """Base of every error that a user can cause.

    The message is one line: where, what was expected, what was found, what to do.
    A :class:`ConfigError` may hold several such lines, one for each fault.
    """

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """Tell a notebook what to show: the message alone, which says what to do."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(LenumbaError):
    """A wrong command line or configuration."""

    exit_code = 2


class DataError(LenumbaError):
    """Data or files that are missing, damaged or do not fit, or an environment that does not allow the job."""

    exit_code = 3


class DivergedError(LenumbaError):
    """The loss became NaN or infinite."""

    exit_code = 4


class InterruptedRunError(LenumbaError):
    """A run ended early after a signal, with its checkpoint written.

    Attributes
    ----------
    folder
        The run folder, ready to be resumed.
    """

    def __init__(self, folder: object, epochs: int | None, signal: int, resume: str = "") -> None:
        resume = resume or resuming(folder)
        after = "" if epochs is None else f" after {epochs} epoch{'s' * (epochs != 1)}"
        super().__init__(f"interrupted{after}; go on with: {resume}")
        self.folder, self.epochs, self.signal = folder, epochs, signal
        self.exit_code = 128 + signal


def resuming(folder: object) -> str:
    """Return the command that goes on with a run."""
    return f"lenumba train --resume {shlex.quote(str(folder))}"


def one_line(error: BaseException) -> str:
    """Return an error's message, or its kind where it has none, as one short line of printable characters."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())[:200] or type(error).__name__
    return text if text.isprintable() else ascii(text)


def unreadable(error: BaseException) -> str:
    """Return why a file cannot be read, and what helps: one that is missing or locked need not be saved again."""
    missing = isinstance(error, OSError) and error.errno is not None
    return f"{one_line(error)}; {'correct the path, or who may read it' if missing else 'save it again'}"


def with_advice(failure: OSError) -> str:
    """Return the path that the system could not use, why, and what helps."""
    path, reason = os.fsdecode(failure.filename or ""), failure.strerror or str(failure)
    if not path:
        return reason
    parent = os.path.dirname(path) or "."
    advice = "choose another path"
    if failure.errno == errno.ENOENT and not os.path.isdir(parent):
        advice = f"make the folder {parent}, or choose another path"
    elif failure.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free some space, or choose another path"
    elif failure.errno in (errno.EACCES, errno.EPERM):
        advice = "choose another path, or change who may use it"
    return f"{path}: {reason}; {advice}"


def in_python(text: str) -> str:
    """Return an error's message with its advice for the command line as Python has it.

    >>> in_python("runs/a: the folder is not empty; choose another with --out")
    'runs/a: the folder is not empty; choose another with out=…'
    """
    text = re.sub(r"'?lenumba train --resume ([^\s';]+)'?", r"lenumba.train(resume='\1')", text)
    text = re.sub(r"'?lenumba tune --resume --name ([^\s';]+)'?", r"lenumba.tune(name='\1')", text)
    text = re.sub(r"'lenumba configs show ([\w-]+)'", r"print(lenumba.config('\1'))", text)
    text = re.sub(r"'lenumba (train|tune|compare|report|plot)'", r"lenumba.\1(…)", text)
    text = re.sub(r"'lenumba (train|tune|report|plot) ([\w./-]+)'", r"lenumba.\1('\2')", text)
    text = re.sub(r"('lenumba [^']+')(?! in a terminal)", r"\1 in a terminal", text)
    text = re.sub(r"(?<![\w-])([a-z]\w*(?:\.\w+)+)=(\w[^\s,;)]*)", _override, text)
    return re.sub(r"(?<![\w-])--([a-z][a-z0-9-]+)(?: ([^\s:;,]+)(?=:))?", _keyword, text)


def _override(found: "re.Match[str]") -> str:
    key, value = found.groups()
    plain = re.fullmatch(r"[-\d.]+|true|false|null", value)
    return f'overrides={{"{key}": {value.title() if plain else repr(value)}}}'


def _keyword(found: "re.Match[str]") -> str:
    name, value = found[1].replace("-", "_"), found[2]
    return f"{name}={'True' if name in SWITCHES else value or '…'}"


def speaks_python(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """Make a function's errors advise what to do in Python, unless a command line has called it."""

    @functools.wraps(function)
    def speaking(*args: Given.args, **keywords: Given.kwargs) -> Made:
        try:
            return function(*args, **keywords)
        except LenumbaError as error:
            if on_command_line.get():
                raise
            rest: tuple[Any, ...] = error.args[1:]
            error.args = (in_python(str(error)), *rest)
            raise

    return speaking
