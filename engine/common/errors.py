"""Errors that a user can cause: one line each, with the exit code that the command line returns."""

import shlex


class LenumbaError(Exception):
    """Base of every error that a user can cause.

    The message is one line: where, what was expected, what was found, what to do.
    A :class:`ConfigError` may hold several such lines, one for each fault.
    """

    exit_code = 1


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

    def __init__(self, folder: object, epochs: int, signal: int, resume: str = "") -> None:
        resume = resume or f"lenumba train --resume {shlex.quote(str(folder))}"
        super().__init__(f"interrupted after {epochs} epoch{'s' * (epochs != 1)}; go on with: {resume}")
        self.folder, self.epochs, self.signal = folder, epochs, signal
        self.exit_code = 128 + signal


def one_line(error: BaseException) -> str:
    """Return an error's message, or its kind where it has none, as one short line of printable characters."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())[:200] or type(error).__name__
    return text if text.isprintable() else ascii(text)


def unreadable(error: BaseException) -> str:
    """Return why a file cannot be read, and what helps: one that is missing or locked need not be saved again."""
    missing = isinstance(error, OSError) and error.errno is not None
    return f"{one_line(error)}; {'correct the path, or who may read it' if missing else 'save it again'}"
