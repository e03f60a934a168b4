"""lenumba: a CPU training engine for small CNNs, compiled by Numba into one program per network.

Examples
--------
>>> import lenumba
>>> result = lenumba.train("lenet", overrides={"train.epochs": 3})  # doctest: +SKIP
>>> lenumba.load(result.path).predict(images)  # doctest: +SKIP
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lenumba.engine.common.errors import speaks_python
from lenumba.views import as_changes, config, explain, named, plot, report, summary

if TYPE_CHECKING:
    from lenumba.engine.config.config import Config
    from lenumba.engine.models.export import Exported
    from lenumba.engine.models.model import Model
    from lenumba.engine.profile.record import Profile
    from lenumba.engine.runs.comparison_table import Comparisons
    from lenumba.engine.runs.run import RunResult
    from lenumba.engine.tuning.results import Study

# lenumba.sklearn lies in a folder of its own: beside this file it would hide scikit-learn from a Python started here.
__path__ = [str(Path(__file__).parent), str(Path(__file__).parent / "extras")]

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "compare",
    "config",
    "explain",
    "export",
    "load",
    "plot",
    "profile",
    "report",
    "summary",
    "train",
    "tune",
]


@speaks_python
def train(
    config: "str | Path | Mapping[str, Any] | Config" = "quickstart",
    overrides: Mapping[str, Any] | None = None,
    *,
    images: Any = None,
    labels: Any = None,
    validation: Any = None,
    test: Any = None,
    class_names: Sequence[str] | None = None,
    channels: "Literal['first', 'last'] | None" = None,
    resume: str | Path | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> "RunResult":
    """Train a network in a new run folder, on the data of the configuration or on arrays in memory.

    Parameters
    ----------
    config
        A shipped recipe's name, the path of a YAML file, a dict of what such a file has, or a :class:`Config`.
    overrides
        Dotted keys and values that replace those of the configuration, such as ``{"train.epochs": 3}``.
    images, labels
        Arrays to train on in place of the configuration's data: images [N, H, W], [N, H, W, C] or [N, C, H, W], whole
        numbers from 0 to 255 or floating-point numbers from 0 to 1; or signals [N, L] or [N, L, C] of any numbers,
        where the configuration says so (``network.input``), or images of any (``data.dtype: float32``); labels [N],
        integers from 0 or names, or what ``data.target`` says: [N, K] of 0 and 1, numbers [N, K], or None.
    validation
        Of arrays: how many images to set aside, or which share of them, or ``(images, labels)``.
    test
        Of arrays: ``(images, labels)``, or which share of the images; one in six by default.
    class_names
        Of arrays: the classes in the order of the labels.
    channels
        Of arrays: ``"first"`` or ``"last"``, where their shape alone does not tell.
    resume
        A run to go on with, in place of `config`; one that was trained on arrays needs the same ones again.
    out
        The run folder, new or empty; without it ``runs/<recipe>-NNN``.
    quiet
        Show no curves in a notebook; elsewhere nothing is shown.

    Returns
    -------
    RunResult
        Its `path`, `summary` (test accuracy, speed, …) and `history` (one dict an epoch).

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        With one line for each fault: ConfigError, DataError, DivergedError.
    """
    from lenumba.engine.common.errors import ConfigError
    from lenumba.engine.common.files import expanded
    from lenumba.engine.config.config import load_config
    from lenumba.engine.data.in_memory import dataset_in_memory
    from lenumba.engine.report.live import training_hooks
    from lenumba.engine.runs.folders import find_run, load_run_config
    from lenumba.engine.runs.run import resume_run, start_run

    changes, hooks, dataset = dict(overrides or {}), training_hooks(quiet), None
    arrays = {"labels": labels, "validation": validation, "test": test, "class_names": class_names}
    if images is not None:
        count = {} if validation is None or isinstance(validation, tuple) else {"data.validation": validation}
        if resume is None:
            changes = {"data.name": "arrays", "data.root": None, "data.image_size": None} | count | changes
        loaded = load_config(config, changes) if resume is None else load_run_config(find_run(str(resume)))
        dataset = dataset_in_memory(
            images, labels, validation=None if count else validation, test=test, class_names=class_names,
            channels=channels, signals=loaded.config.network.signals, floats=loaded.config.floats,
            target=loaded.config.data.target,
        )  # fmt: skip
    elif given := [name for name, value in arrays.items() if value is not None]:
        raise ConfigError(f"{given[0]}: expected images, too, found none; give images and labels")
    record = as_changes(changes)
    if resume is not None:
        if config != "quickstart" or out is not None:
            raise ConfigError("resume: expected neither config nor out, as a resumed run has both")
        run = find_run(str(resume))
        own = load_run_config(run).config.data.validation
        if dataset is not None and count and validation != own:
            raise ConfigError(f"validation: expected {own}, as {run} was trained with, found {validation}")
        return resume_run(run, record, hooks, dataset)
    folder = expanded(out) if out else None
    return start_run(load_config(config, changes), out=folder, overrides=record, hooks=hooks, dataset=dataset)


@speaks_python
def compare(
    configs: Sequence[str | Path],
    overrides: Mapping[str, Any] | None = None,
    *,
    seeds: int = 5,
    out: str | Path | None = None,
) -> "Comparisons":
    """Train configurations with several seeds and measure them alike.

    Parameters
    ----------
    configs
        Shipped recipes' names or paths of YAML files.
    overrides
        Dotted keys and values that replace those of every configuration.
    seeds
        How many trainings of each: with the seeds ``train.seed``, ``train.seed + 1``, …
    out
        A folder that keeps the runs, where a later call goes on; without it nothing is kept.

    Returns
    -------
    Comparisons
        A list of Comparison, one for each configuration: its size, mean and standard error of training time and
        accuracies, and whether it differs from the first one by more than chance.

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        With one line for each fault: ConfigError, DataError, DivergedError.
    """
    from lenumba.engine.report.live import comparison_hooks
    from lenumba.engine.runs.compare import compare
    from lenumba.engine.runs.comparison_table import Comparisons

    return Comparisons(compare(configs, dict(overrides or {}), seeds, comparison_hooks(), Path(out) if out else None))


@speaks_python
def load(
    run: Any = "latest",
    checkpoint: str = "best",
    threads: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    spin_seconds: float = 0.001,
    batch_size: int | None = None,
) -> "Model":
    """Load a trained network.

    Parameters
    ----------
    run
        A run folder, the name of one in ``runs``, ``"latest"``, or what :func:`train` returned.
    checkpoint
        ``"best"`` (by validation) or ``"last"``.
    threads
        Worker threads; None: all cores.
    overrides
        Dotted keys and values, such as where the data are now (``data.root``).
    spin_seconds
        How long a thread that has helped with an answer waits for the next one, awake, before it sleeps; 0: not at all.
    batch_size
        How many images are asked for at a time, of a program that only answers and is compiled for it: images one by
        one then take a fraction of the time. None: the program that the run was trained with.

    Returns
    -------
    Model
        With ``predict(images)`` → int64 [N] and ``predict_proba(images)`` → float32 [N, outputs] for images
        uint8 [N, H, W, C], and ``evaluate()`` on the run's test set or ``evaluate(images, labels)``.

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        Where there is no such run or its files are damaged.
    """
    from lenumba.engine.models.model import load

    return load(named(run), checkpoint, threads, as_changes(overrides), spin_seconds, batch_size)


@speaks_python
def export(model: "Model", path: str | Path, kind: str | None = None, *, force: bool = False) -> "Exported":
    """Export a trained network to a file for other programs.

    Parameters
    ----------
    model
        What :func:`load` returned.
    kind
        ``onnx``, ``safetensors`` or ``npz``; the path's ending unless given.
    force
        Whether to replace an existing file.

    Returns
    -------
    Exported
        Its `path`, and for ONNX the `comparison` of its numbers with lenumba's.

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        Where the file exists already, the format is unknown, or the exported network gives other numbers.
    """
    from lenumba.engine.common.files import expanded
    from lenumba.engine.models.export import export_run

    return export_run(model.folder, kind, expanded(path), model.checkpoint, force=force, model=model)


@speaks_python
def tune(
    config: str | Path = "lenet-tune",
    overrides: Mapping[str, Any] | None = None,
    *,
    trials: int | None = None,
    jobs: int = 1,
    name: str | None = None,
    storage: str | None = None,
) -> "Study":
    """Search for better settings; needs ``pip install 'lenumba[tune]'``.

    A study of this name that is there already goes on, up to `trials` in all.

    Parameters
    ----------
    config
        A recipe's name or the path of a YAML file, with a section ``tune``.
    overrides
        Dotted keys and values that replace those of the configuration.
    trials
        Finished and pruned trials in all; by default what the configuration says.
    jobs
        Worker processes, which share the threads.
    name
        The study's folder in ``studies``; the recipe's name by default.
    storage
        URL of a database that several machines share; by default a journal in the study's folder.

    Returns
    -------
    Study
        Its `path`, `best`, `best_config`, `trials` and `summary`.

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        With one line for each fault.
    """
    from lenumba.engine.config.config import load_config
    from lenumba.engine.tuning.live import study_hooks
    from lenumba.engine.tuning.study import run_study

    loaded = load_config(config, dict(overrides or {}))
    return run_study(loaded, name=name, trials=trials, jobs=jobs, storage=storage, hooks=study_hooks())


@speaks_python
def profile(function: Any, *args: Any, seconds: float = 1.0) -> "Profile":
    """Profile a function that Numba compiled, for these arguments.

    Where the function writes into its arguments, every call finds them as they were; they are restored at the end.

    Parameters
    ----------
    function
        With Numba's ``njit`` or ``jit`` on it.
    seconds
        How long to measure.

    Returns
    -------
    Profile
        A dict of what was measured; ``str()`` of it is the text, ``.html`` the page.

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        Where Numba did not compile the function, or calling it raised something.
    """
    from lenumba.engine.profile.function import profile_function
    from lenumba.engine.profile.subject import subject_of

    return profile_function(subject_of(function, args), seconds)
