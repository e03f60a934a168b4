"""Draw docs/features.svg, what each layer of a small trained network makes of a digit: python docs/features.py."""

import tempfile
from pathlib import Path

import lenumba
from lenumba.engine.report.findings import look_into
from lenumba.engine.report.plots import features

with tempfile.TemporaryDirectory() as folder:
    run = lenumba.train("quickstart", out=Path(folder) / "run")
    found = look_into(str(run.path))
    figure = features(found, found.dataset.test_images[found.samples(1)[3]])
    figure.savefig(Path(__file__).with_name("features.svg"), metadata={"Date": None})
