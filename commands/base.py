"""What the commands share: errors in one line with their exit codes, output that never fails, arguments."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from lenumba.engine.common.errors import DataError, LenumbaError, on_command_line, one_line, with_advice
from lenumba.engine.common.files import is_file
from lenumba.engine.common.interrupts import farewells, leaving, vanish
from lenumba.engine.ranks.launch import ASKED, is_follower, launched


class UserPath(click.Path):
    """A path, with ~ for the user's home also where the shell leaves it alone."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        """Return the path."""
        return Path(os.fsdecode(super().convert(os.path.expanduser(value), param, ctx)))


class Share(click.ParamType):
    """A share of one, written as 0.05 or as 5%."""

    name = "share"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the share."""
        try:
            share = float(value[:-1]) / 100 if str(value).endswith("%") else float(value)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 100:
            self.fail(f"expected a share such as 5% or 0.05, found {value!r}", param, ctx)
        return share


class Numbers(click.ParamType):
    """Numbers from 1 to 1024, separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the numbers."""
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() and 1 <= int(part) <= 1024 for part in parts):
            self.fail(f"expected numbers from 1 to 1024 such as 1,2,4, found {value!r}", param, ctx)
        return tuple(map(int, parts))


TOGETHER = ("train", "compare", "tune", "audit", "why", "profile")  # commands that several processes of a job share
LEAD_SECONDS = 2.0


def ask_mpi(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Remember that MPI is to tell who else there is."""
    if value:
        os.environ[ASKED] = "1"


with_mpi = click.option(
    "--mpi",
    is_flag=True,
    expose_value=False,
    callback=ask_mpi,
    help="Ask MPI for other processes, where their launcher is not noticed; mpirun and srun are.",
)
PATH, SHARE, NUMBERS = UserPath(), Share(), Numbers()
RUN_HELP = "RUN is a run folder, the name of one in ./runs, or 'latest'."


class Commands(click.Group):
    """A group that turns errors into one line and the right exit code, and lists commands as they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their definition."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        prepare_streams(silent=is_follower())
        called = on_command_line.set(True)
        try:
            with leaving(silent=is_follower()):
                super().main(*args, **{**kwargs, "prog_name": "lenumba", "standalone_mode": False})
            code = 0
        except LenumbaError as error:
            for line in told_lines(error):
                tell(f"error: {line}")
            code = error.exit_code
        except click.ClickException as error:
            code = error.exit_code
            if is_follower():
                time.sleep(LEAD_SECONDS * bool(farewells))  # the leading rank, which tells of it, ends the job
            elif isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
                error.show()
            else:
                context = getattr(error, "ctx", None)
                hint = f" (see '{context.command_path} --help')" if context else ""
                tell(f"error: {' '.join(error.format_message().split())}{hint}")
        finally:
            on_command_line.reset(called)
            settle_output()
        if farewells and 0 < code < 128:
            vanish(code)  # MPI would wait for the other ranks, who end without it
        for farewell in farewells:
            farewell(code)
        sys.exit(code)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; of a job's processes, one alone does what is none for several."""
        name, command, rest = super().resolve_command(ctx, args)
        if is_follower() and name not in TOGETHER:
            ctx.exit()
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what click would answer in words of its own becomes an error of ours first."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
            return None
        except MemoryError as failure:
            reason = " ".join(str(failure).split()) or "an allocation failed"
            raise DataError(f"memory: not enough for this ({reason}); use less data or a smaller network") from None
        except (ImportError, SystemError) as failure:
            if not is_importing(failure):
                raise
            reason = one_line(failure.__cause__ or failure)
            raise DataError(f"a library cannot be loaded ({reason}); allow more memory, or install it again") from None
        except OSError as failure:
            printing = not failure.filename and is_printing(failure)
            raise DataError(f"{'standard output: ' * printing}{with_advice(failure)}") from None


def told_lines(error: LenumbaError) -> list[str]:
    """Return the lines to print of an error; of a rank that others lead, only where the leading one has no such error.

    That one ends the job, and this process with it.
    """
    lines = str(error).splitlines()
    if not is_follower():
        return lines
    if not farewells or error.exit_code >= 128:
        return []
    time.sleep(LEAD_SECONDS)
    rank = getattr(launched(), "rank", "?")
    return [f"rank {rank}: {line}" for line in lines]


def is_importing(failure: BaseException) -> bool:
    """Return whether an error came from a module's import, which may say anything where there is no memory for it."""
    trace = failure.__traceback__
    while trace and trace.tb_frame.f_code.co_name != "<module>":
        trace = trace.tb_next
    return trace is not None


def is_printing(failure: OSError) -> bool:
    """Return whether an error came from a line that was being printed; unbuffered output leaves no other trace."""
    trace = failure.__traceback__
    while trace and trace.tb_frame.f_code is not click.echo.__code__:
        trace = trace.tb_next
    return trace is not None


def tell(line: str) -> None:
    """Print a line on stderr, unless nobody can read it any more: its terminal has hung up, say."""
    with contextlib.suppress(OSError):
        click.echo(line, err=True)


def prepare_streams(*, silent: bool = False) -> None:
    """Make output never fail for a closed descriptor, or for a character that the terminal's encoding lacks.

    A `silent` process drops what it prints: the results of a job are printed by its first process.
    """
    if silent:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: take its descriptor, or the next file opened would get it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        with contextlib.suppress(AttributeError):
            getattr(sys, name).reconfigure(errors="replace")


def settle_output() -> None:
    """Flush stdout; where that fails, drop what is left, which Python would complain about at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def split_arguments(config: str | None, overrides: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the configuration's name, where one is given, and the overrides. A file may have '=' in its name."""
    given = [item for item in (config, *overrides) if item is not None]
    names = [item for item in given if "=" not in item or is_file(item)]
    if len(names) > 1:
        raise click.UsageError(f"unexpected argument {names[-1]!r}; overrides look like train.epochs=20")
    return (names[0] if names else None), [item for item in given if item not in names]


def tell_notes(notes: Iterable[str]) -> None:
    """Print notes on stderr, where they stay apart from results, a line each."""
    for note in notes:
        tell(f"note: {note}")
