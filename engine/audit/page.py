"""An audit as one self-contained HTML page: pictures to decide about; its scripts lie in the report's ``web``."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lenumba.engine.audit.audit import Audit
from lenumba.engine.audit.judgement import Overlap
from lenumba.engine.audit.targets import TargetAudit
from lenumba.engine.data.decisions import FORMAT, image_key, read_decisions
from lenumba.engine.report.evaluation_page import packed
from lenumba.engine.report.page import escape, fill, html_table, run_page, web_file
from lenumba.engine.report.target_view import group_values

SCRIPTS = ("network.js", "drawing.js", "decisions.js", "audit.js")
MOST_BYTES = 24 << 20  # of pixels: a page of 32 MB
LEAST, MOST = 100, 5_000  # images of the ranking
GROUPS = 200
LISTED = 20  # pairs of classes


def audit_page(audit: Audit | TargetAudit) -> str:
    """Return the page's HTML."""
    if isinstance(audit, TargetAudit):
        return target_audit_page(audit)
    loaded, seeds = audit.loaded, len(audit.probabilities)
    body = fill(
        "audit.html",
        judges=f"{seeds} networks" if seeds > 1 else "a network",
        recipe=escape(loaded.name),
        overlaps=overlap_table(audit.overlaps[:LISTED], audit.pool.dataset.class_names),
    )
    return run_page(
        f"Labels of {audit.pool.dataset.name}, audited with {loaded.name}",
        figures(audit),
        body,
        loaded.config,
        page_values(audit),
        [web_file(name) for name in SCRIPTS],
        web_file("audit.css"),
    )


def target_audit_page(audit: TargetAudit) -> str:
    """Return the page's HTML where the target is several labels or numbers: the doubted samples, and the charts."""
    loaded, judged, pool, summary = audit.loaded, audit.judged, audit.pool, audit.summary
    height, width, channels = pool.dataset.image_shape
    room = max(1, min(MOST, MOST_BYTES // (height * width * channels)))
    shown = audit.suspicious[:room]
    shown = shown if len(shown) else judged.worst[: min(LEAST, room)]
    images, suspicious = summary["images"], summary["suspicious"]
    told = {
        "samples": f"{images['train']:,} training, {images['test']:,} test",
        f"suspicious {judged.target}": f"{suspicious['train']:,} training, {suspicious['test']:,} test samples",
        **{name: value for name, value in judged.told.items() if name != "loss"},
        "trainings": f"{summary['folds']} folds × {summary['seeds']} seeds",
    }
    values = {
        "type": pool.images.dtype.name,
        "shape": [channels, height, width],
        "groups": group_values(judged),
        "mistakes": {
            "pixels": packed(pool.images[shown]),
            "names": [audit.called(sample) for sample in shown],
            "lines": [audit.doubts(sample) or judged.lines(sample) for sample in shown],
        },
    }
    worst = (
        f"Suspicious: {audit.rule}. " if audit.doubted.any() else "None is suspicious; those farthest from the truth. "
    )
    worst += "The answers are means of networks that had not seen the sample. audit.csv has all samples."
    header, rows = judged.rows
    body = fill(
        "targets.html", title="Answers to unseen samples", hint="", table=html_table(header, rows), worst=escape(worst)
    )
    title = f"{judged.target.capitalize()} of {pool.dataset.name}, audited with {loaded.name}"
    scripts = [web_file(name) for name in (*SCRIPTS[:2], "charts.js", "targets.js")]
    return run_page(title, told, body, loaded.config, values, scripts)


def figures(audit: Audit) -> dict[str, str]:
    """Return the audit's figures as text, by name."""
    summary = audit.summary
    images, suspicious = summary["images"], summary["suspicious"]
    values = {
        "images": f"{images['train']:,} training, {images['test']:,} test",
        "suspicious labels": f"{suspicious['train']:,} training, {suspicious['test']:,} test",
        "labels that the networks agree with": f"{100 * summary['accuracy']:.2f} %",
        "trainings": f"{summary['folds']} folds × {summary['seeds']} seeds",
    }
    if audit.kept.any():
        values["confirmed before"] = f"{summary['kept']:,}"
    return values


def overlap_table(pairs: Sequence[Overlap], names: Sequence[str]) -> str:
    """Return the classes that overlap as an HTML table."""
    if not pairs:
        return "<p>None: no image was taken for one of another class.</p>"
    rows = [
        [
            f"{names[pair.first]} and {names[pair.second]}",
            f"{100 * pair.probability:.2f}{'' if np.isnan(pair.error) else f' ± {100 * pair.error:.2f}'} %",
            f"{pair.first_as_second:,}",
            f"{pair.second_as_first:,}",
        ]
        for pair in pairs
    ]
    return html_table(["classes", "overlap", "first taken for second", "second for first"], rows)


def page_values(audit: Audit) -> dict[str, Any]:
    """Return what the page's scripts need, as JSON-able values."""
    pool, path = audit.pool, audit.loaded.config.data.decisions
    height, width, channels = pool.dataset.image_shape
    room = max(1, MOST_BYTES // (height * width * channels))
    groups = [*audit.copies, *map(list, audit.near)][:GROUPS]
    suspicious = audit.suspicious.tolist()
    ranking = suspicious[: min(MOST, room)]
    if len(ranking) < LEAST:
        ranking = audit.found.order[: min(LEAST, room)].tolist()
        ranking += [number for number in suspicious if number not in ranking]
    numbers = list(dict.fromkeys([*ranking, *(number for group in groups for number in group)]))[:room]
    place = {number: k for k, number in enumerate(numbers)}
    earlier = [] if path is None else earlier_rows(path)
    was = {(row["image"], row["to"]): row["label"] for row in earlier if row["action"] == "relabel"}
    planes = np.ascontiguousarray(pool.images[numbers].transpose(0, 3, 1, 2))
    about = json.dumps([audit.summary["config"], audit.summary["data_sha256"]], sort_keys=True)
    return {
        "id": hashlib.sha256(about.encode()).hexdigest()[:16],
        "format": FORMAT,
        "names": list(pool.dataset.class_names),
        "shape": [channels, height, width],
        "pixels": base64.b64encode(planes.tobytes()).decode(),
        "items": [page_item(audit, number, was) for number in numbers],
        "ranking": [place[number] for number in ranking if number in place],
        "groups": [[place[number] for number in group] for group in groups if set(group) <= set(place)],
        "earlier": earlier,
    }


def page_item(audit: Audit, number: int, was: dict[tuple[str, str], str]) -> dict[str, Any]:
    """Return what the page says of an image; `was`: labels in the files of those that have been relabelled."""
    pool, found, names = audit.pool, audit.found, audit.pool.dataset.class_names
    key, label, file = image_key(pool.images[number]), names[pool.labels[number]], pool.file_of(number)
    return {
        "image": key,
        "label": label,
        "was": was.get((key, label), label),
        "split": pool.split_of(number),
        "index": int(pool.index[number]),
        **({"file": file} if file else {}),
        "guess": names[found.guess[number]],
        "given": with_error(found.given[number], found.given_error[number]),
        "guessed": with_error(found.guessed[number], found.guessed_error[number]),
        "votes": int(found.votes[number]),
        "seeds": len(audit.probabilities),
        "suspicious": bool(found.suspicious[number] and not audit.kept[number]),
    }


def with_error(value: float, error: float) -> list[float | None]:
    """Return a figure and its error, None where there is none."""
    return [round(float(value), 5), None if np.isnan(error) else round(float(error), 5)]


def earlier_rows(path: str) -> list[dict[str, str]]:
    """Return the rows of the decisions that the audit's images have undergone already."""
    return [
        {"image": image, "label": label, "action": decision.action, "to": decision.to}
        for (image, label), decision in read_decisions(path).items()
    ]
