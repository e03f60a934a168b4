"""C files of networks, compiled and run on arrays."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lenumba.engine.deploy.graph import Graph
from lenumba.engine.deploy.int8 import Int8Network
from lenumba.engine.deploy.source import Source

STRICT = "-std=c99 -Wall -Wextra -Werror -pedantic -Wconversion -fsanitize=address,undefined -fno-sanitize-recover=all"
MAIN = """
#include "net.h"
#include <stdio.h>
int main(void)
{
    static PIXEL image[NET_INPUTS];
    static float found[NET_OUTPUTS];
    while (fread(image, sizeof image, 1, stdin) == 1) {
        net_predict(image, found);
        fwrite(found, sizeof found, 1, stdout);
    }
    return 0;
}
"""


def write_c(network: Graph | Int8Network, folder: Path) -> Source:
    """Write net.c, net.h and a program that answers images on standard input."""
    source = Source(network, "net", [f"class {k}" for k in range(max(2, network_outputs(network)))])
    (folder / "net.c").write_text(source.body("A network."))
    (folder / "net.h").write_text(source.header())
    (folder / "main.c").write_text(MAIN.replace("PIXEL", source.pixel))
    return source


def network_outputs(network: Graph | Int8Network) -> int:
    return (network.graph if isinstance(network, Int8Network) else network).outputs


def build(folder: Path, options: str = f"{STRICT} -O1", compiler: str = "gcc") -> Path:
    """Compile what write_c has written; a warning is an error."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    command = [compiler, *options.split(), "net.c", "main.c", "-o", f"net-{compiler}", "-lm"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if "cannot find" in made.stderr and "asan" in made.stderr:
        pytest.skip(f"{compiler} has no sanitizers")
    assert made.returncode == 0, made.stderr[:4000]
    return folder / f"net-{compiler}"


def answers(program: Path, network: Graph | Int8Network, images: np.ndarray) -> np.ndarray:
    """Return what a compiled program gives for images [N, H, W, C]: float32 [N, outputs]."""
    signals = (network.graph if isinstance(network, Int8Network) else network).signals
    data = np.ascontiguousarray(images, np.float32 if signals else np.uint8).tobytes()
    made = subprocess.run([program], input=data, capture_output=True, check=False)
    assert made.returncode == 0, made.stderr.decode()[:4000]
    return np.frombuffer(made.stdout, np.float32).reshape(len(images), network_outputs(network))
