"""What the commands share: errors in one line with their exit codes, output that never fails, arguments."""

import contextlib
import os
import sys
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import click

from lenumba.engine.common.errors import DataError, LenumbaError
from lenumba.engine.common.interrupts import Terminated, Unmissed

PATH = click.Path(path_type=Path)
RUN_HELP = "RUN is a run folder, the name of one in ./runs, or 'latest'."


class Commands(click.Group):
    """A group that turns errors into one line and the right exit code, and lists commands as they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their definition."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        prepare_streams()
        previous, sys.unraisablehook = sys.unraisablehook, tell_unless_signalled
        try:
            super().main(*args, **{**kwargs, "prog_name": "lenumba", "standalone_mode": False})
            code = 0
        except LenumbaError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            code = error.exit_code
        except click.Abort:  # Ctrl-C before a command began
            click.echo("error: interrupted", err=True)
            code = 128 + SIGINT
        except click.ClickException as error:
            code = error.exit_code
            if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
                error.show()
            else:
                context = getattr(error, "ctx", None)
                hint = f" (see '{context.command_path} --help')" if context else ""
                click.echo(f"error: {' '.join(error.format_message().split())}{hint}", err=True)
        finally:
            sys.unraisablehook = previous
            settle_output()
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what click would answer in words of its own becomes an error of ours first."""
        signals = Unmissed()
        try:
            with signals:
                return self._invoke(ctx)
        except BaseException as failure:
            # Libraries make errors of their own of what a signal raises while they call Python from C.
            if signals.signal is None and not isinstance(failure, KeyboardInterrupt):
                raise
            error = LenumbaError("interrupted")
            error.exit_code = 128 + (signals.signal or (SIGTERM if isinstance(failure, Terminated) else SIGINT))
            raise error from None

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
            return None
        except MemoryError as failure:
            reason = " ".join(str(failure).split()) or "an allocation failed"
            raise DataError(f"memory: not enough for this ({reason}); use less data or a smaller network") from None
        except OSError as failure:
            where = f"{failure.filename}: " if failure.filename else ""
            raise DataError(f"{where}{failure.strerror or failure}") from None


def tell_unless_signalled(unraisable: Any) -> None:
    """Tell of an exception in a destructor, as Python does, unless a signal raised it: the command remembers those."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def prepare_streams() -> None:
    """Make output never fail for a closed descriptor, or for a character that the terminal's encoding lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: take its descriptor, or the next file opened would get it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        with contextlib.suppress(AttributeError):
            getattr(sys, name).reconfigure(errors="replace")


def settle_output() -> None:
    """Flush stdout; where its reader has gone, drop what is left, which Python would complain about at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def split_arguments(config: str | None, overrides: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the configuration's name, where one is given, and the overrides. A file may have '=' in its name."""
    given = [item for item in (config, *overrides) if item is not None]
    names = [item for item in given if "=" not in item or Path(item).is_file()]
    if len(names) > 1:
        raise click.UsageError(f"unexpected argument {names[-1]!r}; overrides look like train.epochs=20")
    return (names[0] if names else None), [item for item in given if item not in names]
