"""What a study's folder says of it: its configuration, and where its trials are."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import read_json
from lenumba.engine.common.kinds import LOOSE, checked
from lenumba.engine.config.config import LoadedConfig, read_config
from lenumba.engine.runs.changes import differences
from lenumba.engine.tuning.space import Space
from lenumba.engine.tuning.storage import JOURNAL, hide_password, need_optuna

STUDIES = Path("studies")
RECORD = "study.json"
RESUMABLE = ("data.root", "train.threads", "tune.trials", "tune.finalists", "tune.final_seeds")


@with_config(LOOSE)
class Record(TypedDict, total=False):
    """``study.json``, as far as anything reads it."""

    recipe: str
    status: str
    confirmed: bool
    unconfirmed: str
    storage: Annotated[str, Field(min_length=1)]


ADAPTER = TypeAdapter(Record)


def read_record(folder: Path) -> dict[str, Any]:
    """Return ``study.json``, an empty record where it is missing or no JSON; DataError where a value is wrong."""
    return checked(ADAPTER, read_json(folder / RECORD), folder / RECORD, "mend it, or remove the file")


def study_folder(name: str) -> Path:
    """Return the folder of a study with this name, or raise ConfigError where it would be no folder's."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}", name):
        raise ConfigError(f"--name: expected letters, digits and . _ + -, found {name[:40]!r}; choose another name")
    return STUDIES / name


def find_study(name: str | None) -> Path:
    """Return the folder of a study, by name or path; of the latest without.

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


def is_study(name: str) -> bool:
    """Return whether a name means a study: a path, or one in ``studies``."""
    return any((folder / RECORD).is_file() for folder in (STUDIES / name, Path(name)))


def load_study_config(folder: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Return a study's configuration, under its recipe's name."""
    for key in (item.partition("=")[0] for item in overrides):
        if key not in RESUMABLE:
            raise ConfigError(f"override {key}: a resumed study keeps it; only {', '.join(RESUMABLE)} may change")
    loaded = read_config(folder / "config.yaml", str(folder / "config.yaml"), overrides)
    name = read_record(folder).get("recipe", folder.name)
    return LoadedConfig(name, loaded.source, loaded.config, loaded.origins)


def recorded_storage(folder: Path, given: str | None) -> str | None:
    """Return the URL of the database that holds a study's trials; None for the journal in its folder.

    Parameters
    ----------
    given
        The URL that the user gives, which a new study obeys; one that has begun keeps its storage.

    Raises
    ------
    ConfigError
        Where another storage is given than the study's.
    DataError
        Where the study's journal is missing.
    """
    given, known = None if given is None else absolute_url(given), read_record(folder).get("storage")
    if known is None:
        if not (folder / "config.yaml").exists() or (folder / JOURNAL).exists() or given is not None:
            return given
        raise DataError(f"{folder / RECORD}: expected the study's record, found none or damage; give --storage URL")
    if given is not None and hide_password(given) != known:
        raise ConfigError(
            f"study {folder.name}: its trials are in {known}, not in {hide_password(given)}; "
            "leave --storage out, or choose another --name"
        )
    if known != JOURNAL:
        return given or known
    if not (folder / JOURNAL).exists():
        raise DataError(f"{folder / JOURNAL}: expected the study's trials, found no such file; restore it")
    return None


def absolute_url(url: str) -> str:
    """Return a database's URL; the path of a SQLite file becomes absolute, so that it means the same everywhere."""
    if found := re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(.*)", url, re.DOTALL):
        return f"{found[1]}{Path(found[2]).absolute()}{found[3]}"
    return url


def open_study(storage: Any, folder: Path, space: Space, digest: str) -> Any:
    """Return Optuna's study of this folder, new or as it was.

    The pruner compares at the first epoch, then at three times as many, and so on. That is less harsh than it looks:
    with 60 complete trials of lenet-tune, replayed in 40 random orders, it spends 116 epochs instead of 400 on 40 of
    them, and the best it finds has 0.005 % less than the best there is (one standard error of such an accuracy is
    0.13 %). From epoch 2 on it spends 165 epochs and finds no better, nor does the median; from epoch 3 on it is 212.

    Raises
    ------
    ConfigError
        Where it is another configuration's.
    DataError
        Where it is other data's, or where the storage has lost it.
    """
    optuna, name = need_optuna(), folder.name
    first = max(1, space.loaded.config.train.epochs // 9)
    pruner = {
        "asha": optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=3),
        "median": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first),
        "none": optuna.pruners.NopPruner(),
    }[space.tune.pruner]
    if known := read_record(folder).get("storage"):
        try:
            study = optuna.load_study(study_name=name, storage=storage, pruner=pruner)
        except KeyError:
            raise DataError(f"study {name}: its trials are no more in {known}; restore them") from None
    else:
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
    before, now = json.loads(known), json.loads(own)
    for path, old, new in (
        *differences(before, now),
        *differences(before["tune"], now["tune"], "tune", whole=True),  # what is tried, and how
    ):
        raise ConfigError(
            f"study {name}: was started with another configuration ({path} was {json.dumps(old)[:60]}, is "
            f"{json.dumps(new)[:60]}); choose another --name, or go on with it as it is: --resume"
        )
    if study.user_attrs.get("data_sha256", digest) != digest:
        raise DataError(f"study {name}: was started on other data than data.root now holds; restore them")
    return study


def fingerprint(space: Space) -> str:
    """Return what makes a study this one and no other, as JSON text: all but paths, threads and totals."""
    base = json.loads(json.dumps(space.base))
    base["data"].pop("root")
    base["train"].pop("threads")
    tune = space.tune.model_dump(mode="json", exclude={"trials", "finalists", "final_seeds"})
    smoothing = "loss.label_smoothing"
    if tune["metric"] == "val_loss" and (base["loss"]["label_smoothing"] or smoothing in tune["space"]):
        tune["judged"] = "without label smoothing"  # older studies were not
    return json.dumps({**base, "tune": tune}, sort_keys=True)
