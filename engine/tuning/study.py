"""Studies: the search over a recipe's space, in a folder that survives everything but its own deletion."""

import contextlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError, LenumbaError
from lenumba.engine.common.files import read_json, write_json, write_text
from lenumba.engine.common.interrupts import Graceful
from lenumba.engine.config.config import LoadedConfig, dump_config, read_config
from lenumba.engine.data.selection import load_data
from lenumba.engine.runs.folders import locked, portable
from lenumba.engine.runs.transfer import absolute_source, read_source
from lenumba.engine.training.build import check_network, stated_shape
from lenumba.engine.tuning import finals, report
from lenumba.engine.tuning.ledger import Ledger, fingerprint
from lenumba.engine.tuning.results import Study
from lenumba.engine.tuning.search import Hooks, Search
from lenumba.engine.tuning.space import Space
from lenumba.engine.tuning.storage import JOURNAL, hide_password, mend_journal, need_optuna, open_storage

STUDIES = Path("studies")
RESUMABLE = ("data.root", "train.threads", "tune.trials", "tune.finalists", "tune.final_seeds")


class InterruptedStudyError(LenumbaError):
    """A study ended early after a signal; everything that has finished is kept."""

    def __init__(self, study: Study, signal: int) -> None:
        done = study.summary["counts"]["finished"] + study.summary["counts"]["pruned"]
        super().__init__(
            f"interrupted after {done} of {study.summary['total']} trials; "
            f"go on with: lenumba tune --resume --name {study.path.name}"
            + (f" --storage {study.summary['storage']}" if study.summary["storage"] != JOURNAL else "")
        )
        self.study = study
        self.exit_code = 128 + signal


def find_study(name: str | None) -> Path:
    """Return the folder of a study, of the latest without a name.

    Raises
    ------
    ConfigError
        Where there is none.
    """
    found = sorted(STUDIES.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime_ns)
    if name is None:
        if not found:
            raise ConfigError(f"no studies in {STUDIES.absolute()}; start one with 'lenumba tune lenet-tune'")
        return found[-1].parent
    for folder in (STUDIES / name, Path(name)):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"{name}: no study; those in {STUDIES} are {', '.join(p.parent.name for p in found) or 'none'}")


def load_study_config(folder: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Return a study's configuration, under its recipe's name."""
    for key in (item.partition("=")[0] for item in overrides):
        if key not in RESUMABLE:
            raise ConfigError(f"override {key}: a resumed study keeps it; only {', '.join(RESUMABLE)} may change")
    loaded = read_config(folder / "config.yaml", str(folder / "config.yaml"), overrides)
    name = read_json(folder / "study.json").get("recipe", folder.name)
    return LoadedConfig(name, loaded.source, loaded.config, loaded.origins)


def run_study(
    loaded: LoadedConfig,
    *,
    name: str | None = None,
    trials: int | None = None,
    jobs: int = 1,
    storage: str | None = None,
    hooks: Hooks | None = None,
) -> Study:
    """Start a study, or go on with the one of this name, up to the total number of trials.

    Parameters
    ----------
    loaded
        A configuration with a ``tune`` section.
    name
        The study's folder in ``studies``; the recipe's name by default.
    trials
        Finished and pruned trials in all; by default what the configuration says.
    jobs
        Worker processes, which share the threads.
    storage
        URL of a database that several processes and machines share; by default a journal in the study's folder.

    Raises
    ------
    ConfigError
        For every fault of the configuration and its space, before anything runs.
    DataError
        Where Optuna or the data are missing, the database does not answer, or another process has the study.
    InterruptedStudyError
        After SIGINT or SIGTERM, with everything that has finished written.
    """
    loaded = with_total(absolute_source(loaded), trials)
    space = Space(loaded)
    if stated_shape(loaded.config) is not None:
        check_network(loaded)
    read_source(loaded)
    need_optuna()
    folder = STUDIES / check_name(name or loaded.name)
    dataset = load_data(loaded, progress=True)
    if stated_shape(loaded.config) is None:
        check_network(loaded, dataset.image_shape, dataset.classes)
    digest, hooks = dataset.sha256, hooks or Hooks()
    del dataset
    if storage is not None:
        optuna_storage = open_storage(folder, storage)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if storage is None:
            stack.enter_context(locked(folder))
            mend_journal(folder)
            for leftover in folder.glob(".weights-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            optuna_storage = open_storage(folder, None)
        study = open_study(optuna_storage, folder.name, space, digest)
        write_text(folder / "config.yaml", dump_config(portable(loaded.config)))
        ledger = Ledger(study, space, space.tune.trials, shared=storage is not None, jobs=jobs)
        facts = {"recipe": loaded.name, "storage": hide_password(storage) if storage else JOURNAL, "jobs": jobs}
        write_json(folder / "study.json", {**read_json(folder / "study.json"), **facts, "status": "running"})
        search = Search(folder, space, ledger, jobs, hooks)
        interruption = stack.enter_context(Graceful(search.stop))
        with search.pool:
            search.run()
            final = None if search.stopped else finals.run(search)
        signal = interruption.signal if final is None else None  # after the finals there is nothing left to stop
        facts |= {"status": "interrupted" if signal else "finished", **search.figures()}
        result = conclude(folder, space, ledger, final, facts)
        if signal is not None:
            raise InterruptedStudyError(result, signal)
        return result


def with_total(loaded: LoadedConfig, trials: int | None) -> LoadedConfig:
    """Return the configuration with another total of trials, which the study's folder then remembers."""
    if trials is None or loaded.config.tune is None:
        return loaded
    tune = loaded.config.tune.model_copy(update={"trials": trials})
    return replace(loaded, config=loaded.config.model_copy(update={"tune": tune}))


def check_name(name: str) -> str:
    """Return a study's name, or raise ConfigError where it would be no folder's."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}", name):
        raise ConfigError(f"--name: expected letters, digits and . _ + -, found {name[:40]!r}; choose another name")
    return name


def open_study(storage: Any, name: str, space: Space, digest: str) -> Any:
    """Return Optuna's study of this name, new or as it was; raise where it is another configuration's or other data's.

    The pruner compares at the first epoch, then at three times as many, and so on. That is less harsh than it looks:
    with 60 complete trials of lenet-tune, replayed in 40 random orders, it spends 116 epochs instead of 400 on 40 of
    them, and the best it finds has 0.005 % less than the best there is (one standard error of such an accuracy is
    0.13 %). From epoch 2 on it spends 165 epochs and finds no better, nor does the median; from epoch 3 on it is 212.
    """
    optuna = need_optuna()
    first = max(1, space.loaded.config.train.epochs // 9)
    pruner = {
        "asha": optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=3),
        "median": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first),
        "none": optuna.pruners.NopPruner(),
    }[space.tune.pruner]
    direction = "maximize" if space.tune.maximize else "minimize"
    study = optuna.create_study(
        storage=storage, study_name=name, pruner=pruner, direction=direction, load_if_exists=True
    )
    own = fingerprint(space)
    known = study.user_attrs.get("config")
    if known is None:
        study.set_user_attr("data_sha256", digest)
        study.set_user_attr("config", own)
        return study
    if known != own:
        difference = first_difference(json.loads(known), json.loads(own))
        raise ConfigError(
            f"study {name}: was started with another configuration ({difference}); "
            "choose another --name, or go on with it as it is: --resume"
        )
    if study.user_attrs.get("data_sha256", digest) != digest:
        raise DataError(f"study {name}: was started on other data than data.root now holds; restore them")
    return study


def first_difference(old: Any, new: Any, path: str = "") -> str:
    """Say where two plain configurations differ first."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if old.get(key) != new.get(key):
                return first_difference(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            if pair[0] != pair[1]:
                return first_difference(*pair, f"{path}.{index}")
    return f"{path} was {json.dumps(old)[:60]}, is {json.dumps(new)[:60]}"


def conclude(folder: Path, space: Space, ledger: Ledger, final: finals.Final | None, facts: dict[str, Any]) -> Study:
    """Write what the study has found so far."""
    rows = report.rows(ledger)
    summary = report.study_summary(space, ledger, rows, final, facts)
    write_json(folder / "study.json", summary)
    write_text(folder / "trials.csv", report.csv_text(space, rows))
    best = next((row for row in rows if row["trial"] == summary["best"]), None)
    if best is not None:
        write_text(folder / "best.yaml", report.best_yaml(space, best, rows, summary))
    with contextlib.suppress(ImportError):
        from lenumba.engine.tuning import plots

        plots.draw(folder, space, ledger, rows)
    return Study(folder, summary, rows)


def study_status(folder: Path, storage: str | None) -> dict[str, Any]:
    """Return how far a study is, without touching it."""
    loaded = load_study_config(folder)
    space = Space(loaded)
    optuna = need_optuna()
    if storage is None and not (folder / JOURNAL).exists():
        known = read_json(folder / "study.json").get("storage", "a database")
        raise ConfigError(f"study {folder.name}: its trials are in {known}; give --storage URL")
    try:
        study = optuna.load_study(study_name=folder.name, storage=open_storage(folder, storage))
    except KeyError:
        raise ConfigError(f"study {folder.name}: not in {hide_password(storage or JOURNAL)}; start it first") from None
    ledger = Ledger(study, space, space.tune.trials, shared=storage is not None, jobs=1)
    rows = report.rows(ledger)
    recorded = read_json(folder / "study.json")
    best = report.best_row(space, rows)
    return {
        "study": folder.name,
        "status": "complete" if ledger.is_complete() else recorded.get("status", "unknown"),
        "total": ledger.total,
        "counts": ledger.counts(),
        "best": best["trial"] if best else None,
        "value": best["value"] if best else None,
        "storage": recorded.get("storage", JOURNAL),
        "trials": rows,
    }
