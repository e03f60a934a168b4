"""Rewrite the figures of a page from the JSON files of the other benchmarks, so that nobody types one by hand."""

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from common import BUSY_LIMIT, ROOT

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
TITLES = {
    "peers": "Compared with other frameworks",
    "time_to_accuracy": "Time to accuracy",
    "scaling": "Scaling",
    "start": "Start",
    "kernels": "Kernels",
    "forms": "Fast convolution",
}


def describe(environment: dict[str, Any]) -> str:
    """Write the machine and the versions in one sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    return (
        f"{environment['cpu']}, {environment['cores']} cores, {environment['system']}, Python {environment['python']}, "
        f"{versions}; {environment['date']}."
    )


def merge_environments(reports: list[dict[str, Any]]) -> list[str]:
    """Return one sentence for each machine; the versions of its reports are put together."""
    machines: dict[tuple, dict[str, Any]] = {}
    for report in reports:
        here = report["environment"]
        found = machines.setdefault((here["cpu"], here["cores"], here["python"]), here | {"versions": {}})
        for name, version in here["versions"].items():
            if found["versions"].setdefault(name, version) != version:
                raise SystemExit(f"{name}: {found['versions'][name]} and {version} in reports of the same machine")
    return [describe(environment) for environment in machines.values()]


def figures(reports: list[dict[str, Any]]) -> str:
    """Return the Markdown between the markers."""
    parts = [" ".join(merge_environments(reports)) + " Made by `benchmarks/report.py`; every figure was measured."]
    for benchmark, title in TITLES.items():
        chosen = [report for report in reports if report["benchmark"] == benchmark]
        if chosen:
            parts.append(f"#### {title}")
            parts += [importlib.import_module(benchmark).tables(report) for report in chosen]
    return "\n\n".join(parts)


def insert(text: str, content: str) -> str:
    """Return `text` with what stands between the markers replaced."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"expected one line {BEGIN} and one line {END} below it; add them where the figures belong")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, help="JSON files of the other benchmarks")
    page = ROOT / "docs" / "speed.md"
    parser.add_argument("--readme", type=Path, default=page, help="file with the markers  [docs/speed.md]")
    parser.add_argument("--print", action="store_true", dest="show", help="print instead of changing the file")
    args = parser.parse_args()
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in args.reports]
    for path, report in zip(args.reports, reports, strict=True):
        if (busy := report["arguments"].get("busy", 0)) > BUSY_LIMIT:
            print(f"warning: {path}: {busy} CPUs were busy with other work when it was measured")
    content = figures(reports)
    if args.show:
        print(content)
    else:
        args.readme.write_text(insert(args.readme.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
