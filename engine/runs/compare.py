"""Configurations side by side: each trained with several seeds, in memory or in run folders, and measured alike."""

import contextlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from lenumba.engine.common.errors import ConfigError, DivergedError
from lenumba.engine.common.files import SUFFIX, write_text
from lenumba.engine.config.config import LoadedConfig, Overrides, load_config
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.sharing import load_shared
from lenumba.engine.ranks.folders import check_shared
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.runs.checkpoint import BEST, Checkpoint
from lenumba.engine.runs.figures import CompareHooks, with_seed
from lenumba.engine.runs.folders import LOCK, check_writable, new_folder
from lenumba.engine.runs.measuring import (
    Comparison,
    SeedResult,
    TargetComparison,
    TargetResult,
    figures_by,
    measure,
    results_of,
)
from lenumba.engine.runs.seeds import check_seeds, follow_training, run_folder, seeded_configs, train_seed, watcher
from lenumba.engine.runs.transfer import Source, absolute_source, read_source, take_over
from lenumba.engine.training.build import check_network, check_trainable, stated_shape
from lenumba.engine.training.trainer import Trainer

SUMMARY, PLOTS = "comparison.json", "plots"


def compare(
    configs: Sequence[str | Path],
    overrides: Overrides = (),
    seeds: int = 5,
    hooks: CompareHooks | None = None,
    out: Path | None = None,
    team: Alone = ALONE,
) -> list[Comparison] | list[TargetComparison]:
    """Train each configuration with the seeds train.seed, train.seed + 1, … and measure them alike.

    Parameters
    ----------
    configs
        Recipes' names or paths of YAML files.
    overrides
        As for :func:`lenumba.engine.config.config.load_config`; they apply to every configuration.
    seeds
        How many seeds.
    out
        A folder for the runs, ``<configuration>/seed-N``; that of an earlier call keeps what is finished and goes on.
        None: nothing is kept.
    team
        The ranks that share out the trainings, each of which calls this alike.

    Raises
    ------
    ConfigError, DataError
        Before anything is trained, also where the ranks do not share `out`.
    DivergedError
        When a training's loss is not finite any more; it names configuration and seed.
    InterruptedRunError
        After a signal, where the runs are kept.
    """
    hooks = hooks or CompareHooks()
    if seeds < 1:
        raise ConfigError(f"seeds: expected at least 1 seed, found {seeds}")
    overrides = overrides if isinstance(overrides, Mapping) else list(overrides)
    loaded = team.told([absolute_source(load_config(config, overrides)) for config in configs])
    names = [item.name for item in loaded]
    names = [name if names.count(name) == 1 else item.source for name, item in zip(names, loaded, strict=True)]
    sources = [read_source(item) for item in loaded]
    for item in loaded:
        if stated_shape(item.config) is not None:
            check_trainable(item, check_network(item))
    figures = figures_by(loaded)
    places = check_kept(out, loaded, seeds, checks=team.leads)
    team.barrier()
    datasets: dict[tuple[object, ...], Dataset] = {}  # each is loaded once
    keys, networks = [], []
    for item in loaded:
        data = item.config.data
        keys.append(
            (
                data.name,
                data.root,
                data.image_size,
                item.config.network.signal_shape,
                data.classes,
                data.samples_per_class,
                data.decisions,
                data.target_columns,
                data.dtype,
            )
        )
        if keys[-1] not in datasets:
            datasets[keys[-1]] = load_shared(item, team, hooks.download_bar)
        dataset = datasets[keys[-1]]
        networks.append(check_trainable(item, check_network(item, dataset.image_shape, dataset.classes)))
    record = [f"{key}={value}" for key, value in overrides.items()] if isinstance(overrides, Mapping) else overrides
    command = ["lenumba", "compare", *map(str, configs), *record, "--seeds", str(seeds), "--out", str(out)]
    count = seeds * len(loaded)
    resume = shlex.join(command if out is not None else command[:-2])
    team.resumes_with(resume)

    def train_one(number: int) -> SeedResult | TargetResult:
        which, seed = divmod(number, seeds)
        name, dataset, place = names[which], datasets[keys[which]], places[which]
        seeded = with_seed(loaded[which], loaded[which].config.train.seed + seed)
        try:
            if place is None:
                trainer, seconds = train_once(seeded, dataset, sources[which], name, hooks, (number, count), team.own)
            else:
                follow = follow_training(hooks, seeded, name, (number, count))
                seconds = train_seed(seeded, place, record, follow, command, team.own).seconds
                trainer = Trainer(seeded, dataset, hooks.compile, team=team.own)
                best = Checkpoint.read(run_folder(place, seeded) / BEST)
                best.fill(trainer.network, trainer.best_theta, "")
        except DivergedError as error:
            raise DivergedError(f"{name}, {error}") from None
        found = measure(trainer, seconds, figures)
        if hooks.done:
            hooks.done(name, found, number + 1, count)
        return found

    with contextlib.ExitStack() as stack:
        if out is not None and team.leads:
            stack.enter_context(new_folder(out, ""))
        if out is not None:
            check_shared(team, out)
        runs = team.share_out(count, train_one, resume)
        results = results_of(names, networks, [runs[k : k + seeds] for k in range(0, count, seeds)], figures)
        if out is not None and team.leads:
            write_text(out / SUMMARY, json.dumps([item.as_dict() for item in results], indent=2) + "\n")
    return results


def check_kept(
    out: Path | None, loaded: Sequence[LoadedConfig], seeds: int, *, checks: bool = True
) -> Sequence[Path | None]:
    """Return the folder of each configuration's seeds; raise ConfigError if it `checks` and finds anything else."""
    if out is None:
        return [None] * len(loaded)
    names = [item.name for item in loaded]
    places = [
        out / (name if names.count(name) == 1 else f"{name}-{names[: number + 1].count(name)}")
        for number, name in enumerate(names)
    ]
    if not checks:
        return places
    if not out.is_dir():
        check_writable(out)
        return places
    for path in out.iterdir():
        if path not in (*places, out / LOCK, out / SUMMARY, out / PLOTS) and path.suffix != SUFFIX:
            what = "a new folder or one of compare with these configurations"
            raise ConfigError(f"--out {out}: expected {what}, found {path.name} in it; choose another")
    for item, place in zip(loaded, places, strict=True):
        if place.is_dir():
            check_seeds(place, seeded_configs(item, seeds))
    return places


def train_once(
    loaded: LoadedConfig,
    dataset: Dataset,
    source: Source | None,
    name: str,
    hooks: CompareHooks,
    place: tuple[int, int],
    team: Alone = ALONE,
) -> tuple[Trainer, float]:
    """Train with one seed in memory; return also the seconds. `place` is (trainings done before, all trainings)."""
    trainer = Trainer(loaded, dataset, hooks.compile, team=team)
    take_over(trainer, source)
    try:
        return trainer, sum(record.seconds for record in trainer.epochs(watcher(hooks, trainer, name, place)))
    except DivergedError as error:
        raise DivergedError(f"seed {loaded.config.train.seed}: {error}") from None
