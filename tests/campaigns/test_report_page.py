"""The report page in a real browser, as people use it: python -m pytest -s tests/campaigns/test_report_page.py

Wants pip install playwright, and Chromium (of the system, or by 'playwright install chromium'). Trains lenet on MNIST
(LENUMBA_TEST_MNIST) once. With --basetemp=FOLDER the screenshots stay in FOLDER.
"""

import itertools
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenumba.engine.config.config import load_config
from lenumba.engine.report.findings import Findings, look_into
from lenumba.engine.report.report import write_report
from lenumba.engine.runs.run import start_run

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")

SEVEN = [(0.28, 0.2), (0.72, 0.2), (0.6, 0.5), (0.48, 0.85)]
SCREENS = {
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
        "device_scale_factor": 2,
    },
    "laptop": {"viewport": {"width": 1366, "height": 768}},
    "dark": {"viewport": {"width": 1366, "height": 768}, "color_scheme": "dark"},
}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        try:
            chromium = driver.chromium.launch(executable_path=path)
        except playwright.Error:
            pytest.skip("no browser: apt-get install chromium, or playwright install chromium")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def found(browser, mnist_root, tmp_path_factory) -> Findings:
    loaded = load_config("lenet", {"data.root": str(mnist_root), "plots": True})
    return look_into(str(start_run(loaded, out=tmp_path_factory.mktemp("runs") / "lenet").path))


@pytest.fixture(scope="module")
def colour(browser, tmp_path_factory) -> Path:
    run = start_run(load_config("colour", {"train.epochs": 2}), out=tmp_path_factory.mktemp("runs") / "colour").path
    write_report(look_into(str(run)), run / "report.html")
    return run / "report.html"


@pytest.fixture(scope="module")
def page_file(found) -> Path:
    path = found.model.folder / "report.html"
    write_report(found, path)
    return path


@pytest.fixture
def open_page(browser):
    """Open a page without network on a screen; whatever goes wrong in it fails the test."""
    contexts, errors = [], []

    def open_it(path: Path, screen: str = "laptop"):
        contexts.append(browser.new_context(**SCREENS[screen], offline=True))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        page.on("request", lambda asked: errors.append(asked.url) if not asked.url.startswith("file:") else None)
        page.goto(path.absolute().as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert errors == []


def expect(page, text: str) -> None:
    """Wait for an answer: the page looks at the pad once a frame."""
    page.wait_for_function("(text) => at('answer').textContent.split(' ')[0] === text", arg=text, timeout=5000)


def draw(page, points) -> None:
    box = page.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def test_a_thousand_test_images_get_the_engines_classes(found, page_file, open_page):
    images, labels = found.dataset.test_images[:1000, :, :, 0], found.dataset.test_labels[:1000]
    text = """(images) => images.map((pixels) => {
      const fresh = new Network(structuredClone(run.network), weights);
      return Array.from(fresh.judge(fresh.forward(pixels).outputs.at(-1), 0).outputs);
    })"""
    outputs = np.array(open_page(page_file).evaluate(text, images.reshape(1000, -1).tolist()))
    difference = np.abs(outputs - found.test.outputs[:1000]).max()
    same, right = outputs.argmax(1) == found.test.predicted[:1000], outputs.argmax(1) == labels
    sys.stderr.write(f"\n{same.sum()} of 1000 classes as the engine, probabilities within {difference:.1e}, ")
    sys.stderr.write(f"{right.sum()} right\n")
    assert same.all()
    assert difference <= 1e-5


@pytest.mark.parametrize("screen", SCREENS)
def test_a_drawn_seven_is_recognised(screen, page_file, open_page, tmp_path):
    page = open_page(page_file, screen)
    expect(page, "0")  # the first test image
    draw(page, SEVEN)
    expect(page, "7")
    page.click("#clear")
    draw(page, [(0.5, 0.15), (0.5, 0.85)])
    expect(page, "1")
    page.click("#clear")
    draw(page, SEVEN)
    expect(page, "7")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    page.select_option("#label", "1")
    page.fill("#rate", "0.02")
    for _ in range(5):
        page.click("#step")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=tmp_path / f"{screen}.png")
    page.screenshot(path=tmp_path / f"{screen}-whole.png", full_page=True)


def test_touch_draws(page_file, open_page):
    page = open_page(page_file, "phone")
    box = page.locator("#pad").bounding_box()
    touch = page.context.new_cdp_session(page)
    steps = np.linspace(0.15, 0.85, 12)
    places = [{"x": box["x"] + 0.5 * box["width"], "y": box["y"] + y * box["height"]} for y in steps]
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": places[:1]})
    for place in places[1:]:
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [place]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page, "1")
    assert page.evaluate("scrollY") == 0  # the finger drew, and did not scroll


def test_keys_draw(page_file, open_page):
    page = open_page(page_file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pad"
    for key in ["Delete", *["ArrowLeft"] * 6, " ", *["ArrowRight"] * 11]:  # the cursor starts above the middle
        page.keyboard.press(key)
    for key in ["ArrowDown", "ArrowDown", "ArrowLeft"] * 6:
        page.keyboard.press(key)
    page.keyboard.press(" ")
    page.keyboard.press("ArrowLeft")  # the pen is up: this draws nothing
    expect(page, "7")
    page.keyboard.press("Delete")
    page.wait_for_function("now.pixels.every((pixel) => pixel === 0)", timeout=5000)


def test_steps_go_back_through_the_layers_and_lower_the_loss(found, page_file, open_page):
    page = open_page(page_file)
    page.click("#mistakes button >> nth=0")
    label = int(page.input_value("#label"))
    assert label == found.dataset.test_labels[found.test.mistakes[0]]
    page.fill("#rate", "0.01")
    page.click("#step")
    loss = float(re.search(r"loss is (\d+\.\d+)", page.inner_text("#story"))[1])
    exact = -np.log(found.test.outputs[found.test.mistakes[0], label])
    assert loss == pytest.approx(exact, rel=1e-3)
    units = found.model.network.units
    for unit in reversed(units):
        page.click("#step")
        assert f"come back to {unit.name}." in page.inner_text("#story")
    assert page.locator(".back:visible").count() == len(units) + 1  # the image has a gradient, too
    page.click("#step")
    before, after = map(float, re.search(r"from ([\d.]+) to ([\d.]+),", page.inner_text("#story")).groups())
    assert before == pytest.approx(loss)
    assert after < before
    page.click("#reset")
    page.click("#step")
    assert float(re.search(r"loss is (\d+\.\d+)", page.inner_text("#story"))[1]) == pytest.approx(loss)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_chosen_value_opens_its_cell_and_leads_back_to_the_image(screen, page_file, open_page, tmp_path):
    page = open_page(page_file, screen)
    picture = page.locator("#layers article", has_text="conv2").first.locator("canvas").first
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.2 * box["height"])
    title = page.inner_text(".cell h4")
    assert re.match(r"conv2/\d,\d,\d = −?\d", title)
    page.locator("article:has(.cell)").screenshot(path=tmp_path / f"cell-{screen}.png")
    page.click(".cell [data-key=ArrowRight]")
    assert page.inner_text(".cell h4") != title
    for name in ("pool1", "conv1_relu", "conv1", "image"):
        page.click(".cell .matrix button >> nth=0")
        assert page.inner_text(".cell h4").startswith(f"{name}/")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    page.keyboard.press("Escape")
    assert not page.is_visible(".cell")


def test_keys_alone_open_follow_and_close_a_cell(page_file, open_page):
    page = open_page(page_file)
    page.focus("#reset")
    for _ in range(3):  # the image, conv1's output, its kernels
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.closest('figure').querySelector('.told').textContent").startswith(
        "conv1.kernel"
    )
    page.keyboard.press("Shift+Tab")
    for key in ("ArrowDown", "PageDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    assert page.inner_text(".cell h4").startswith("conv1/1,1,1 = ")
    while page.evaluate("document.activeElement.closest('.matrix') === null"):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.inner_text(".cell h4").startswith("image/0,2,1 = ")
    page.keyboard.press("Escape")
    assert not page.is_visible(".cell")


def test_colour_images_are_chosen_not_drawn(colour, open_page):
    page = open_page(colour)
    assert page.locator("#pad").count() == 0
    page.click("#samples button >> nth=4")
    assert page.inner_text("#answer")
    page.click("#all")
    assert "Updated" in page.inner_text("#story")


def test_everything_has_a_name(page_file, open_page):
    page = open_page(page_file)
    unnamed = """() => [...document.querySelectorAll("button, select, input, [role=img], [role=region]")].filter(
      (element) => !(element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") ||
        element.textContent.trim() || element.closest("label")))
      .map((element) => element.outerHTML)"""
    assert page.evaluate(unnamed) == []


@pytest.mark.parametrize("screen", ["laptop", "dark"])
def test_text_stands_out(screen, page_file, open_page):
    """The contrast of all text colours with their backgrounds: 4.5 at least (WCAG 2.1, AA)."""
    text = """(names) => names.map((name) => {
      const element = document.body.appendChild(document.createElement("i"));
      element.style.color = `var(--${name})`;
      return getComputedStyle(element).color.match(/\\d+/g).map(Number);
    })"""
    *fronts, paper, card = open_page(page_file, screen).evaluate(
        text, ["ink", "faint", "accent", "one", "two", "paper", "card"]
    )
    for front, back in itertools.product(fronts, (paper, card)):
        light, dark = sorted((luminance(front), luminance(back)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)


def luminance(colour: list[int]) -> float:
    shares = [value / 255 for value in colour]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("screen", ["phone", "laptop"])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_chosen_pictures_get_the_classes_of_predict(found, page_file, open_page, tmp_path, screen, ending):
    page, same, farthest = open_page(page_file, screen), 0, 0.0
    count, rng = 100, np.random.default_rng(0)
    for number in range(count):
        sheet = Image.new("L", (300, 420), 240)
        ink = Image.fromarray(found.dataset.test_images[number, :, :, 0]).resize((150 + number, 170 + number // 2))
        sheet.paste(30, (20 + number // 4, 60), ink)
        path = tmp_path / f"{number}.{ending}"
        noisy = np.asarray(sheet) + rng.normal(0, 4, (420, 300))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
        page.set_input_files("#file", path)
        page.wait_for_function("(name) => at('chosen').textContent === name", arg=path.name, timeout=5000)
        outputs = found.model.predict_proba(found.model.read_picture(path))[0]
        there = np.array(page.evaluate("now.outputs"))
        same += there.argmax() == outputs.argmax()
        farthest = max(farthest, np.abs(there - outputs).max())
    sys.stderr.write(f"\n{same} of {count} {ending} files get the class of predict, within {farthest:.1e}\n")
    assert same == count
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
