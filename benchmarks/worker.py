"""The process of one framework: it waits for requests as JSON lines, and so disturbs nobody between its slices.

Each framework has a process of its own, because their thread pools would spin into one another's slices, and because
peak memory belongs to a process. All get the same CPUs (the first `threads` of those allowed), which also limits the
frameworks that have no setting for it.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import calibrate, environment, peak_memory_mb, timed
from frameworks import MODULES, REQUIRES, VARIABLES
from frameworks.job import Job


class Worker:
    """A framework's process, seen from the benchmark.

    Parameters
    ----------
    framework
        A key of `frameworks.MODULES`.
    folder
        Where :func:`write_job` has put the job.
    threads
        Threads, and CPUs to run on.
    interpreter
        The Python that has the framework installed.
    """

    def __init__(self, framework: str, folder: Path, threads: int, interpreter: str = sys.executable) -> None:
        self.framework = framework
        variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), str(threads))
        command = [interpreter, str(Path(__file__).resolve()), framework, str(folder), str(threads)]
        # Warnings of the frameworks go to a file: they are shown where a process dies, and only there.
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the process)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | variables | VARIABLES.get(framework, {}),
        )
        self.versions: dict[str, str] = self._read()["versions"]

    def ask(self, do: str, **request: Any) -> Any:
        """Send a request and return the answer."""
        self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def _read(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{self.framework}: its process ended:\n{self.log.read()[-2000:]}")
        return json.loads(line)


def installed(framework: str, interpreter: str = sys.executable) -> bool:
    """Return whether an interpreter finds a framework, without importing it."""
    check = f"import importlib.util as u, sys; sys.exit(u.find_spec({REQUIRES[framework]!r}) is None)"
    return subprocess.run([interpreter, "-c", check], check=False).returncode == 0


def write_job(folder: Path, job: Job) -> None:
    """Write a job where the processes find it."""
    arrays = {f"weights/{name}": value for name, value in job.weights.items()}
    arrays |= {name: getattr(job, name) for name in ("mean", "deviation")}
    np.savez(folder / "job.npz", **arrays)
    np.save(folder / "images.npy", job.images)
    np.save(folder / "labels.npy", job.labels)
    plain = {name: getattr(job, name) for name in ("layers", "shape", "optimizer", "rate", "threads", "target")}
    (folder / "job.json").write_text(json.dumps(plain), encoding="utf-8")


def read_job(folder: Path) -> Job:
    """Read what :func:`write_job` wrote."""
    plain = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "job.npz") as arrays:
        weights = {name.removeprefix("weights/"): arrays[name] for name in arrays if name.startswith("weights/")}
        mean, deviation = arrays["mean"], arrays["deviation"]
    plain["shape"] = tuple(plain["shape"])
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    return Job(weights=weights, images=images, labels=labels, mean=mean, deviation=deviation, **plain)


def perturbed(weights: np.ndarray, seed: int) -> np.ndarray:
    """Return float32 weights, each moved by one unit in the last place, up or down at random."""
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), weights.shape)
    return np.nextafter(weights, np.copysign(np.float32(np.inf), signs)) * (weights != 0)


def answer(peer: Any, request: dict[str, Any]) -> Any:
    """Carry out one request.

    Every slice starts from the initial weights: thousands of steps on few images would end in saturated or dead
    units, and with them in other arithmetic (denormals, skipped work) than a real run's.
    """
    match request["do"]:
        case "calibrate":
            peer.reset()
            action = getattr(peer, request["mode"])
            return calibrate(lambda steps: timed(lambda: action(steps, request["batch"])), request["seconds"])
        case "slice":
            peer.reset()
            return timed(lambda: getattr(peer, request["mode"])(request["steps"], request["batch"]))
        case "losses":
            weights = peer.job.weights
            if seed := request.get("perturb"):
                peer.job.weights = {name: perturbed(value, seed) for name, value in weights.items()}
            peer.reset()
            peer.job.weights = weights
            return peer.losses(request["steps"], request["batch"])
        case "memory":
            return peak_memory_mb()
    raise ValueError(request["do"])


def main() -> None:
    framework, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    # The frameworks may write to standard output: give them standard error for it, and keep the pipe.
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    peer = importlib.import_module(f"frameworks.{MODULES[framework]}").Peer(read_job(folder))
    found = environment()["versions"]
    versions = {name: found[name] for name in (REQUIRES[framework], "tensorflow") if name in found}
    if framework != "Keras":
        versions.pop("tensorflow", None)
    print(json.dumps({"versions": versions}), file=pipe, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(peer, json.loads(line))), file=pipe, flush=True)


if __name__ == "__main__":
    main()
