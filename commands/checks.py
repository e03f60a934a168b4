"""Commands that check: verify, doctor."""

import json
from dataclasses import asdict

import click

from lenumba.commands.base import RUN_HELP, split_arguments
from lenumba.engine.common.errors import LenumbaError


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("overrides", nargs=-1)
@click.option("--epoch", type=click.IntRange(1), metavar="N", help="Replay N epochs only.")
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads; all cores by default. Never changes a bit.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
def verify(
    run: str, overrides: tuple[str, ...], epoch: int | None, threads: int | None, quiet: bool, as_json: bool
) -> None:
    """Train a run again, write nothing, and compare bit for bit: metrics, checkpoints, test results.

    The first tensor or value that differs is named; the exit code is 1 then. With --epoch, metrics up to that epoch are
    compared, and the weights where a checkpoint is of it. OVERRIDES: data.root=PATH tells where the data are now.
    """
    from lenumba.commands.display import TrainingDisplay
    from lenumba.engine.runs.folders import find_run
    from lenumba.engine.runs.verify import verify_run

    _, changes = split_arguments(None, overrides)
    changes += [] if threads is None else [f"train.threads={threads}"]
    with TrainingDisplay(lambda line: click.echo(line, err=True), silent=quiet or as_json) as display:
        verdict = verify_run(find_run(run), changes, epoch=epoch, hooks=display.hooks)
    if as_json:
        click.echo(json.dumps(verdict.as_dict(), ensure_ascii=False, indent=2))
    if verdict.difference is not None:
        note = f" ({verdict.note})" if verdict.note else ""
        raise LenumbaError(f"{verdict.path}: the replay is another one: {verdict.difference}{note}")
    if not (quiet or as_json):
        part = f" and {verdict.batches} batches" if verdict.batches else ""
        click.echo(f"{verdict.path}: {verdict.epochs} epochs{part} replayed, every bit the same: ", nl=False)
        click.echo(", ".join(verdict.compared) or "there is nothing to compare yet")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check this installation: versions, CPU, threads, memory, program cache, data sets, and every kernel.

    One line a check. The kernels' self-test compiles three small networks, once; later it takes a second or two. The
    exit code is 1 where a check fails.
    """
    from lenumba.engine.doctor import examine

    findings = []
    for finding in examine(lambda step: None if as_json else click.echo(step, err=True)):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.level:<4}  {finding.check:<9} {finding.text}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    if failed := [finding.check for finding in findings if finding.level == "fail"]:
        raise LenumbaError(f"doctor: {len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")
