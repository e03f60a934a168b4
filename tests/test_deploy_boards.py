"""C files on emulated microcontrollers: the same bits as in NumPy."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from deployed import write_c
from harness import lenet, random_parameters
from test_deploy import drawn

from lenumba.engine.data.normalization import Normalization
from lenumba.engine.deploy import int8
from lenumba.engine.deploy.kinds import TEXTS, fill
from lenumba.engine.deploy.lowering import lower
from lenumba.engine.deploy.quantize import quantize

BOARDS = {"m4": "mps2-an386", "m0": "microbit"}
MAIN = """
#include "net.h"
#include <stdio.h>
int main(void)
{
    static uint8_t image[NET_INPUTS];
    static float found[NET_OUTPUTS];
    FILE *images = fopen("images.bin", "rb"), *answers = fopen("answers.bin", "wb");
    if (!images || !answers)
        return 3;
    while (fread(image, sizeof image, 1, images) == 1) {
        net_predict(image, found);
        fwrite(found, sizeof found, 1, answers);
    }
    return fclose(answers) != 0;
}
"""


def emulate(folder: Path, board: str, network, images: np.ndarray, options: str = "-O3") -> np.ndarray:
    """Return what a network in whole numbers gives on an emulated board."""
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    write_c(network, folder)
    (folder / "main.c").write_text(MAIN)
    values = {"flash": 256, "ram": 16}
    for name in ("board.c", "board.ld"):
        (folder / name).write_text(fill((TEXTS / name).read_text(), **values))
    (folder / "images.bin").write_bytes(np.ascontiguousarray(images, np.uint8).tobytes())
    command = f"arm-none-eabi-gcc -std=c99 {options} -mthumb -mcpu=cortex-{board} --specs=rdimon.specs -nostartfiles"
    command += " -ffunction-sections -fdata-sections -Wl,--gc-sections"
    sources = ["-T", "board.ld", "net.c", "main.c", "board.c", "-o", "net.elf", "-lm"]
    made = subprocess.run([*command.split(), *sources], cwd=folder, capture_output=True, text=True, check=False)
    if "rdimon.specs" in made.stderr:
        pytest.skip("no libnewlib-arm-none-eabi")
    assert made.returncode == 0, made.stderr
    machine = ["qemu-system-arm", "-nographic", "-semihosting", "-M", BOARDS[board], "-kernel", "net.elf"]
    ran = subprocess.run(machine, cwd=folder, capture_output=True, text=True, check=False, timeout=3000)
    assert ran.returncode == 0, ran.stderr
    return np.frombuffer((folder / "answers.bin").read_bytes(), np.float32).reshape(len(images), -1)


@pytest.mark.parametrize("board", BOARDS)
def test_emulated_board_gives_the_same_bits(tmp_path, board, request):
    network, rng = lenet(), np.random.default_rng(0)
    graph = lower(network, random_parameters(network), Normalization(np.full(1, 0.13), np.full(1, 0.31)))
    images = rng.integers(0, 256, (1000 if request.config.getoption("--campaign") else 20, 28, 28, 1), np.uint8)
    whole = quantize(graph, images[:20], images[:20]).network
    found = emulate(tmp_path, board, whole, images)
    assert found.tobytes() == int8.probabilities(whole, images).tobytes()


@pytest.mark.parametrize("board", BOARDS)
def test_emulated_board_gives_the_same_bits_for_any_layers(tmp_path, board, request):
    from drawn_networks import draw_graph

    for seed in range(20 if request.config.getoption("--campaign") else 1):
        graph, images, _ = drawn(seed, draw_graph)
        whole = quantize(graph, images, images).network
        found = emulate(tmp_path, board, whole, images, "-Os")
        assert found.tobytes() == int8.probabilities(whole, images).tobytes(), seed
