"""Studies: the search over a recipe's space, in a folder that survives everything but its own deletion."""

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError, LenumbaError
from lenumba.engine.common.files import remove_leftovers, write_json, write_text
from lenumba.engine.common.interrupts import Graceful
from lenumba.engine.config.config import LoadedConfig, dump_config
from lenumba.engine.data.selection import load_data
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.runs.extras import need
from lenumba.engine.runs.folders import in_use, locked, make_folder, portable
from lenumba.engine.runs.transfer import absolute_source, read_source
from lenumba.engine.training.build import check_network, check_trainable, stated_shape
from lenumba.engine.tuning import finals, report
from lenumba.engine.tuning.hosts import hosting
from lenumba.engine.tuning.ledger import Ledger
from lenumba.engine.tuning.record import (
    RECORD,
    STUDIES,
    load_study_config,
    open_study,
    read_record,
    recorded_storage,
    study_folder,
)
from lenumba.engine.tuning.results import Final, Study
from lenumba.engine.tuning.search import Hooks, Search
from lenumba.engine.tuning.space import Space
from lenumba.engine.tuning.storage import JOURNAL, hide_password, need_optuna, open_storage, telling_faults


class InterruptedStudyError(LenumbaError):
    """A study ended early after a signal; everything that has finished is kept."""

    def __init__(self, study: Study, signal: int) -> None:
        done = study.summary["counts"]["finished"] + study.summary["counts"]["pruned"]
        super().__init__(
            f"interrupted after {done} of {study.summary['total']} trials; go on with: {resuming(study.path)}"
        )
        self.study = study
        self.exit_code = 128 + signal


def resuming(folder: Path) -> str:
    """Return the command that goes on with a study."""
    name = folder.name if folder.parent == STUDIES else shlex.quote(str(folder))
    return f"lenumba tune --resume --name {name}"


def run_study(
    loaded: LoadedConfig,
    *,
    name: str | None = None,
    folder: Path | None = None,
    trials: int | None = None,
    jobs: int = 1,
    storage: str | None = None,
    retry_failed: bool = False,
    hooks: Hooks | None = None,
    team: Alone = ALONE,
) -> Study:
    """Start a study, or go on with the one of this name, up to the total number of trials.

    Parameters
    ----------
    loaded
        A configuration with a ``tune`` section.
    name
        The study's folder in ``studies``; the recipe's name by default.
    folder
        The folder of a study that has begun, wherever it is.
    trials
        Finished and pruned trials in all; by default what the configuration says.
    jobs
        Worker processes, which share the threads.
    storage
        URL of a database that several processes and machines share; by default that of the study's record, for a new
        one a journal in its folder.
    retry_failed
        Try the failed trials again.
    team
        The ranks that work, each with one worker, in place of `jobs`; the others call :func:`follow_study`.

    Raises
    ------
    ConfigError
        For every fault of the configuration and its space, before anything runs.
    DataError
        Where Optuna or the data are missing, the database does not answer, another process has the study, or this
        machine allows no training, or ranks do not share the study's folder; everything that has finished is kept.
    InterruptedStudyError
        After SIGINT or SIGTERM, with everything that has finished written.
    """
    loaded = with_total(absolute_source(loaded), trials)
    space = Space(loaded)
    if stated_shape(loaded.config) is not None:
        check_trainable(loaded, check_network(loaded))
    read_source(loaded)
    need_optuna()
    folder = folder or study_folder(name or loaded.name)
    url = recorded_storage(folder, storage)
    dataset = load_data(loaded, progress=True)
    if stated_shape(loaded.config) is None:
        check_trainable(loaded, check_network(loaded, dataset.image_shape, dataset.classes))
    digest, hooks = dataset.sha256, hooks or Hooks()
    del dataset
    with contextlib.ExitStack() as stack:
        if url is None:
            make_folder(folder)
            stack.enter_context(locked(folder))
        stack.enter_context(telling_faults(folder, url))
        study = open_study(open_storage(folder, url), folder, space, digest)
        make_folder(folder)
        remove_leftovers(folder)
        team.resumes_with(resuming(folder))
        hosts = stack.enter_context(hosting(team, folder, loaded.config.train.threads))
        jobs = team.size if hosts else jobs
        facts = {"recipe": loaded.name, "storage": hide_password(url) if url else JOURNAL, "jobs": jobs}
        write_json(folder / RECORD, {**read_record(folder), **facts, "status": "running"})
        # Last, as it makes the folder a study, whose record is to tell where its trials are.
        write_text(folder / "config.yaml", dump_config(portable(loaded.config)))
        ledger = Ledger(study, space, space.tune.trials, shared=url is not None, jobs=jobs)
        if retry_failed:
            ledger.retry_failed()
        search = Search(folder, space, ledger, jobs, hooks, hosts, team.threads())
        interruption = stack.enter_context(Graceful(search.stop))
        final: Final | str = "the study is not complete"
        with concluding_faults(folder, space, ledger, facts), search.pool:
            search.run()
            final = finals.INTERRUPTED if search.stopped else finals.run(search)
        # After the finals there is nothing left to stop.
        signal = interruption.signal if search.stopped and isinstance(final, str) else None
        facts |= {"status": "interrupted" if signal else "finished", **search.figures()}
        result = conclude(folder, space, ledger, final, facts)
        if signal is not None:
            raise InterruptedStudyError(result, signal)
        return result


@contextlib.contextmanager
def concluding_faults(folder: Path, space: Space, ledger: Ledger, facts: dict[str, Any]) -> Iterator[None]:
    """Also where the machine ends a study, write what it has found so far, if the machine allows that."""
    try:
        yield
    except (LenumbaError, OSError) as error:
        with contextlib.suppress(Exception):
            conclude(folder, space, ledger, f"the study was stopped: {error}", {**facts, "status": "stopped"})
        raise


def with_total(loaded: LoadedConfig, trials: int | None) -> LoadedConfig:
    """Return the configuration with another total of trials, which the study's folder then remembers."""
    if trials is None or loaded.config.tune is None:
        return loaded
    tune = loaded.config.tune.model_copy(update={"trials": trials})
    return replace(loaded, config=loaded.config.model_copy(update={"tune": tune}))


def conclude(folder: Path, space: Space, ledger: Ledger, final: Final | str, facts: dict[str, Any]) -> Study:
    """Write what the study has found so far; `final` is why there are no finals where it is text."""
    rows = report.rows(ledger)
    summary = report.study_summary(space, ledger, rows, final, facts)
    write_text(folder / "trials.csv", report.csv_text(space, rows))
    best = next((row for row in rows if row["trial"] == summary["best"]), None)
    if best is not None:
        write_text(folder / "best.yaml", report.best_yaml(space, best, rows, summary))
    with contextlib.suppress(ImportError):
        from lenumba.engine.tuning import plots

        list(plots.draw(folder, space, ledger, rows))
    write_json(folder / RECORD, summary)
    return Study(folder, summary, rows)


@contextlib.contextmanager
def looking_into(folder: Path, storage: str | None) -> Iterator[tuple[Space, Ledger, list[dict[str, Any]]]]:
    """Open a study without touching it; yield its space, ledger and trials, without those of dead processes."""
    space = Space(load_study_config(folder))
    optuna, url = need_optuna(), recorded_storage(folder, storage)
    with telling_faults(folder, url):
        try:
            study = optuna.load_study(study_name=folder.name, storage=open_storage(folder, url))
        except KeyError:
            where = hide_password(url) if url else folder / JOURNAL
            raise ConfigError(f"study {folder.name}: not in {where}; start it first") from None
        ledger = Ledger(study, space, space.tune.trials, shared=url is not None, jobs=1)
        dead = ledger.dead() if url or not in_use(folder) else set()
        yield space, ledger, [row for row in report.rows(ledger) if row["attempt"] not in dead]


def draw_study(folder: Path, out: Path | None = None, kind: str = "png") -> list[tuple[Path, str]]:
    """Draw a study as far as it is, in its own folder or another; return each file and what it shows.

    Raises
    ------
    ConfigError, DataError
        Where Matplotlib is not installed, the study cannot be read, or fewer than two trials have finished.
    """
    need("matplotlib", "plot", "plot")
    from lenumba.engine.tuning import plots

    with looking_into(folder, None) as (space, ledger, rows):
        if not (drawn := [*plots.draw(out or folder, space, ledger, rows, kind)]):
            raise DataError(f"study {folder.name}: expected two finished trials to draw, found fewer; go on with it")
        return drawn


def study_figure(folder: Path, what: str) -> Any:
    """Return a study's picture as Matplotlib's figure.

    Raises
    ------
    ConfigError, DataError
        As :func:`draw_study` does, or where it has no such picture.
    """
    need("matplotlib", "plot", "plot")
    from lenumba.engine.tuning import plots

    with looking_into(folder, None) as found:
        there = {name: paint for name, _, paint in plots.pictures(*found)}
        if what not in there:
            names = ", ".join(there) or "two finished trials, before there is any"
            raise ConfigError(f"what: of the study {folder.name} expected {names}, found {what!r}")
        return there[what]()


def study_status(folder: Path, storage: str | None) -> dict[str, Any]:
    """Return how far a study is, without touching it."""
    recorded = read_record(folder)
    with looking_into(folder, storage) as (space, ledger, rows):
        states = [row["state"] for row in rows]
        # A process that was killed could not write that it runs no more.
        at_rest = "interrupted" if recorded.get("status") == "running" else recorded.get("status", "unknown")
        running = "running" in states or (not ledger.shared and in_use(folder))
        best, complete = report.best_row(space, rows), ledger.is_complete()
        confirmed = recorded.get("confirmed", False) and at_rest == "finished"
        owed = complete and not running and not confirmed
        return {
            "study": folder.name,
            "status": "complete" if complete else "running" if running else at_rest,
            "unconfirmed": recorded.get("unconfirmed", finals.INTERRUPTED) if owed else None,
            "total": ledger.total,
            "counts": {state: states.count(state) for state in ledger.counts()},
            "best": best["trial"] if best else None,
            "value": best["value"] if best else None,
            "storage": recorded.get("storage", JOURNAL),
            "trials": rows,
        }
