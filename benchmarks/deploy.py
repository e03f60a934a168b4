"""A trained run on microcontrollers and on this computer: flash, RAM, instructions, images a second.

    python benchmarks/deploy.py RUN [--repeats 7] [--json FILE]

Flash and RAM are arm-none-eabi-size's for a Cortex-M4 and -M0 without floating-point unit, of a program that only
answers, with the image, vectors and the compiler's library. Instructions are counted by QEMU, which executes one in
each nanosecond of its clock (-icount shift=0): SysTick before and behind ten answers. On this computer the float32 C
file and ONNX Runtime answer the same images one by one, on one core, in alternating slices.
"""

import argparse
import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from common import arguments_of, calibrate, finish, markdown_table, ratio_spread, report_of, spread, timed

from lenumba.engine.deploy.calibration import assess_int8
from lenumba.engine.deploy.calibration import calibrate as calibrate_int8
from lenumba.engine.deploy.kinds import TEXTS, fill
from lenumba.engine.deploy.lowering import lower_run
from lenumba.engine.deploy.source import Source
from lenumba.engine.models.export import onnx_bytes
from lenumba.engine.models.model import Model, load

ARM = (
    "arm-none-eabi-gcc -std=c99 -mthumb -ffunction-sections -fdata-sections -nostartfiles -T board.ld -Wl,--gc-sections"
)
TICK = 40  # instructions: the board's 25 MHz in instructions of a nanosecond
COUNT = """
#include "net.h"
#include <stdio.h>
#define REGISTER(place) (*(volatile uint32_t *)(place))
static PIXEL image[NET_INPUTS];
int main(void)
{
    static float answer[NET_OUTPUTS];
    REGISTER(0xE000E014u) = 0xFFFFFFu;
    REGISTER(0xE000E018u) = 0;
    REGISTER(0xE000E010u) = 5;
    for (volatile int k = 0; k < 100; k++)
        ;
    const uint32_t start = REGISTER(0xE000E018u);
    for (int k = 0; k < TIMES; k++)
        net_predict(image, answer);
    printf("%lu\\n", (unsigned long)(start - REGISTER(0xE000E018u)));
    return 0;
}
"""
BARE = """
#include "net.h"
static PIXEL image[NET_INPUTS];
static float answer[NET_OUTPUTS];
void reset(void);
void reset(void)
{
    for (;;)
        net_predict(image, answer);
}
__attribute__((section(".vectors"), used)) static void (*const vectors[2])(void) = {0, reset};
"""


def write(folder: Path, network: object, model: Model) -> Source:
    """Write a network and what the measurements need."""
    source = Source(network, "net", model.class_names)
    (folder / "net.c").write_text(source.body("A network."))
    (folder / "net.h").write_text(source.header())
    for name in ("board.c", "board.ld"):
        (folder / name).write_text(fill((TEXTS / name).read_text(), flash=4096, ram=4096))
    (folder / "count.c").write_text(COUNT.replace("PIXEL", source.pixel))
    (folder / "bare.c").write_text(BARE.replace("PIXEL", source.pixel))
    return source


def run(command: str, folder: Path) -> str:
    """Run a command; return what it prints."""
    return subprocess.run(command.split(), cwd=folder, capture_output=True, text=True, check=True).stdout


def on_board(folder: Path, core: str, level: str) -> tuple[int, int]:
    """Return the bytes of flash and of RAM of a program that only answers, the image included."""
    run(f"{ARM} {level} -mcpu={core} -nostdlib net.c bare.c -lm -lc -lgcc -o bare.elf", folder)
    text, data, bss = run("arm-none-eabi-size bare.elf", folder).splitlines()[1].split()[:3]
    return int(text) + int(data), int(data) + int(bss)


def instructions(folder: Path, level: str, multiply_adds: int) -> float:
    """Return the instructions of an answer on a Cortex-M4."""
    times = max(1, min(10, 40_000_000 // multiply_adds))
    run(
        f"{ARM} {level} -mcpu=cortex-m4 --specs=rdimon.specs -DTIMES={times} net.c count.c board.c -lm -o count.elf",
        folder,
    )
    ticks = run("qemu-system-arm -nographic -semihosting -M mps2-an386 -icount shift=0 -kernel count.elf", folder)
    return int(ticks) * TICK / times


def host(folder: Path, model: Model, images: np.ndarray, repeats: int, seconds: float) -> dict[str, list[float]]:
    """Return images a second, of each slice, of the C file and of ONNX Runtime."""
    import onnxruntime

    run("gcc -std=c99 -O3 -shared -fPIC net.c -o net.so -lm", folder)
    predict = ctypes.CDLL(str(folder / "net.so")).net_predict
    found = np.zeros(model.network.outputs, np.float32)
    places = [image.ctypes.data_as(ctypes.c_void_p) for image in images]
    answer = found.ctypes.data_as(ctypes.c_void_p)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    data = onnx_bytes(model.trained)[0]
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    planes = images.transpose(0, 3, 1, 2).astype(np.float32)
    ones = [planes[k : k + 1] for k in range(len(planes))]

    def c_file(steps: int) -> float:
        return timed(lambda: [predict(places[k % len(places)], answer) for k in range(steps)])

    def runtime(steps: int) -> float:
        return timed(lambda: [session.run(["probabilities"], {"images": ones[k % len(ones)]}) for k in range(steps)])

    sides = {"C, float32": c_file, "ONNX Runtime": runtime}
    counts = {name: calibrate(side, seconds) for name, side in sides.items()}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            rates[name].append(counts[name] / side(counts[name]))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", metavar="RUN", help="a trained run of images")
    parser.add_argument("--repeats", type=int, default=7, help="slices of each side")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a slice")
    args = arguments_of(parser)
    model = load(args.run)
    graph = lower_run(model.trained)
    quantized, notes = calibrate_int8(model, graph)
    assessed = assess_int8(model, quantized, notes)
    accuracies = {"float32": assessed.floats.accuracy, "int8": assessed.whole.accuracy}
    images = np.ascontiguousarray(model.test_data().test_images[:1000])
    results, rows = {}, []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for kind, network in (("float32", graph), ("int8", quantized.network)):
            write(folder, network, model)
            if kind == "float32":
                results["images_per_second"] = host(folder, model, images, args.repeats, args.seconds)
            if shutil.which("arm-none-eabi-gcc") is None:
                continue
            for level in ("-Os", "-O3"):
                small = on_board(folder, "cortex-m4", level), on_board(folder, "cortex-m0", level)
                count = instructions(folder, level, graph.multiply_adds) if shutil.which("qemu-system-arm") else None
                each = count and count / graph.multiply_adds
                figures = {"m4": small[0], "m0": small[1], "instructions": count, "accuracy": accuracies[kind]}
                results[f"{kind} {level}"] = figures
                cells = [f"{flash:,} / {ram:,}" for flash, ram in small]
                rows.append([f"{kind}, {level}", *cells, "–" if each is None else f"{each:.2f}"])
                rows[-1].append(f"{100 * accuracies[kind]:.2f} %")
    head = ["", "Cortex-M4 flash / RAM", "Cortex-M0 flash / RAM", "instructions a multiply-add", "accuracy"]
    rates = results["images_per_second"]
    text = "\n".join(f"{name}: {spread(values, ',.0f')} images/s" for name, values in rates.items())
    ratio = ratio_spread(*rates.values())
    text += f"\nratio {ratio[0]:.2f} ({ratio[1]:.2f}–{ratio[2]:.2f}), median of {len(next(iter(rates.values())))}\n"
    finish(report_of("deploy", args, results), f"{markdown_table(head, rows)}\n\n{text}", args)


if __name__ == "__main__":
    main()
