"""The command line: every command of :mod:`lenumba.commands`, in the order that --help lists them."""

import click

from lenumba import __version__
from lenumba.commands import checks, recipes, results, see, work
from lenumba.commands.audit_command import audit
from lenumba.commands.base import Commands
from lenumba.commands.explain import explain
from lenumba.commands.why_command import why


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="lenumba")
def main() -> None:
    """Train small CNNs on the CPU, fast: Numba compiles the whole network into one program.

    \b
    lenumba train                              drawn digits, nothing to download
    lenumba train lenet train.epochs=20        a recipe with overrides
    lenumba evaluate latest                    accuracy, confusion matrix
    lenumba predict latest digit.png           your own image
    """  # noqa: D301 (click wants the control character to leave the lines as they are)


for command in (
    work.train,
    work.compare,
    audit,
    results.evaluate,
    results.predict,
    explain,
    why,
    see.plot,
    see.report,
    results.runs,
    recipes.summary,
    recipes.configs,
    recipes.check,
    recipes.schema,
    recipes.data,
    work.tune,
    work.profile,
    results.export,
    results.import_,
    checks.verify,
    checks.doctor,
):
    main.add_command(command)
