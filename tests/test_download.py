"""Finding and downloading data sets, against a local HTTP server: nothing here leaves the machine."""

import dataclasses
import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from pathlib import Path

import numpy as np
import pooch
import pytest

from lenumba.engine.common.errors import DataError
from lenumba.engine.data import download, published
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.data.download import fetch
from lenumba.engine.data.idx import idx_sha256, read_idx
from lenumba.engine.data.published import IdxFile, Source

DEAD = "http://127.0.0.1:9/"  # the discard port, where nothing listens


class Mirrors(http.server.BaseHTTPRequestHandler):
    """Serve the files of a folder, each first part of the path being a mirror with a fault of its own."""

    folder: Path
    requests: list[str]

    def do_GET(self):
        _, fault, name = self.path.split("/")
        self.requests.append(f"{fault}/{name}")
        content = (self.folder / name).read_bytes()
        if fault == "missing" or (fault == "half" and "t10k" in name):
            self.send_error(404)
            return
        sent = {
            "other": gzip.compress(gzip.decompress(content)[:-1] + b"\xaa"),
            "shape": gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\x01" * 3 + b"\0"),
            "page": b"<html>gone</html>",
            "cut": content[:-20],
            "flood": bytes(1 << 20),
        }.get(fault, content)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content if fault == "cut" else sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, write_dataset, monkeypatch):
    """A server, and a `mnist` that is small and has no mirrors yet; the cache is in `tmp_path`."""
    arrays = write_dataset(tmp_path / "published")
    handler = type("Handler", (Mirrors,), {"folder": tmp_path / "published", "requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    files = [IdxFile(stem, array.shape, idx_sha256(array)) for stem, array in arrays.items()]
    url = f"http://127.0.0.1:{server.server_port}/"

    def publish(*mirrors):
        places = tuple(m if "://" in m else f"{url}{m}/" for m in mirrors)
        monkeypatch.setitem(download.SOURCES, "mnist", Source(places, tuple(files)))
        return handler.requests

    monkeypatch.setattr(download, "cache_folder", lambda name: tmp_path / "cache" / name)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("LENUMBA_DATA", raising=False)
    monkeypatch.delenv("LENUMBA_MIRROR", raising=False)
    publish.url = url
    yield publish
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FILES = [f"{split}-{kind}-ubyte.gz" for split in ("t10k", "train") for kind in ("images-idx3", "labels-idx1")]


def test_downloads_once(server, tmp_path):
    requests = server("good")
    folder = fetch("mnist")
    assert folder == tmp_path / "cache" / "mnist"
    assert names(folder) == FILES
    assert fetch("mnist") == folder
    assert len(requests) == 4


@pytest.mark.parametrize("fault", [DEAD, "missing", "other", "shape", "page", "cut", "flood", "ftp://x/", "http://"])
def test_next_mirror_after_a_fault(server, fault):
    requests = server(fault, "good")
    folder = fetch("mnist")
    assert names(folder) == FILES
    assert [request for request in requests if request.startswith("good")] == [
        f"good/{file.name}" for file in download.SOURCES["mnist"].files
    ]


def test_dead_then_wrong_then_right(server):
    server(DEAD, "other", "good")
    folder = fetch("mnist")
    for file in download.SOURCES["mnist"].files:
        assert idx_sha256(read_idx(file.find(folder), len(file.shape))) == file.sha256


def test_second_mirror_serves_only_what_the_first_did_not(server):
    requests = server("half", "good")
    fetch("mnist")
    assert [r for r in requests if r.startswith("good")] == [f"good/{name}" for name in FILES[:2]]


def test_all_mirrors_fail(server, tmp_path):
    server(DEAD, "missing", "other", "cut")
    with pytest.raises(DataError) as caught:
        fetch("mnist")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        DEAD,
        "/missing/ (HTTP status 404)",
        "/other/",
        "SHA-256",
        "/cut/",
        "data.root",
        "LENUMBA_DATA",
    ):
        assert part in message
    assert str(tmp_path / "cache" / "mnist") in message
    assert names(tmp_path / "cache" / "mnist") == []


def test_mirror_from_the_environment_comes_first(server, monkeypatch):
    requests = server("missing")
    monkeypatch.setenv("LENUMBA_MIRROR", server.url + "mine")
    fetch("mnist")
    assert {request.split("/")[0] for request in requests} == {"mine"}


def test_files_there_are_kept(server, tmp_path):
    requests = server("good")
    own = tmp_path / "cache" / "mnist" / "train-labels.idx1-ubyte"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    fetch("mnist")
    assert own.read_bytes() == b"mine"
    assert len(requests) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupted_download_leaves_nothing(server, tmp_path, monkeypatch, error):
    server("good")

    def interrupted(self, url, output, _):
        output.write(b"half of")
        assert len(names(tmp_path / "cache" / "mnist")) == 1
        raise error

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(error):
        fetch("mnist")
    assert names(tmp_path / "cache" / "mnist") == []


def test_cache_that_cannot_be_written(server, tmp_path):
    requests = server("good", "good")
    (tmp_path / "cache").write_text("a file where a folder is wanted")
    with pytest.raises(DataError, match="expected a folder to write downloads to"):
        fetch("mnist")
    assert requests == []


def test_progress_bar_on_standard_error(server, capsys):
    server("good")
    fetch("mnist", progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "100%" in captured.err


def test_silent_without_progress(server, capsys):
    server("other", "good")
    fetch("mnist")
    assert capsys.readouterr() == ("", "")


def test_explicit_root_is_never_downloaded_to(server, tmp_path, write_dataset):
    requests = server("good")
    write_dataset(tmp_path / "root" / "mnist")
    assert fetch("mnist", tmp_path / "root") == tmp_path / "root" / "mnist"
    (tmp_path / "root" / "mnist" / FILES[0]).unlink()
    with pytest.raises(DataError, match=r"data.root .*mnist: .*found no t10k-images-idx3-ubyte.gz \(with"):
        fetch("mnist", tmp_path / "root")
    with pytest.raises(DataError, match=r"data.root .*absent: .*train-images-idx3-ubyte.gz, train-labels"):
        fetch("mnist", tmp_path / "absent")
    assert requests == []


@pytest.mark.parametrize("place", [".", "mnist"])
def test_folder_from_the_environment(server, tmp_path, write_dataset, monkeypatch, place):
    requests = server("good")
    monkeypatch.setenv("LENUMBA_DATA", str(tmp_path / "data"))
    write_dataset(tmp_path / "data" / place)
    assert fetch("mnist") == tmp_path / "data" / place
    (tmp_path / "data" / place / FILES[0]).unlink()
    with pytest.raises(DataError, match=r"LENUMBA_DATA .*found no t10k-images-idx3-ubyte.gz"):
        fetch("mnist")
    assert requests == []


def test_folder_from_the_environment_without_any_of_the_files(server, tmp_path, monkeypatch):
    server("good")
    monkeypatch.setenv("LENUMBA_DATA", str(tmp_path))
    assert fetch("mnist") == tmp_path / "cache" / "mnist"


def test_file_of_another_data_set_is_named(server, monkeypatch):
    server("good")
    mnist = download.SOURCES["mnist"]
    others = [IdxFile(file.stem, file.shape, "0" * 64) for file in mnist.files]
    monkeypatch.setitem(download.SOURCES, "fashion_mnist", Source(mnist.mirrors, tuple(others)))
    with pytest.raises(DataError, match=r"expected SHA-256 000.*, which is mnist's"):
        fetch("fashion_mnist")


def test_unknown_data_set():
    with pytest.raises(DataError, match="expected one of mnist, fashion_mnist"):
        fetch("imagenet")


def test_cache_folder_is_that_of_pooch():
    assert download.cache_folder("mnist") == pooch.os_cache("lenumba") / "mnist"


def test_table_is_complete():
    for source in download.SOURCES.values():
        shapes = [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
        assert source.archive or [file.shape for file in source.files] == shapes
        assert all(mirror.startswith("https://") for mirror in source.mirrors)
        assert all(len(file.sha256) == 64 for file in source.files)


def test_real_mnist_has_the_published_hashes(mnist_root):
    for file in download.SOURCES["mnist"].files:
        array = read_idx(file.find(mnist_root), len(file.shape))
        assert (array.shape, idx_sha256(array)) == (file.shape, file.sha256)
        assert array.dtype == np.uint8


@pytest.fixture
def cifar10(server, tmp_path, monkeypatch):
    """A `cifar10` of 20 images in each file, published as one tar file."""
    rng, files, archive = np.random.default_rng(0), [], tmp_path / "published" / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for file in download.SOURCES["cifar10"].files:
            records = rng.integers(0, 256, (20, published.CIFAR_RECORD), np.uint8)
            records[:, 0] %= 10
            info = tarfile.TarInfo(f"{file.folder}/{file.name}")
            info.size = records.nbytes
            tar.addfile(info, io.BytesIO(records.tobytes()))
            digest = hashlib.sha256(records.tobytes()).hexdigest()
            files.append(dataclasses.replace(file, sha256=digest, room=records.nbytes))
    content = archive.read_bytes()
    whole = published.BinaryFile(archive.name, len(content), hashlib.sha256(content).hexdigest())

    def publish(*mirrors):
        places = tuple(f"{server.url}{mirror}/" for mirror in mirrors)
        monkeypatch.setitem(download.SOURCES, "cifar10", Source(places, tuple(files), whole))
        return records

    return publish


def test_cifar10_is_unpacked_once_and_read_from_its_files(cifar10, tmp_path):
    last = cifar10("page", "cut", "good")
    found = load_dataset("cifar10")
    assert found.train_images.shape == (100, 32, 32, 3)
    assert found.test_images.shape == (20, 32, 32, 3)
    assert np.array_equal(found.test_labels, last[:, 0])
    assert np.array_equal(found.test_images[3, 5, 7], last[3, 1:].reshape(3, 32, 32)[:, 5, 7])
    assert found.class_names[3] == "cat"
    assert names(tmp_path / "cache" / "cifar10") == ["cifar-10-batches-bin"]
    assert len(names(tmp_path / "cache" / "cifar10" / "cifar-10-batches-bin")) == 6
    cifar10()  # no mirror is asked again
    assert load_dataset("cifar10").sha256 == found.sha256
    here = tmp_path / "cache" / "cifar10" / "cifar-10-batches-bin"
    assert load_dataset("cifar10", here).sha256 == found.sha256


def test_cifar10_that_no_mirror_has_whole_or_a_short_file_is_one_line(cifar10, tmp_path):
    cifar10("page", "cut", "missing")
    with pytest.raises(DataError, match=r"expected a mirror to serve data_batch_1.bin, .* all failed: .*SHA-256"):
        load_dataset("cifar10")
    cifar10("good")
    load_dataset("cifar10")
    short = tmp_path / "cache" / "cifar10" / "cifar-10-batches-bin" / "test_batch.bin"
    short.write_bytes(short.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_batch.bin: expected 61,460 bytes, found 61,459; download it again"):
        load_dataset("cifar10")
