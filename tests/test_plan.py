"""Plans: every call has the arguments that its kernel takes, and the printed program names what it touches."""

import ast
import re
from dataclasses import replace

import pytest
from harness import STILL, lenet, make_network

from lenumba.engine.explain import cases as cases_module
from lenumba.engine.network.augmentation import Augment
from lenumba.engine.network.network import Network
from lenumba.kernels.compile.native import module_text
from lenumba.kernels.measure.profiled import profiled_plan
from lenumba.kernels.program.arguments import BLOCK, UPDATE_ARGUMENTS, Run
from lenumba.kernels.program.catalogue import known_kernels, signature, work_of
from lenumba.kernels.program.plan import Place, call
from lenumba.kernels.program.source import program_source

DISTORTED = {"shift": 2, "elastic": 1, "erasing": 0.5, "noise": 0.1}


def networks() -> list[Network]:
    cases = [
        Network(
            case.layers, cases_module.SHAPE, batch_size=cases_module.IMAGES if case.singly else None, pixels=case.pixels
        )
        for case in cases_module.CASES
    ]
    return [*cases, Network(cases_module.CASES[0].layers, cases_module.SHAPE, augment=Augment(**DISTORTED))]


def test_signatures_read_as_text_are_those_of_the_syntax_tree():
    for name, row in known_kernels().items():
        [function] = (
            node
            for node in ast.parse(module_text(row.home)).body
            if isinstance(node, ast.FunctionDef) and node.name == name
        )
        names = tuple(argument.arg for argument in function.args.args)
        assert signature(name) == names
        capitals = [argument.isupper() for argument in names]
        assert capitals == sorted(capitals), f"{name}: capitals come last"


def test_a_misspelt_or_missing_argument_is_named_with_its_kernel():
    place = Place("work", 0)
    with pytest.raises(TypeError, match=r"^clear\(dx, SIZE\) has no argument SIZES$"):
        call("clear", dx=place, SIZES=1)
    with pytest.raises(TypeError, match=r"^clear\(dx, SIZE\) lacks the argument SIZE$"):
        call("clear", {"N": 1}, dx=place)
    with pytest.raises(TypeError, match=r"^clear: its row of the catalogue counts by 'SIZE', which its calls lack$"):
        work_of("clear", [{"SIZES": 1}])


def test_every_kernels_work_is_counted_by_numbers_that_it_takes():
    updates = {"SIZE", "SHARDS", "STATES"}  # known to who asks, not to the program
    for name, row in known_kernels().items():
        numbers = {each: 3 for each in signature(name) if each.isupper()}
        if row.home.endswith(".update"):
            numbers |= dict.fromkeys(updates, 3)
        work_of(name, [numbers])  # raises where it asks for another one


def test_the_traffic_of_every_step_is_counted():
    for network in networks():
        steps = profiled_plan(network.plan(STILL), 0).block("training")
        moved = {
            step.calls[0].kernel: work_of(step.calls[0].kernel, [each.numbers for each in step.calls])[1]
            for step in steps
        }
        assert all(count > 0 for kernel, count in moved.items() if kernel != "clear_tail"), moved  # often no tail


def test_the_printed_programs_calls_fit_their_functions():
    """Every call of a kernel in the text, bound to the kernel's own definition."""
    for network in networks():
        tree = ast.parse(program_source(network.plan(STILL)).text)
        defined = {node.name: [each.arg for each in node.args.args] for node in tree.body if hasattr(node, "args")}
        found = 0
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                names = signature(name) if name in known_kernels() else defined.get(name)
                if names is not None:
                    given = [*names[: len(node.args)], *(keyword.arg for keyword in node.keywords)]
                    assert tuple(given) == tuple(names), name
                    found += 1
        assert found > 10


def test_every_name_in_a_program_says_where_its_plan_put_it():
    network = lenet()
    names = {}
    exec("\n".join(re.findall(r"^\w+ = \w+", program_source(network.plan(STILL)).text, re.MULTILINE)), names)
    for name, offset in network.offsets.items():
        assert names[name.replace(".", "_")] == offset
    for unit, tensor, gradient in zip(
        network.units, network.layout.tensors[1:], network.layout.gradients[1:], strict=True
    ):
        assert names.get(f"{unit.name}_y", tensor.start) == tensor.start
        assert names.get(f"{unit.name}_dy", gradient.start) == gradient.start
    assert {"image", "label", "valid", "conv1_y", "conv1_dy", "dense2_scratch"} <= names.keys()


def test_no_names_of_layers_get_in_each_others_way():
    layers = [
        {"type": "flatten"},
        {"type": "dense", "name": "a_y", "units": 2},
        {"type": "dense", "name": "forward_a", "units": 2},
        {"type": "dense", "name": "relu", "units": 2, "activation": "relu"},
        {"type": "dense", "name": "at", "units": 2, "activation": "softmax"},
    ]
    module = ast.parse(program_source(make_network(layers, (2, 2, 1)).plan(STILL)).text).body
    names = [target.id for node in module if isinstance(node, ast.Assign) for target in node.targets]
    names += [node.name for node in module if isinstance(node, ast.FunctionDef)]
    names += [alias.name for node in module if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert len(names) == len(set(names))


def test_a_bias_has_no_gradient_where_a_norm_alone_reads_what_it_is_added_to():
    conv, last = (
        {"type": "conv", "channels": 4, "kernel_size": 3},
        {"type": "dense", "units": 10, "activation": "softmax"},
    )
    layers = [
        {**conv, "norm": "batch"},
        conv,
        {"type": "flatten"},
        {"type": "dense", "units": 8, "norm": "batch"},
        last,
    ]
    calls = make_network(layers, (8, 8, 1)).plan(STILL).calls
    biases = {str(call["db"]) for call in calls if call.kernel in ("conv_bias_gradient", "dense_bias_gradient")}
    assert biases == {"at(gradient, conv2_bias)", "at(gradient, dense2_bias)"}


def test_the_runs_arguments_are_named_once():
    assert set(Run._fields) & set(BLOCK) == {"count"}  # of a block, its own
    assert set(UPDATE_ARGUMENTS) & set(BLOCK) == {"first"}
    with pytest.raises(ValueError, match="imagess"):
        Run(*range(len(Run._fields)))._replace(imagess=0)
    assert replace(lenet().plan(STILL), clock=0).calls == lenet().plan(STILL).calls
