"""What bad input gets: one line on stderr, the promised exit code, no traceback and no run folder."""

import http.server
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lenumba.engine.config.recipes import recipe_text
from lenumba.engine.data.idx import idx_sha256
from lenumba.engine.data.published import SOURCES, IdxFile, Source

LAYERS = "network.layers"
CONV = "{type: conv, channels: 2, kernel_size: 29}"
DENSE = "{type: dense, units: 10, activation: softmax}"
LENET = recipe_text("lenet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["nonsense", "lenumba --help"]),
        (["train", "--nonsense"], ["--nonsense", "train --help"]),
        (["train", "--threads", "0"], ["--threads", "0"]),
        (["train", "quickstart", "lenet"], ["'lenet'", "train.epochs=20"]),
        (["train", ""], ["no recipe ''"]),
        (["train", "lennet"], ["'lennet'", "did you mean 'lenet'"]),
        (["train", "absent.yaml"], ["no file 'absent.yaml'"]),
        (["train", "tiny.yaml", "train.epohcs=3"], ["train.epohcs", "epochs"]),
        (["train", "tiny.yaml", "train.epochs=many"], ["train.epochs", "many"]),
        (["train", "tiny.yaml", "train.epochs=true"], ["train.epochs", "true"]),
        (["train", "tiny.yaml", "=3"], ["=3", "dotted.key=value"]),
        (["train", "tiny.yaml", f"{LAYERS}.9.units=3"], [f"{LAYERS}.9.units", "index below 3"]),
        (["train", "tiny.yaml", f"{LAYERS}=[{CONV}, flatten, {DENSE}]"], [f"{LAYERS}.0", "29×29", "28×28"]),
        (["train", "tiny.yaml", f"{LAYERS}.0.size=29"], [f"{LAYERS}.0", "29×29", "28×28", "larger"]),
        (["train", "tiny.yaml", f"{LAYERS}=[{DENSE}]"], [f"{LAYERS}.0", "flatten"]),
        (["train", "tiny.yaml", f"{LAYERS}.2.units=9"], [f"{LAYERS}.2", "10 outputs", "9"]),
        (["train", "tiny.yaml", "network.input=[32, 32, 1]"], ["network.input", "28×28×1", "32×32×1"]),
        (["check", "lenet", "network.input=[32, 32, 1]"], ["network.input", "28×28×1", "32×32×1"]),
        (["check", "lenet", f"{LAYERS}.6.units=9"], ["lenet.yaml:", f"{LAYERS}.6", "10 outputs", "mnist"]),
        (["summary", "lenet", f"{LAYERS}.1.size=25"], [f"{LAYERS}.1", "25×25", "24×24", "larger"]),
        (["configs", "show", "quikstart"], ["did you mean 'quickstart'"]),
        (["train", "--resume", "absent"], ["absent", "lenumba runs"]),
        (["train", "--resume", "latest"], ["no runs in", "lenumba train"]),
        (["train", "--resume", "latest", "lenet"], ["'lenet'"]),
        (["train", "--resume", "latest", "--out", "x"], ["--out", "--resume"]),
        (["evaluate"], ["RUN"]),
        (["evaluate", "absent"], ["absent", "no run folder"]),
        (["evaluate", "latest", "--checkpoint", "first"], ["first", "best"]),
        (["predict", "latest"], ["IMAGES"]),
        (["predict", "absent", "x.png"], ["absent"]),
        (["data", "fetch", "digits"], ["'digits'", "mnist, fashion_mnist"]),
    ],
)
def test_usage_and_configuration_faults_exit_with_2(refused, arguments, words):
    line = refused(2, *arguments)
    assert [word for word in words if word not in line] == []


def test_lines_of_a_file_are_named(refused):
    Path("wrong.yaml").write_text(LENET.replace("momentum", "x").replace("batch_size: 64", "batch_size: none"))
    assert refused(2, "train", "wrong.yaml").startswith("error: wrong.yaml:6: data.batch_size: ")


def test_every_fault_of_a_file_has_a_line(lenumba):
    result = lenumba("check", "lenet", "train.epochs=0", "data.batch=1", "optimizer.name=adamax")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: override ") for line in lines)


def test_misfits_between_sections_are_told_beside_other_faults(lenumba):
    text = Path("tiny.yaml").read_text().replace("epochs: 3", "epochs: 0")
    loss = "loss: {name: mean_squared_error}\nschedule: {warmup_epochs: 99}\n"
    for wrong, found in (
        (text, {"train.epochs", "loss.name"}),
        (text.replace("units: 10", "units: 0"), {"train.epochs"}),
    ):
        Path("wrong.yaml").write_text(wrong + loss)
        result = lenumba("summary", "wrong.yaml")
        assert result.exit_code == 2
        # What depends on a section that is wrong itself cannot be judged: the warm-up, or the loss of a wrong network.
        assert {line.split(": ")[-2] for line in result.stderr.splitlines()} >= found
        assert ("loss.name" in result.stderr) == ("loss.name" in found)
        assert "warmup_epochs" not in result.stderr


def test_folder_that_is_not_empty_is_never_trained_into(refused, run):
    contents = {path: path.read_bytes() for path in run.iterdir()}
    assert "not empty" in refused(2, "train", "tiny.yaml", "--out", run)
    assert {path: path.read_bytes() for path in run.iterdir()} == contents


def test_runs_itself_is_no_run_folder_when_it_has_runs(refused, run):
    assert "not empty" in refused(2, "train", "tiny.yaml", "--out", "runs")


def test_empty_folder_is_taken(lenumba):
    Path("empty").mkdir()
    assert lenumba("train", "tiny.yaml", "train.epochs=1", "--out", "empty").exit_code == 0
    assert Path("empty/best.safetensors").is_file()


def test_missing_data_folder_exits_with_3(refused):
    assert "absent" in refused(3, "train", "lenet", "data.root=absent")


@pytest.mark.parametrize("shape", [(12, 32, 32), (12, 27, 28)])
def test_images_of_another_size_exit_with_3(refused, write_dataset, place, shape):
    write_dataset(place / "data", train_images=np.zeros(shape, np.uint8))
    line = refused(3, "train", "lenet", "data.root=data")
    assert "28×28×1" in line
    assert f"{shape[1]}×{shape[2]}×1" in line


def test_damaged_data_exit_with_3(refused, write_dataset, place):
    write_dataset(place / "data")
    path = place / "data" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    assert path.name in refused(3, "train", "lenet", "data.root=data")


def test_fewer_images_than_a_batch_exit_with_2(refused, write_dataset, place):
    write_dataset(place / "data")
    line = refused(2, "train", "lenet", "data.root=data", "data.validation=2")
    assert "batch of 64" in line
    assert "found 10" in line


def test_wrong_configuration_is_refused_before_data_are_looked_for(refused):
    assert "absent" not in refused(2, "train", "lenet", "data.root=absent", f"{LAYERS}.6.units=9")


@pytest.mark.parametrize("out", ["tiny.yaml", "tiny.yaml/run"])
def test_out_that_cannot_be_a_folder_exits_with_3(refused, out):
    assert "tiny.yaml" in refused(3, "train", "tiny.yaml", "--out", out)


def test_name_too_long_for_a_folder_exits_with_3(refused):
    refused(3, "train", "tiny.yaml", "--out", "x" * 300)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written_exits_with_3(refused, run):
    Path("closed").mkdir(mode=0o500)
    assert "cannot write there" in refused(3, "train", "tiny.yaml", "--out", "closed/run")
    run.chmod(0o500)
    assert "cannot write there" in refused(3, "train", "--resume", run)
    run.chmod(0o700)


def test_folder_without_write_access_is_refused_before_training(refused, monkeypatch):
    monkeypatch.setattr("lenumba.engine.runs.folders.os.access", lambda *_: False)
    assert "cannot write there" in refused(3, "train", "tiny.yaml")


@pytest.mark.parametrize("content", [None, b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_pictures_that_are_none_exit_with_3(refused, run, content):
    if content is not None:
        Path("x.png").write_bytes(content)
    assert refused(3, "predict", run, "x.png").startswith("error: x.png: ")


def test_data_are_downloaded_from_the_mirror_that_is_named(lenumba, place, write_dataset, monkeypatch):
    published = place / "published"
    arrays = write_dataset(published)
    files = [IdxFile(stem, array.shape, idx_sha256(array)) for stem, array in arrays.items()]
    monkeypatch.setitem(SOURCES, "fashion_mnist", Source(("http://127.0.0.1:1/",), tuple(files)))
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=published))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("LENUMBA_MIRROR", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("NO_PROXY", "*")
    try:
        result = lenumba("data", "fetch", "fashion_mnist", "--root", "data/here")
    finally:
        server.shutdown()
        server.server_close()
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "fashion_mnist: data/here\n"
    for path in published.iterdir():
        assert (place / "data" / "here" / path.name).read_bytes() == path.read_bytes()


def shell(line: str) -> subprocess.CompletedProcess:
    """Run a line of bash with 'lenumba' as a command; its exit code is the first failing one of a pipe."""
    text = f'lenumba() {{ "{sys.executable}" -m lenumba "$@"; }}; set -o pipefail; {line}'
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, errors="replace")


def test_reader_that_goes_away_does_not_end_the_training(place):
    result = shell("lenumba train tiny.yaml train.epochs=40 | head -1")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert len(Path("runs/tiny-001/metrics.jsonl").read_text().splitlines()) == 40


@pytest.mark.parametrize("command", ["schema", "summary --json", "configs show lenet"])
def test_reader_that_goes_away_is_no_fault(place, command):
    result = shell(f"lenumba {command} | true")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_training_with_closed_streams(place, closed):
    result = shell(f"lenumba train tiny.yaml train.epochs=1 {closed}")
    assert (result.returncode, result.stderr) == (0, "")
    assert Path("runs/tiny-001/best.safetensors").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["schema", "runs", "train tiny.yaml"])
def test_output_that_cannot_be_written_is_named_and_exits_with_3(place, command, unbuffered):
    result = shell(f"export PYTHONUNBUFFERED={unbuffered}; lenumba {command} > /dev/full")
    assert (result.returncode, result.stderr) == (3, "error: standard output: No space left on device\n")


def test_terminal_without_unicode_gets_question_marks(place):
    result = shell("PYTHONIOENCODING=koi8-r lenumba summary")
    assert (result.returncode, result.stderr) == (0, "")
    assert "12?12?4" in result.stdout


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("ImportError('x.so: failed to map segment\\nfrom shared object')", "(x.so: failed to map segment from shared"),
        ("SystemError('error return without exception set')", "(error return without exception set)"),
        ("MemoryError()", "not enough"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_one_line(place, spawn, raised, told):
    """As where there is too little memory for it."""
    (place / "broken").mkdir()
    (place / "broken" / "pydantic_core.py").write_text(f"raise {raised}\n")
    process = spawn("check", "tiny.yaml", patch="import sys\nsys.path.insert(0, 'broken')")
    output, errors = process.communicate()
    assert (process.returncode, output, errors.count("\n")) == (3, "", 1), errors
    assert errors.startswith("error: ")
    assert told in errors


POOL = "    - {type: average_pool, size: [3, 6]}\n"
CONV_FROZEN = "    - {type: conv, channels: 2, kernel_size: 6, trainable: false}\n"


@pytest.mark.parametrize(("layer", "more"), [(POOL, ""), (CONV_FROZEN, ", or leave 'trainable: false' out")])
def test_a_network_without_parameters_to_train_is_looked_at_but_not_trained(lenumba, refused, layer, more):
    Path("still.yaml").write_text(
        f"data: {{name: bars, batch_size: 32}}\nnetwork:\n  layers:\n{layer}    - flatten\n"
        "    - {type: activation, function: softmax}\n"
    )
    told = "still.yaml:3: network.layers: expected parameters to train, found none; add a conv or dense layer"
    for command in ("check", "train", "compare tiny.yaml"):
        assert refused(2, *command.split(), "still.yaml") == f"error: {told}{more}\n"
    assert lenumba("explain", "still.yaml").exit_code == 0
    assert lenumba("summary", "still.yaml").exit_code == 0
    if not more:
        np.savez("none.npz", mean=np.zeros(1), std=np.ones(1))
        assert lenumba("import", "none.npz", "--config", "still.yaml", "--out", "runs/still").exit_code == 0
        assert lenumba("evaluate", "still").exit_code == 0
        assert "expected parameters to train" in lenumba("train", "--resume", "still").stderr


@pytest.mark.parametrize(
    "command",
    ["summary tiny.yaml --svg no/net.svg", "report {} --out no/a.html", "export {} --out no/a.onnx",
     "evaluate {} --html no/a.html", "predict {} digit.png --csv no/a.csv", "profile tiny.yaml --trace no/a.json"],
)  # fmt: skip
def test_a_file_in_a_folder_that_there_is_none_of_is_refused_with_what_to_do(refused, run, command):
    line = refused(3, *command.format(run).split())
    assert "no/" in line
    assert any(advice in line for advice in ("make the folder no", "make it, or choose another place"))


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="nothing that refuses folders")
@pytest.mark.parametrize(
    "command", ["train tiny.yaml --out /proc/x", "plot {} --out /proc/x", "plot {} --out {}/run.json/x"]
)
def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(refused, run, command):
    assert "choose another" in refused(3, *command.format(run, run).split())
