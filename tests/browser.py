"""Running a page in a real browser without network: a script at its end tells what it found by `document.title`."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FAULTS = """<script>
const faults = [];
addEventListener("error", (event) => faults.push(String(event.message)));
addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
console.error = (...words) => faults.push(words.join(" "));
const answer = (value) => {
  const found = JSON.stringify({ value, faults });
  if (parent === window) document.title = found; else parent.postMessage(found, "*");
};
</script>"""
FRAME = """<!DOCTYPE html><meta charset="utf-8"><title></title>
<script>addEventListener("message", (event) => { document.title = event.data; });</script>
<iframe src="page.html" style="border: 0; width: WIDTHpx; height: 740px"></iframe>"""


def in_browser(page: Path, script: str, folder: Path, width: int | None = None) -> Any:
    """Return what JavaScript hands to `answer` after a page's own, in a window, or frame, of `width` pixels.

    Whatever the page complains of fails the test.
    """
    if not (browser := next(filter(None, map(shutil.which, BROWSERS)), None)):
        pytest.skip(f"no browser: expected one of {', '.join(BROWSERS)} in PATH")
    text = page.read_text("utf-8").replace("<head>", f"<head>{FAULTS}", 1)
    (folder / "page.html").write_text(text.replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    start = folder / "page.html"
    if width is not None:
        start = folder / "frame.html"
        start.write_text(FRAME.replace("WIDTH", str(width)), "utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"]
    options += ["--proxy-server=127.0.0.1:9", "--virtual-time-budget=60000", "--dump-dom"]
    shown = subprocess.run([browser, *options, start.as_uri()], capture_output=True, text=True, timeout=300).stdout
    found = json.loads(html.unescape(re.search("<title>(.*?)</title>", shown, re.S)[1]))
    assert found["faults"] == []
    return found["value"]
