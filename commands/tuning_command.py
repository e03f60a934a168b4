"""What the command ``lenumba tune`` does; it prints through the function that it is given."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from lenumba.commands.tuning_display import StudyDisplay
from lenumba.engine.config.config import load_config
from lenumba.engine.tuning.record import find_study, load_study_config
from lenumba.engine.tuning.report import closing_text, status_text
from lenumba.engine.tuning.study import InterruptedStudyError, run_study, study_status


def show_status(name: str | None, storage: str | None, *, as_json: bool) -> str:
    """Return how far a study is, the latest without a name."""
    found = study_status(find_study(name), storage)
    return json.dumps(found, ensure_ascii=False, indent=2) if as_json else status_text(found)


def tune_command(
    echo: Callable[[str], None],
    recipe: str | None,
    changes: Sequence[str],
    name: str | None,
    *,
    resume: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Start a study or go on with it, and tell what it found, also where a signal ends it early.

    Parameters
    ----------
    echo
        Prints text.
    recipe, changes, name
        A configuration's name or path, its overrides, and the study's name.
    resume
        Go on with the study `name` or `recipe`, or the latest, as it is recorded.
    options
        For :func:`lenumba.engine.tuning.study.run_study`.
    """
    if resume:
        folder = find_study(name or recipe)
        loaded = load_study_config(folder, changes)
    else:
        folder, loaded = None, load_config(str(recipe), changes)
    silent = quiet or as_json
    with StudyDisplay(echo, silent=silent) as display:
        try:
            study = run_study(loaded, name=name, folder=folder, hooks=display.hooks, **options)
        except InterruptedStudyError as error:
            if not silent:
                echo(closing_text(loaded, error.study))
            raise
    if as_json:
        echo(json.dumps({"path": str(study.path), **study.summary}, indent=2, ensure_ascii=False))
    elif not quiet:
        echo(closing_text(loaded, study))
