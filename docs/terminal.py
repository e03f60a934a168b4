"""Draw docs/terminal.svg from a real run: pip install rich && python docs/terminal.py."""

import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMANDS = ("lenumba train", "lenumba evaluate latest")

console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
with tempfile.TemporaryDirectory() as folder:
    for command in COMMANDS:
        words = [sys.executable, "-m", "lenumba", *command.split()[1:]]
        output = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout
        console.print(Text(f"$ {command}", style="bold green"))
        console.print(Text("\n".join(output.splitlines()[:14])))
Path(__file__).with_name("terminal.svg").write_text(console.export_svg(title="lenumba"), encoding="utf-8")
