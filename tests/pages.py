"""The pages of docs/: their scripts, recipes and commands, run as they stand there."""

import re
import runpy
import shlex
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPE = re.compile(r"[\w-]+\.yaml")
SCRIPT = re.compile(r"^python ([\w-]+\.py)", re.MULTILINE)


def blocks(name: str, kind: str = "") -> list[str]:
    """Return the blocks of a page of docs/, or of the README, of a kind: "" for commands, "python", "yaml", "text"."""
    page = ((ROOT if name == "README.md" else ROOT / "docs") / name).read_text(encoding="utf-8")
    return [text for found, text in BLOCK.findall(page) if found == kind]


def command_lines(name: str) -> list[str]:
    """Return a page's command lines; what they print is none."""
    lines = [line.removeprefix("$ ") for text in blocks(name) for line in text.splitlines()]
    return [line for line in lines if line.split(" ", 1)[0] in ("lenumba", "python", "pip", "make", "git")]


def write_files(name: str) -> None:
    """Write a page's scripts and recipes into the working directory, under the names that its commands know them by.

    A recipe's name is its first line's, where that is a comment, else the one that the commands name first.
    """
    commands, scripts = "\n".join(command_lines(name)), blocks(name, "python")
    for script, text in zip(dict.fromkeys(SCRIPT.findall(commands)), scripts, strict=False):
        Path(script).write_text(text)
    for text in blocks(name, "yaml"):
        head = text.partition("\n")[0]
        path = head.removeprefix("# ") if RECIPE.fullmatch(head.removeprefix("# ")) else RECIPE.findall(commands)[0]
        Path(path).write_text(text)


def run_line(line: str, code: int = 0) -> Result | None:
    """Run a command line in this process, which must end with this exit code; return what came of it."""
    from lenumba.cli import main

    program, *arguments = shlex.split(line, comments=True)
    if program == "python":
        return runpy.run_path(*arguments) and None
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, f"{line}\n{result.output}\n{result.exception!r}"
    return result


def run_page(name: str, codes: Mapping[str, int] | None = None) -> dict[str, Result]:
    """Run a page's files and commands in the working directory; return what came of each command, by its words.

    `codes` are exit codes other than 0, by the command line.
    """
    write_files(name)
    done = {}
    for line in command_lines(name):
        words = shlex.join(shlex.split(line, comments=True))
        if (result := run_line(line, (codes or {}).get(words, 0))) is not None:
            done[words] = result
    return done
