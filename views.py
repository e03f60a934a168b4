"""What Python users look at: configurations, summaries, explanations, pictures and pages; `__init__` has them all."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenumba.engine.common.errors import speaks_python

if TYPE_CHECKING:
    from lenumba.engine.config.config import Config
    from lenumba.engine.report.shown import Page, Picture, Walkthrough
    from lenumba.engine.training.summary import Summary


@speaks_python
def config(
    source: "str | Path | Mapping[str, Any] | Config" = "quickstart", overrides: Mapping[str, Any] | None = None
) -> "Config":
    """Return a complete, checked configuration, whose sections and values are attributes.

    Parameters
    ----------
    source
        A shipped recipe's name, the path of a YAML file, a dict of what such a file has, or another configuration.
    overrides
        Dotted keys and values that replace those of the configuration, such as ``{"train.epochs": 3}``.

    Returns
    -------
    Config
        For :func:`lenumba.train`; ``print`` shows it as YAML. It does not change: call this function again.

    Raises
    ------
    lenumba.engine.common.errors.ConfigError
        With one line for each fault.
    """
    from lenumba.engine.config.config import load_config

    loaded = load_config(source, dict(overrides or {}))
    loaded.config._name = loaded.name
    return loaded.config


@speaks_python
def summary(network: Any = "quickstart", overrides: Mapping[str, Any] | None = None) -> "Summary":
    """Return a network's layers with shapes, parameters, multiply-adds and memory; printed, a table.

    Parameters
    ----------
    network
        A configuration, as for :func:`config`, a run's folder or name, or what :func:`lenumba.train` or
        :func:`lenumba.load` returned.
    overrides
        Dotted keys and values that replace those of a configuration.

    Raises
    ------
    lenumba.engine.common.errors.ConfigError
        Where a layer does not fit.
    """
    from lenumba.engine.config.config import Config, load_config
    from lenumba.engine.config.recipes import recipe_names
    from lenumba.engine.runs.folders import find_run, is_run
    from lenumba.engine.runs.trained import read_trained
    from lenumba.engine.training.summary import summarize

    source = network if isinstance(network, Mapping | Config) else named(network)
    if not isinstance(source, str) or source in recipe_names() or not is_run(source):
        return summarize(load_config(source, dict(overrides or {})))
    trained = read_trained(find_run(source), overrides=as_changes(overrides))
    return summarize(trained.loaded, trained.image_shape)


@speaks_python
def explain(
    network: Any = "tiny15",
    image: Any = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    layer: str | None = None,
    cell: str | None = None,
    label: str | int | None = None,
    checkpoint: str = "best",
    layers: Any = None,
    delta: Any = None,
) -> "Walkthrough":
    """Take one image through a network and back: equations, shapes and numbers, layer by layer.

    Parameters
    ----------
    network
        A configuration's name or path, for a network before its training; a run's folder or name; what
        :func:`lenumba.train` or :func:`lenumba.load` returned; or a worked example's name or path.
    image
        A picture's path, or an index into the test set; None: the first test image. Or a matrix, or a list of them,
        one for each channel, whose values are taken as they are.
    overrides
        Dotted keys and values that replace those of the configuration.
    layer
        A layer's name: its numbers alone, and all of them.
    cell
        A single value, such as ``"conv1/0,2,3"`` (layer/channel,row,column): its window, products and sum, and where
        its gradient goes.
    label
        The image's class; a picture's is else what the network takes it for.
    checkpoint
        ``"best"`` (by validation) or ``"last"``.
    layers
        A worked example's layers with given weights, as recipes write them, in place of a network.
    delta
        A worked example's gradient at its end, matrices.

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        Where there is no such network, image, layer or cell.
    """
    from lenumba.engine.explain.walk import walk_through
    from lenumba.engine.report.shown import Walkthrough

    name = None if layers is not None else named(network)
    image, delta = (as_lists(given) for given in (image, delta))
    walk = walk_through(
        name, image, as_changes(overrides), layers=layers, delta=delta, layer=layer, cell=cell,
        label=None if label is None else str(label), checkpoint=checkpoint,
    )  # fmt: skip
    return Walkthrough(walk)


def as_lists(given: Any) -> Any:
    """Return matrices as lists, and other images as the command line has them."""
    if hasattr(given, "tolist") and getattr(given, "ndim", 0) > 1:
        given = given.tolist()
    return given if given is None or isinstance(given, list | tuple) else str(given)


@speaks_python
def plot(
    *runs: Any,
    what: str = "curves",
    image: Any = None,
    checkpoint: str = "best",
    overrides: Mapping[str, Any] | None = None,
) -> "Picture":
    """Draw a run, or the learning curves of several in one picture; needs ``pip install 'lenumba[plot]'``.

    Parameters
    ----------
    runs
        Run folders or their names, folders of ``train --seeds`` or ``compare``, or what :func:`lenumba.train` or
        :func:`lenumba.load` returned; without any, the latest run. Several are named by the settings that differ.
    what
        ``"curves"``, and of a single run ``"confusion"``, ``"kernels"``, ``"features"``, ``"mistakes"`` or, where it
        was trained with ``plots: true``, ``"histograms"``; of a study ``"curves"``, ``"history"``, ``"importance"``,
        and ``"parallel"`` or, where one setting alone was tried, ``"setting"``.
    image
        For the features: a picture's path, an index into the test set, or uint8 [H, W, C]; None: the first test image.
    overrides
        Dotted keys and values, such as where the data are now (``data.root``).

    Returns
    -------
    Picture
        Which a notebook shows; with ``save(path)`` and Matplotlib's `figure`.

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        Where a run has nothing to draw, or Matplotlib is not installed.
    """
    from lenumba.engine.report.shown import Picture, picture_of
    from lenumba.engine.tuning.record import find_study, is_study

    names = [named(run) for run in runs or ("latest",)]
    if len(names) == 1 and is_study(names[0]):
        from lenumba.engine.tuning.study import study_figure

        return Picture(f"{what} of {names[0]}", study_figure(find_study(names[0]), what))
    return picture_of(names, what, image, checkpoint, as_changes(overrides))


@speaks_python
def report(
    run: Any = "latest",
    out: str | Path | None = None,
    *,
    checkpoint: str = "best",
    overrides: Mapping[str, Any] | None = None,
) -> "Page":
    """Write the page to play with a trained network: draw, see every layer, step through backpropagation.

    Parameters
    ----------
    run
        A run folder or its name, or what :func:`lenumba.train` or :func:`lenumba.load` returned.
    out
        The file, replaced if it is there; None: ``report.html`` in the run folder.
    overrides
        Dotted keys and values, such as where the data are now (``data.root``).

    Returns
    -------
    Page
        Which a notebook shows in a frame; `path` is its file.

    Raises
    ------
    lenumba.engine.common.errors.LenumbaError
        Where there is no such run, or its network is too large for a page.
    """
    from lenumba.engine.common.files import expanded
    from lenumba.engine.report.shown import page_of

    return page_of(named(run), expanded(out) if out else None, checkpoint, as_changes(overrides))


def named(given: Any) -> str:
    """Return the name or path of what a user gives: a run, a study, a model, or a name or path itself."""
    for attribute in ("path", "folder"):  # of results, of models
        if isinstance(found := getattr(given, attribute, None), Path):
            return str(found)
    return str(given)


def as_changes(overrides: Mapping[str, Any] | None) -> list[str]:
    """Return overrides as the command line has them."""
    import json

    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in (overrides or {}).items()
    ]
