"""The picture of an architecture: every tensor with its size, nothing over the edge, colours that can be told apart."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lenumba.engine.config.config import load_config
from lenumba.engine.report.architecture import DARK, LIGHT, architecture_svg, stages_of
from lenumba.engine.training.build import check_network

RECIPES = ["lenet", "tiny15", "mlp", "mnist1d", "ic-resnet8", "vww-mobilenet", "ad-autoencoder", "two-pool"]


def texts_of(svg):
    """Return [x, y, anchor, words] of each text, and the picture's size."""
    root = ElementTree.fromstring(svg)
    size = [float(part) for part in root.get("viewBox").split()][2:]
    found = root.iter("{http://www.w3.org/2000/svg}text")
    return [[float(t.get("x")), float(t.get("y")), t.get("text-anchor"), t.text] for t in found], size


@pytest.mark.parametrize("name", RECIPES)
def test_every_tensor_is_drawn_with_its_size_inside_the_picture_and_no_words_overlap(name):
    network = check_network(load_config(name))
    svg = architecture_svg(network, name)
    texts, (width, height) = texts_of(svg)
    words = [text for *_, text in texts]
    for stage in stages_of(network):
        assert stage.name in words
        assert stage.size_text in words
    boxes = []
    for x, y, anchor, text in texts:
        wide = 7.6 * len(text) * (1.2 if text == name else 1)
        left = x - wide / 2 if anchor == "middle" else x
        assert left >= 0, text
        assert left + wide <= width, text
        assert 0 < y < height
        boxes.append((left, y - 13, left + wide, y, text))
    for number, (left, top, right, bottom, text) in enumerate(boxes):
        for other in boxes[:number]:
            apart = other[0] >= right or other[2] <= left or other[1] >= bottom or other[3] <= top
            assert apart, (text, other[4])
    counted = [int(text.split()[0].replace(",", "")) for text in words if text.endswith(" parameters")]
    inside = sum(unit.parameter_count for unit in network.units if ".shortcut." in unit.path)
    assert sum(counted) + inside == network.parameter_count


def test_lenet_is_the_handouts_row_of_stacks(lenumba, place):
    assert lenumba("summary", "lenet", "--svg", "net.svg").stdout == "net.svg\n"
    svg = Path("net.svg").read_text("utf-8")
    sizes = [text for *_, text in texts_of(svg)[0] if re.fullmatch(r"(\d+@)?\d+(×\d+)?", text)]
    assert sizes == ["1@28×28", "4@24×24", "4@12×12", "6@8×8", "6@4×4", "50", "10"]
    assert [svg.count(f'class="{kind}"') for kind in ("image", "conv", "pool", "flat")] == [1, 4 + 6, 4 + 6, 2]
    assert "prefers-color-scheme: dark" in svg
    for theme, colours in (("light", LIGHT), ("dark", DARK)):
        lenumba("summary", "lenet", "--svg", "net.svg", "--theme", theme)
        chosen = Path("net.svg").read_text("utf-8")
        assert colours["paper"] in chosen
        assert "prefers-color-scheme" not in chosen


def test_shortcuts_are_arcs_with_what_stands_on_them():
    svg = architecture_svg(check_network(load_config("ic-resnet8")), "ic-resnet8")
    assert svg.count('class="line arc"') + svg.count(">+ residual2<") == 3
    assert ">shortcut<" in svg
    assert ">conv 1×1 / 2<" in svg


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_words_and_outlines_stand_out(colours):
    def luminance(rule):
        parts = re.search(r"#(..)(..)(..)", rule).groups()
        shares = [int(part, 16) / 255 for part in parts]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return sum(share * weight for share, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))

    paper = luminance(colours["paper"])
    for name in ("ink", "faint"):
        light, dark = sorted((luminance(colours[name]), paper), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5
    for kind in ("conv", "pool", "flat"):  # outlines are seen on the paper
        light, dark = sorted((luminance(colours[kind].split("stroke")[1]), paper), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3
