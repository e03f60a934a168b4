"""The published MLPerf Tiny networks: imported into the recipes, they answer as published."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from sklearn.metrics import roc_auc_score

from lenumba.engine.config.config import load_config
from lenumba.engine.models.model import load

CIFAR10_TEST = "5fce8f6a84d7de12f276662376ce80f5f19c236502ddae2e16c3f187c0386c13"  # of the decoded pixels
RIGHT = 7548  # of 10 000, by Keras, TensorFlow Lite and PyTorch
PICTURES = ("data.name=folder", "data.image_size=[32, 32, 3]")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def write_pictures(folder, names, images) -> None:
    for part in ("train", "test"):
        for name in names:
            (folder / part / name).mkdir(parents=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(folder / part / name / f"{number}.png")


@pytest.mark.long("compiles for long")
def test_resnet8_answers_as_published_to_all_of_cifar10(lenumba, mlperf_tiny, cifar10):
    file, given = mlperf_tiny / "resnet8.safetensors", [*PICTURES, f"data.root={cifar10}", "data.validation=0"]
    made = lenumba("import", file, "--config", "ic-resnet8", *given, "--out", "resnet8")
    assert made.exit_code == 0, made.output
    assert "matched by order and shape" in made.output
    model = load("resnet8")
    cases = np.load(mlperf_tiny / "resnet8-cases.npz")
    np.testing.assert_allclose(model.predict_proba(cases["x"]), cases["keras_probs"], atol=1e-4)
    published = np.load(mlperf_tiny / "resnet8-cifar10-test.npz")
    images = model.test_data().test_images
    found = model.evaluate()
    assert found.accuracy == pytest.approx(RIGHT / 10_000, abs=5e-4)
    np.testing.assert_array_equal(found.labels.reshape(10, 1000).T.ravel(), published["label"])
    if hashlib.sha256(in_published_order(images)).hexdigest() == CIFAR10_TEST:  # another libjpeg decodes otherwise
        outputs = in_published_order(found.outputs)
        np.testing.assert_allclose(outputs, softmax(published["keras_logits"]), atol=1e-4)


def in_published_order(rows: np.ndarray) -> np.ndarray:
    """Rows of class after class become those of the first file of every class, then the second."""
    return np.ascontiguousarray(rows.reshape(10, 1000, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape))


@pytest.mark.long("compiles for long")
def test_mobilenet_answers_as_published(lenumba, place, mlperf_tiny):
    cases = np.load(mlperf_tiny / "vww-cases.npz")
    write_pictures(place / "pictures", ("non-person", "person"), cases["x"][:3])
    file, data = mlperf_tiny / "vww.safetensors", ("data.root=pictures", "data.validation=0")
    made = lenumba("import", file, "--config", "vww-mobilenet", *data, "--out", "vww")
    assert made.exit_code == 0, made.output
    np.testing.assert_allclose(load("vww").predict_proba(cases["x"]), cases["keras_probs"], atol=1e-4)


@pytest.mark.long("compiles for long")
def test_ds_cnn_answers_as_published(lenumba, place, mlperf_tiny):
    cases = np.load(mlperf_tiny / "kws-cases.npz")
    labels, names = np.arange(12), np.array([f"word {number}" for number in range(12)])
    np.savez(
        "words.npz", x_train=cases["x"][:12], y_train=labels, x_test=cases["x"][:12], y_test=labels, class_names=names
    )
    file, data = mlperf_tiny / "kws.safetensors", ("data.root=words.npz", "data.validation=0")
    made = lenumba("import", file, "--config", "kws-dscnn", *data, "--out", "kws")
    assert made.exit_code == 0, made.output
    np.testing.assert_allclose(load("kws").predict_proba(cases["x"]), cases["keras_probs"], atol=1e-4)


@pytest.mark.long("compiles for long")
def test_the_autoencoder_reconstructs_as_published_and_scores_anomalies_alike(lenumba, mlperf_tiny):
    cases = np.load(mlperf_tiny / "ad-cases.npz")
    samples, strange = cases["x"], cases["source"]  # windows of a recording, then noise
    np.savez("sounds.npz", x_train=samples[strange == 0], x_test=samples, y_test=strange)
    file = mlperf_tiny / "ad.safetensors"
    made = lenumba("import", file, "--config", "ad-autoencoder", "data.root=sounds.npz", "--out", "ad")
    assert made.exit_code == 0, made.output
    model = load("ad")
    found, exact = model.predict_proba(samples), cases["f64_output"]
    # Of outputs from -63 to 0, Keras's own float32 outputs differ from float64 by 5.1e-3 at most, and 2.7e-6 in all.
    assert np.abs(found - exact).max() < 1e-2
    assert np.linalg.norm(found - exact) < 5e-6 * np.linalg.norm(exact)
    np.testing.assert_allclose(found, cases["keras_output"], atol=2e-2)
    errors = ((exact - samples) ** 2).mean(1)
    np.testing.assert_allclose(model.predict(samples), errors, rtol=5e-4)
    judged = model.evaluate()
    assert judged.measured.figures["auc"] == roc_auc_score(strange, errors)
    assert judged.measured.figures["normal_loss"] == pytest.approx(errors[strange == 0].mean(), rel=1e-4)


def test_counters_of_pytorch_s_norms_are_left_out_and_told(lenumba, place, mlperf_tiny):
    write_pictures(place / "pictures", tuple("abcdefghij"), [np.zeros((32, 32, 3), np.uint8)])
    tensors = load_file(mlperf_tiny / "resnet8.safetensors")
    norms = [name.removesuffix("running_var") for name in tensors if name.endswith("running_var")]
    save_file(tensors | {f"{norm}num_batches_tracked": np.array(7) for norm in norms}, "x.safetensors")
    given = [*PICTURES, "data.root=pictures", "data.validation=0"]
    made = lenumba("import", "x.safetensors", "--config", "ic-resnet8", *given)
    assert made.exit_code == 0, made.output
    assert "left out: 7 × num_batches_tracked" in made.output


@pytest.mark.parametrize(
    ("recipe", "parameters", "trainable"),
    [
        ("ic-resnet8", 78_666, 78_186),
        ("vww-mobilenet", 221_794, 216_322),
        ("kws-dscnn", 24_908, 23_756),
        ("ad-autoencoder", 269_992, 267_928),
    ],
)
def test_recipe_has_the_published_parameters_and_needs_no_files_to_be_checked(lenumba, recipe, parameters, trainable):
    summary = lenumba("summary", recipe)
    assert f"{parameters:,}" in summary.output
    assert f"trainable parameters: {trainable:,}" in summary.output
    checked = lenumba("check", recipe)
    assert checked.exit_code == 0
    root = load_config(recipe).config.data.root
    assert (f"{recipe} takes files of yours; {root} is an example" in checked.stderr) == (recipe != "ic-resnet8")
    assert lenumba("check", recipe, "data.root=absent").exit_code == 3
    assert lenumba("train", recipe, *([] if root else ["data.root=absent"])).exit_code == 3
