"""What a study leaves: its trials as rows, trials.csv, best.yaml and the tables that are printed."""

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from lenumba.engine.common.statistics import standard_error
from lenumba.engine.common.targets import FALLING, WORDS
from lenumba.engine.common.text import short_names, table
from lenumba.engine.config.config import LoadedConfig, dump_config
from lenumba.engine.config.tune import Tune
from lenumba.engine.config.yaml_file import load_yaml
from lenumba.engine.tuning.ledger import Ledger
from lenumba.engine.tuning.results import Final, Study
from lenumba.engine.tuning.space import Space

STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
METRICS = {f"val_{name}": f"validation {words}" for name, words in WORDS.items()}
METRICS["seconds_to_accuracy"] = "seconds to the target accuracy"
PERCENT = ("val_accuracy", "val_balanced_accuracy")


def rows(ledger: Ledger) -> list[dict[str, Any]]:
    """Return one dict per trial: number, state, value, values per seed, parameters, reason, epochs, seconds, curves."""
    found = []
    for slot, attempt in sorted(ledger.slots().items()):
        known = {d.key: d for d in ledger.space.dimensions}
        result = attempt.user_attrs.get("result", {})
        found.append(
            {
                "trial": slot,
                "attempt": attempt.number,
                "state": STATES[attempt.state.name],
                "value": attempt.value if attempt.state.name == "COMPLETE" else None,
                "values": result.get("values", []),
                "accuracies": result.get("accuracies", []),
                "params": {key: known[key].value(label) for key, label in attempt.params.items() if key in known},
                "reason": attempt.user_attrs.get("reason") or result.get("reason", ""),
                "epochs": result.get("epochs", 0),
                "seconds": result.get("seconds", 0.0),
                "compile_s": result.get("compile_s"),
                "cached": result.get("cached"),
                "curves": result.get("curves", []),
            }
        )
    return found


def ranking(space: Space, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the finished trials, the best first, and of each configuration the first; equals stay in their order."""
    sign = -1 if space.tune.maximize else 1
    repeated = repetitions(found)
    finished = [row for row in found if row["state"] == "finished" and row["trial"] not in repeated]
    return sorted(finished, key=lambda row: sign * row["value"])


def repetitions(found: Sequence[dict[str, Any]]) -> dict[int, int]:
    """Return the finished trials whose configuration an earlier one has, with that one."""
    first: dict[str, int] = {}
    finished = [row for row in found if row["state"] == "finished"]
    same = {row["trial"]: first.setdefault(json.dumps(row["params"], sort_keys=True), row["trial"]) for row in finished}
    return {trial: earlier for trial, earlier in same.items() if trial != earlier}


def best_row(space: Space, found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the best finished trial of the search alone."""
    order = ranking(space, found)
    return order[0] if order else None


def study_summary(
    space: Space, ledger: Ledger, found: Sequence[dict[str, Any]], final: Final | str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the contents of ``study.json``."""
    best = best_row(space, found)
    summary: dict[str, Any] = {
        **facts,
        "metric": space.tune.metric,
        "total": ledger.total,
        "counts": ledger.counts(),
        "repeated": repetitions(found),
        "best": final.winner if isinstance(final, Final) else best["trial"] if best else None,
        "confirmed": isinstance(final, Final),
    }
    if isinstance(final, str):
        summary["unconfirmed"] = final
    else:
        summary["finals"] = {
            "seeds": final.seeds,
            "values": final.values,
            "accuracies": final.accuracies,
            "excluded": final.excluded,
            "p_values": final.p_values,
            "tied": final.tied,
            f"test_{space.tested}": final.test,
            "test_p_value": final.test_p_value,
            "tested_before": final.tested_before,
        }
    return json.loads(json.dumps(summary))


def csv_text(space: Space, found: Sequence[dict[str, Any]]) -> str:
    """Return ``trials.csv``: one line a trial, one column for each key that is tried."""
    keys = [d.key for d in space.dimensions]
    plain = ["trial", "state", "value", "values", "epochs", "seconds", "compile_s", "cached", "reason"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, *keys])
    for row in found:
        cells = [row[name] if row[name] is not None else "" for name in plain]
        cells[3] = " ".join(map(repr, row["values"]))
        values = [row["params"].get(key, "") for key in keys]
        writer.writerow([*cells, *(json.dumps(v) if isinstance(v, list | bool) else v for v in values)])
    return text.getvalue()


def best_yaml(space: Space, best: dict[str, Any], found: Sequence[dict[str, Any]], summary: dict[str, Any]) -> str:
    """Return the best trial as a complete configuration, with comments on what was tuned and how sure it is."""
    config = space.config(best["params"], f"trial {best['trial']}").config
    body = dump_config(config).splitlines()
    lines = load_yaml("\n".join(body) + "\n", "best.yaml")[1]
    for key, value in best["params"].items():
        own = space.recipe[key]
        text = "as in the recipe" if value == own else f"the recipe has {_short(own)}"
        body[lines[key] - 1] += f"  # tuned; {text}"
    head = [f"Trial {best['trial']} of the study of {summary['recipe']}."]
    seed = space.seed
    tested = f"val_{space.tested}"
    values = best["accuracies"] if tested == "val_accuracy" else best["values"]
    for repeat, value in enumerate(values):
        which = METRICS[tested].replace("val", "Val", 1)
        head.append(f"{which} of its best epoch: {value!r} with train.seed={(seed + repeat) % 2**63}.")
    head += verdict(space, summary)
    return "\n".join([*(f"# {line}" for line in head), "", *body, ""])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value).strip('"')


def _metric(metric: str, value: float) -> str:
    return f"{100 * value:.2f} %" if metric in PERCENT else f"{value:.4f}"


def _with_error(metric: str, values: Sequence[float]) -> str:
    if metric in PERCENT:
        return f"{100 * fmean(values):.2f} ± {100 * standard_error(values):.2f} %"
    return f"{fmean(values):.4f} ± {standard_error(values):.4f}"


def verdict(space: Space, summary: Mapping[str, Any]) -> list[str]:
    """Say what the finals have shown, and what they have not."""
    if "finals" not in summary:
        why = summary.get("unconfirmed", "the study is not complete")
        return [f"Not confirmed with fresh seeds: {why}. The best of many noisy results is too good to be true."]
    finals, winner, tune = summary["finals"], str(summary["best"]), space.tune
    metric, count = METRICS[tune.metric], len(finals["seeds"])
    text = [
        f"Fresh seeds: {metric} {_with_error(tune.metric, finals['values'][winner])} "
        f"(mean ± standard error, n = {count})."
    ]
    for slot, p in finals["p_values"].items():
        name = "the recipe as written (trial 0)" if slot == "0" else f"trial {slot}"
        mean = _with_error(tune.metric, finals["values"][slot])
        judged = "a tie" if int(slot) in finals["tied"] else "worse"
        text.append(f"Against {name}, {mean}: {judged} (paired t-test with Holm's correction, p = {p:.2g}).")
    text += [f"Trial {slot} is out of the finals: {reason}." for slot, reason in finals["excluded"].items()]
    test, tested = finals[f"test_{space.tested}"], f"val_{space.tested}"
    if winner == "0":
        text.append("No trial is better than the recipe as written, which is what this is.")
    text.append(f"Test {WORDS[space.tested]}, read once per seed: {_with_error(tested, test[winner])}.")
    if finals["test_p_value"] is not None:
        p, mean = finals["test_p_value"], _with_error(tested, test["0"])
        ahead = (fmean(test[winner]) > fmean(test["0"])) != (space.tested in FALLING)
        judged = "no difference that is more than chance" if p >= 0.05 else "better" if ahead else "worse"
        text.append(f"The recipe as written has {mean} there: the winner is {judged} (p = {p:.2g}).".replace(
            "the winner is no", "no"))  # fmt: skip
    if finals["tested_before"]:
        others = ", ".join(map(str, finals["tested_before"]))
        text.append(f"It was also read for trial {others}, which led when the study was shorter.")
    return text


def top_table(space: Space, found: Sequence[dict[str, Any]], count: int = 10) -> str:
    """Return the best trials, with mean ± standard error where there are several seeds."""
    keys = [d.key for d in space.dimensions]
    lines = []
    for row in ranking(space, found)[:count]:
        several = len(row["values"]) > 1
        metric = space.tune.metric
        value = _with_error(metric, row["values"]) if several else _metric(metric, row["value"])
        network = "" if row["compile_s"] is None else "cached" if row["cached"] else f"{row['compile_s']:.1f} s"
        lines.append([row["trial"], value, row["epochs"], network, *(_short(row["params"].get(key)) for key in keys)])
    if not lines:
        return "no trial has finished yet"
    return table(["trial", METRICS[space.tune.metric], "epochs", "compiled", *short_names(keys)], lines, left=0)


def trial_line(tune: Tune, row: Mapping[str, Any]) -> str:
    """Return one line about a trial that has just ended."""
    value = _metric(tune.metric, row["value"]) if row["value"] is not None else row["state"]
    names = short_names(list(row["params"]))
    params = " ".join(f"{name}={_short(value)}" for name, value in zip(names, row["params"].values(), strict=True))
    compiled = f"compiled {row['compile_s']:.1f} s  " if row["cached"] is False else ""
    reason = f"  ({row['reason']})" if row["state"] == "failed" else ""
    return (
        f"{row['trial']:5d}  {value:>9}  {row['epochs']:3d} epochs  {row['seconds']:6.1f} s  {compiled}{params}{reason}"
    )


def closing_text(loaded: LoadedConfig, study: Study) -> str:
    """Return what is printed at the end: the top ten, the verdict, the files."""
    space, summary = Space(loaded), study.summary
    counts = summary["counts"]
    lines = [
        top_table(space, study.trials),
        "",
        f"{counts['finished']} finished, {counts['pruned']} pruned, {counts['failed']} failed; "
        f"here {summary['trials_here']} trials in {summary['search_s']:.1f} s, "
        f"{summary['trials_per_minute']:.1f} a minute, "
        f"{summary['images_per_second']:,.0f} images/s, {summary['compiled']} networks compiled in "
        f"{summary['compile_s']:.1f} s, {summary['wall_s']:.1f} s in all",
    ]
    if repeated := summary["repeated"]:
        lines.append(f"{len(repeated)} had the configuration of an earlier trial, which stands for both")
    failed = [row for row in study.trials if row["state"] == "failed"]
    lines += [f"failed: {row['reason']}" for row in failed[:5]]
    if study.best is not None:
        tied = summary.get("finals", {}).get("tied", [])
        best = f"no clear winner: trial {summary['best']} leads, tied with {', '.join(map(str, tied))}"
        lines += [best if tied else f"best: trial {summary['best']}", *verdict(space, summary)]
        lines.append(f"next: lenumba train {shlex.quote(str(study.best_config))}")
    return "\n".join(lines)


def status_text(status: Mapping[str, Any]) -> str:
    """Return a study's state in a few lines."""
    counts = status["counts"]
    done = counts["finished"] + counts["pruned"]
    best = "none yet" if status["best"] is None else f"trial {status['best']} with {status['value']:.4f}"
    lines = [
        f"study {status['study']}: {status['status']}, {done} of {status['total']} trials "
        f"({counts['finished']} finished, {counts['pruned']} pruned), {counts['failed']} failed, "
        f"{counts['running']} running",
        f"best by the search: {best}",
        *([f"not confirmed with fresh seeds: {status['unconfirmed']}"] if status["unconfirmed"] else []),
    ]
    lines += [f"failed: {row['reason']}" for row in status["trials"] if row["state"] == "failed"][:10]
    return "\n".join(lines)
