import json
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import config_schema, dump_config, load_config, read_config
from lenumba.engine.config.recipes import recipe_names, recipe_text
from lenumba.engine.config.yaml_file import MAX_BYTES, dump_yaml, load_value, load_yaml
from lenumba.engine.network.layers import LAYERS, Conv, Flatten, activation_of, pair

MINIMAL = """\
data:
  name: digits
network:
  layers:
    - type: conv
      channels: 2
      kernel_size: 3
    - flatten
    - type: dense
      units: 10
      activation: softmax
"""


def fault(text, *overrides):
    with pytest.raises(ConfigError) as caught:
        read_config(text, "my.yaml", overrides)
    return str(caught.value)


# YAML


def test_yaml_12_scalars():
    text = "a: 1e-3\nb: no\nc: 010\nd: 1:30\ne: ~\nf: 0x1F\ng: '1'\nh: 2020-01-01\ni: true\nj:\nk: .5\nl: 0o17"
    data, _ = load_yaml(text, "x")
    expected = [0.001, "no", 10, "1:30", None, 31, "1", "2020-01-01", True, None, 0.5, 15]
    assert list(data.values()) == expected
    assert [type(value) for value in data.values()] == [type(value) for value in expected]


def test_lines_of_keys_and_items():
    _, lines = load_yaml(MINIMAL, "x")
    assert lines["data"] == 1
    assert lines["network.layers.0"] == 5
    assert lines["network.layers.0.channels"] == 6
    assert lines["network.layers.1"] == 8
    assert load_yaml("a: [1,\n  {b: 2}]", "x")[1] == {"a": 1, "a.0": 1, "a.1": 2, "a.1.b": 2}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: !!int 2", 2, "tags"),
        ("a: !x {}", 1, "tags"),
        ("a: &x 1", 1, "anchors"),
        ("a: 1\nb: *x", 2, "aliases"),
        ("a: 1\n<<: {b: 1}", 2, "merge"),
        ("a: 1\nb: 2\na: 3", 3, "duplicate key 'a', first on line 1"),
        ("a: {b: 1, b: 2}", 1, "duplicate key 'b'"),
        ("1: 2", 1, "expected a name as the key, found 1"),
        ("? [1]\n: 2", 1, "expected a name"),
        ("null: 2", 1, "expected a name"),
        ("k" * 65 + ": 2", 1, "at most 64 printable characters"),
        ('"a\\nb": 2', 1, "printable"),
        ("a: 1\n---\nb: 2", 2, "a second"),
        ("a: .nan", 1, "finite"),
        ("a: -.inf", 1, "finite"),
        ("a: 1e999", 1, "finite"),
        ("a: " + "9" * 5000, 1, "64 bits"),
        ("a: [1", 1, "not valid YAML"),
        ("a: 1\nb\nc: 2", 3, "not valid YAML"),
        ("a:\n\t- 1", 2, "not valid YAML"),
        ("a: 1\nb: \x00", 2, "not valid YAML"),
        ('a: "\\UFFFFFFFF"', 1, "not valid YAML"),
        ('a: "\\ud800"', 1, "surrogate"),
        ("%YAML 1.1\n---\na: no", 2, "directives"),
        (b"a: 1\nb: \xff", 2, "0xff"),
        ("", 1, "found nothing"),
        ("# only a comment\n", 1, "found nothing"),
        ("- 1", 1, "found a list"),
        ("[" * 33 + "]" * 33, 1, "32 levels"),
    ],
)
def test_refused_yaml_names_the_line(text, line, words):
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, "my.yaml")
    message = str(caught.value)
    assert message.startswith(f"my.yaml:{line}: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < 200


def test_size_limit_counts_bytes(tmp_path):
    for text in ("a" * (MAX_BYTES + 1), "a: " + "é" * (MAX_BYTES // 2)):
        (tmp_path / "big.yaml").write_text(text, encoding="utf-8")
        for content in (text, text.encode(), tmp_path / "big.yaml"):
            with pytest.raises(ConfigError, match="at most 128 KiB"):
                load_yaml(content, "x")
    assert load_yaml("a: " + "b" * (MAX_BYTES - 3), "x")


@pytest.mark.parametrize("text", ["[" * 2000, "[" * 65000, "- " * 32000, "[\n" * 32000, "a: {" * 16000])
def test_deep_nesting_is_refused_quickly(text):
    start = time.monotonic()
    with pytest.raises(ConfigError, match="32 levels"):
        load_yaml(text, "x")
    assert time.monotonic() - start < 5


def test_byte_order_mark_and_line_ends():
    assert load_yaml(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "x") == ({"a": 1, "b": 2}, {"a": 1, "b": 2})


PIECES = ["a", "b: ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "'", '"', "&x ", "*x", "!t ", "|", ">", "#"]
PIECES += [
    "?",
    ": ",
    "%",
    "---\n",
    "...",
    "\\",
    "\\x",
    "\\u12",
    "\\UFFFFFFFF",
    "1",
    "e",
    ".",
    "-",
    "0x",
    "<<",
]
PIECES += ["\t", "\r", "@", "\x85", "\u2028"]
YAML_BYTES = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode(errors="replace")),
    st.lists(st.sampled_from(PIECES), max_size=60).map(lambda parts: "".join(parts).encode()),
)


@settings(max_examples=500, deadline=2000)
@given(YAML_BYTES)
def test_any_bytes_give_a_mapping_or_one_error(content):
    message = None
    try:
        data, lines = load_yaml(content, "f")
    except ConfigError as error:
        message = str(error)
    if message is None:
        assert isinstance(data, dict)
        assert all(isinstance(line, int) for line in lines.values())
    else:
        assert message.startswith("f:")
        assert len(message.splitlines()) == 1


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
    st.sampled_from(["no", "1e3", "null", "true", ".5", ".inf", "0o7", "010", "~", "", " a", "a: b", "1_0"]),
)
KEYS = st.text("abcdefgh_", min_size=1, max_size=8)
PLAIN_DATA = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS | st.lists(SCALARS, max_size=3),
        lambda inner: (
            st.dictionaries(KEYS, inner, min_size=1, max_size=3)
            | st.lists(st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_size=3)
        ),
        max_leaves=8,
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None)
@given(PLAIN_DATA)
def test_dumped_data_load_back_equal(data):
    assert load_yaml(dump_yaml(data), "x")[0] == data


# Recipes


def test_recipes():
    assert set(recipe_names()) >= {"lenet", "quickstart"}
    for name in recipe_names():
        loaded = load_config(name)
        assert (loaded.name, loaded.source) == (name, f"{name}.yaml")
        assert "# " in recipe_text(name)
    with pytest.raises(ConfigError, match="did you mean 'lenet'"):
        recipe_text("lennet")


def test_lenet_is_the_network_of_the_handout():
    config = load_config("lenet").config
    layers = config.network.layers
    kinds = ["conv", "average_pool", "conv", "average_pool", "flatten", "dense", "dense"]
    assert [layer.type for layer in layers] == kinds
    assert [layers[i].channels for i in (0, 2)] == [4, 6]
    assert [layers[i].units for i in (5, 6)] == [50, 10]
    assert config.loss_name == "sparse_categorical_cross_entropy"
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adamw", 0.005)
    assert config.data.validation == 5000
    assert load_config("quickstart").config.network == config.network


def test_load_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINIMAL)
    (tmp_path / "plain").write_text(MINIMAL)
    for path in ("mine.yaml", tmp_path / "mine.yaml", "./mine.yaml", "plain"):
        assert load_config(path).name in ("mine", "plain")
    (tmp_path / "lenet").write_text("not a configuration")
    assert load_config("lenet").source == "lenet.yaml"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lenett", "no recipe 'lenett' (did you mean 'lenet'?); the recipes are "),
        ("zzz", "no recipe 'zzz'; the recipes are "),
        ("lenet.yaml", "no file 'lenet.yaml' (did you mean 'lenet'?)"),
        ("./none", "no file './none'"),
        ("a\0b", "no recipe"),
        (".", "cannot read the file"),
    ],
)
def test_unknown_recipe_or_file(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# Values


def test_defaults():
    config = read_config(MINIMAL, "x").config
    assert (config.data.batch_size, config.data.validation, config.train.epochs) == (64, 0.1, 10)
    assert config.network.layers[1] == Flatten()
    assert config.train.threads is None


def test_all_faults_at_once_with_their_lines():
    text = MINIMAL.replace("channels: 2", "chanels: 2").replace("units: 10", 'units: "10"')
    text = text.replace("name: digits", "name: digit\n  batch_size: true") + "trian:\n  epochs: 3\n"
    known = "digits, mnist, fashion_mnist, cifar10, digits8x8, bars, shapes, folder, npz, idx, csv, arrays"
    assert fault(text).splitlines() == [
        f"my.yaml:2: data.name: expected one of {known}, found 'digit' (did you mean 'digits'?)",
        "my.yaml:3: data.batch_size: expected an integer from 1 to 65536, found true",
        "my.yaml:6: network.layers.0.channels: missing; expected an integer from 1 to 1024",
        "my.yaml:7: network.layers.0.chanels: unknown key (did you mean 'channels'?)",
        'my.yaml:11: network.layers.2.units: expected an integer from 1 to 65536, found "10"',
        "my.yaml:13: trian: unknown key (did you mean 'train'?)",
    ]


LAYER = "network.layers.0"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.batchsize=3", "data.batchsize: unknown key (did you mean 'batch_size'?)"),
        ("datas.x=3", "datas.x: datas: unknown key (did you mean 'data'?)"),
        ("train.epochs=0", "train.epochs: expected an integer from 1 to 100000, found 0"),
        ("train.epochs=1.0", "train.epochs: expected an integer from 1 to 100000, found 1.0"),
        ("train.seed=-1", "train.seed: expected an integer from 0 to 9223372036854775807, found -1"),
        ("optimizer.learning_rate=fast", 'optimizer.learning_rate: expected a number > 0, found "fast"'),
        ("optimizer.learning_rate=.nan", "optimizer.learning_rate: expected a finite number, found .nan"),
        ("optimizer.nesterov=1", "optimizer.nesterov: expected true or false, found 1"),
        ("network.layers=[]", "network.layers: expected a list of 1 to 64 items, found []"),
        (
            "network.input=[28,28]",
            "network.input: expected [height, width, channels] for the images of digits, found",
        ),
        ("network.input=[28,28,0]", "network.input: network.input.2: expected an integer from 1 to 65536, f"),
        (f"{LAYER}.type=covn", f"{LAYER}.type: expected one of"),
        ("network.layers.1.name=x", "network.layers.1.name: unknown key; known keys: type"),
        (f"{LAYER}={{channels: 1}}", f"{LAYER}: network.layers.0.type: missing; expected one of"),
        (f"{LAYER}=7", f"{LAYER}: expected a layer, such as 'type: flatten', found 7"),
        (f"{LAYER}.kernel_size=[1, 2, 3]", f"{LAYER}.kernel_size: expected an integer from 1 to 64"),
        (f"{LAYER}.kernel_size=[1, true]", f"{LAYER}.kernel_size: expected an integer from 1 to 64"),
        (f"{LAYER}.padding=full", f"{LAYER}.padding: expected one of valid, same or an integer"),
        (f"{LAYER}.name=1x", f"{LAYER}.name: expected a name of letters, digits and _"),
        (f"{LAYER}.kernel=[[[[x]]]]", f"{LAYER}.kernel: {LAYER}.kernel.0.0.0.0: expected a number"),
        (f"{LAYER}.kernel=[[[[1]]]]", f"{LAYER}.kernel: expected 2 filters (channels) of 3×3"),
        ("network.layers.9.units=3", "network.layers.9.units: expected an index below 3 in network.layers"),
        ("data.name.x=1", 'data.name.x: expected a section at data.name, found "digits"'),
        ("data=5", "data: expected indented 'key: value' lines, found 5"),
        ("train.epochs=", "train.epochs: expected YAML, found nothing"),
        ("train.epochs=[", "train.epochs: not valid YAML"),
        ("train.epochs", '"train.epochs": expected dotted.key=value'),
        ("a\nb=5", '"a\\nb=5": expected dotted.key=value'),
        ("=5", '"=5": expected dotted.key=value'),
        ("loss.name=binary_cross_entropy", "loss.name: expected sparse_categorical_cross_entropy or cat"),
        (f"{LAYER}.activation=softmax", f"{LAYER}.activation: softmax fits only the last layer"),
        ("schedule.warmup_epochs=11", "schedule.warmup_epochs: expected at most train.epochs = 10, found 11"),
        (
            "schedule={name: piecewise}",
            "schedule: schedule.boundaries: expected rising epochs, such as [20, 30], found []",
        ),
        (
            "schedule={name: piecewise, boundaries: [3, 3], values: [1.0, 0.5, 0.1]}",
            "schedule: schedule.boundaries: expected rising epochs",
        ),
        (
            "schedule={name: piecewise, boundaries: [3], values: [1.0]}",
            "schedule: schedule.values: expected 2 fractions of",
        ),
    ],
)
def test_wrong_override(override, message):
    found = fault(MINIMAL, override)
    assert found.startswith(f"override {message}"), found
    assert "\n" not in found
    assert "pydantic" not in found


def test_faults_of_all_overrides_at_once():
    lines = fault(MINIMAL, "x", "train.epochs=0", "network.layers.7.units=1", "loss.nam=auto").splitlines()
    assert len(lines) == 4
    assert all(line.startswith("override ") for line in lines)


def test_many_faults_stay_readable_and_quick():
    text = MINIMAL + "".join(f"k{i}: 1\n" for i in range(5000))
    start = time.monotonic()
    assert len(fault(text).splitlines()) <= 20
    assert time.monotonic() - start < 5


def test_faults_between_sections_name_the_file_line():
    assert fault(MINIMAL, "data.samples=100", "data.validation=100").startswith("override data.validation: ")
    text = MINIMAL + "loss:\n  label_smoothing: 0.1\n"
    assert fault(text, "network.layers.2.activation=none") == (
        "my.yaml:13: loss.label_smoothing: expected 0 for mean_squared_error, found 0.1"
    )
    twice = MINIMAL.replace("channels: 2", "channels: 2\n      name: a")
    twice = twice.replace("units: 10", "units: 10\n      name: a")
    assert fault(twice) == "my.yaml:12: network.layers.2.name: 'a' is also the name of layer 0; use another"


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("softmax", "sparse_categorical_cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("none", "mean_squared_error"),
    ],
)
def test_automatic_loss(activation, loss):
    override = f"network.layers.2.activation={activation}"
    assert read_config(MINIMAL, "x", [override]).config.loss_name == loss
    assert read_config(MINIMAL, "x", [override, f"loss.name={loss}"]).config.loss_name == loss
    as_layer = [f"network.layers.2={{type: activation, function: {activation}}}"]
    assert read_config(MINIMAL, "x", as_layer).config.loss_name == loss


def test_overrides():
    changes = [f"{LAYER}.channels=8", f"{LAYER}.kernel_size=[3, 5]", "optimizer.learning_rate=1e-3"]
    changes += ["network.layers.1={type: max_pool, size: 2}", "network.layers.1.stride=1", "train.epochs=2"]
    loaded = read_config(MINIMAL, "my.yaml", changes)
    conv, pool, _ = loaded.config.network.layers
    assert (conv.channels, pair(conv.kernel_size), pair(pool.size), pool.stride) == (8, (3, 5), (2, 2), 1)
    assert loaded.config.optimizer.learning_rate == 1e-3
    assert loaded.where("network.layers.0.channels") == "override network.layers.0.channels"
    assert loaded.where("network.layers.0") == "my.yaml:5: network.layers.0"
    assert loaded.where("network.layers.1.size") == "override network.layers.1: network.layers.1.size"
    assert loaded.where("data.root") == "my.yaml:1: data.root"
    assert loaded.where("schedule.name") == "my.yaml: schedule.name"
    error = loaded.error("network.layers.2", "too small")
    assert isinstance(error, ConfigError)
    assert str(error) == "my.yaml:9: network.layers.2: too small"


def test_later_overrides_win_and_dicts_are_left_alone():
    assert read_config(MINIMAL, "x", ["train.epochs=2", "train.epochs=3"]).config.train.epochs == 3
    section = {"epochs": 2}
    overrides = {"train": section, "train.seed": 5, "network.input": (28, 28, 1)}
    config = read_config(MINIMAL, "x", {"data.name": "mnist", **overrides}).config
    assert (config.train.epochs, config.train.seed, config.network.input) == (2, 5, (28, 28, 1))
    assert section == {"epochs": 2}
    with pytest.raises(ConfigError, match="found NaN"):
        read_config(MINIMAL, "x", {"optimizer.momentum": float("nan")})
    with pytest.raises(ConfigError, match="found a Python object"):
        read_config(MINIMAL, "x", {"train.seed": object()})


def test_given_kernel():
    edge = "[[1, 0, -1], [1, 0, -1], [1, 0, -1]]"
    conv = read_config(MINIMAL, "x", [f"{LAYER}.kernel=[[{edge}], [{edge}]]"]).config.network.layers[0]
    assert conv.kernel[1][0] == ((1, 0, -1),) * 3
    ragged = fault(MINIMAL, f"{LAYER}.kernel=[[{edge}], [{edge}, {edge}]]")
    assert "one matrix per input channel, found 2 matrices in filter 1" in ragged
    with pytest.raises(ConfigError, match="at most 1024 given kernel values, found 1800"):
        read_config(MINIMAL, "x", {f"{LAYER}.kernel": [[[[0.0] * 3] * 3] * 100] * 2})


def test_validation_is_a_count_or_a_fraction():
    for text, value in (("0", 0), ("1", 1), ("0.5", 0.5), ("5000", 5000)):
        found = read_config(MINIMAL, "x", [f"data.validation={text}"]).config.data.validation
        assert (found, type(found)) == (value, type(value))
    for text in ("1.0", "-1", "true", "-0.1"):
        expected = "expected an integer >= 0 or a number >= 0 and < 1"
        assert expected in fault(MINIMAL, f"data.validation={text}")


# Dump and schema


@pytest.mark.parametrize("name", recipe_names())
def test_dumped_recipe_loads_back_equal(name):
    config = load_config(name).config
    assert read_config(dump_config(config), "x").config == config


@settings(deadline=None, max_examples=50)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "data.root": st.text(st.characters(codec="utf-8"), max_size=20),
            "data.validation": st.integers(0, 10**9) | st.floats(2.0**-126, 1, exclude_max=True, width=32),
            "optimizer.learning_rate": st.floats(2.0**-126, allow_infinity=False, width=32),
            "train.seed": st.integers(0, 2**63 - 1),
            "network.layers.0.padding": st.sampled_from(["same", 3, [1, 2], [1, 2, 3, 4]]),
            "network.layers.0.name": st.sampled_from(["null", "true", "no", "a1"]),
        },
    )
)
def test_any_dumped_config_loads_back_equal(overrides):
    config = read_config(MINIMAL, "x", {"data.name": "mnist", **overrides}).config
    assert read_config(dump_config(config), "x").config == config


def test_largest_dump_is_small_enough_to_load():
    value = -1.2345678901234567e-123
    conv = {"type": "conv", "channels": 1, "kernel_size": [1, 1], "stride": [10, 10], "padding": [64] * 4}
    conv |= {"initializer": "glorot_uniform", "activation": "leaky_relu", "trainable": False}
    layers = [conv | {"name": f"n{i:063d}"} for i in range(64)]
    layers[0]["kernel"] = [[[[value]]] * 1024]
    config = read_config(
        MINIMAL, "x", {"data.name": "mnist", "data.root": "\x85" * 1024, "network.layers": layers}
    ).config
    assert read_config(dump_config(config), "x").config == config


def test_schema_describes_every_key():
    schema = config_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == {
        "data",
        "augment",
        "network",
        "loss",
        "optimizer",
        "schedule",
        "train",
        "init_from",
        "tune",
        "plots",
        "log",
    }
    for name, definition in schema["$defs"].items():
        assert definition["additionalProperties"] is False
        for key, value in definition["properties"].items():
            assert key == "type" or value["description"], f"{name}.{key}"
    assert {layer.__name__ for layer in LAYERS.values()} <= set(schema["$defs"])
    assert schema["$defs"]["Network"]["properties"]["layers"]["items"]["anyOf"][1] == {
        "enum": ["global_max_pool", "global_average_pool", "flatten", "batch_norm"]
    }


def test_schema_accepts_what_loads():
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(config_schema())
    validator.check_schema(config_schema())
    for name in recipe_names():
        for text in (recipe_text(name), dump_config(load_config(name).config)):
            assert not list(validator.iter_errors(load_yaml(text, "x")[0]))
    data, _ = load_yaml(MINIMAL, "x")
    for layer in ("conv", {"size": 2}, {}, {"type": "max_pool"}, 5):
        data["network"]["layers"][1] = layer
        assert list(validator.iter_errors(data))


def test_models_are_frozen():
    conv = Conv(channels=1, kernel_size=3, activation="relu")
    with pytest.raises(ValueError, match="frozen"):
        conv.channels = 2
    assert (activation_of(conv), activation_of(Flatten())) == ("relu", "none")


def test_load_value():
    assert load_value("[1, a, {b: no}]", "x") == [1, "a", {"b": "no"}]


def test_import_is_light():
    code = "import sys, lenumba.engine.config.config; print({'numba', 'numpy', 'torch', 'tqdm'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
