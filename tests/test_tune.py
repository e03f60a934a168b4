"""Studies: what they try, what they refuse, and what they leave."""

import json
import math
import sys
from pathlib import Path
from statistics import fmean

import pytest
from tune_studies import STUDY, parameters, recorded, summary, trials, write_study

import lenumba as package
from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.statistics import holm, paired_p_value
from lenumba.engine.config.config import load_config, read_config
from lenumba.engine.runs.run import start_run
from lenumba.engine.tuning.dimension import Dimension
from lenumba.engine.tuning.space import Space
from lenumba.engine.tuning.storage import hide_password

pytest.importorskip("optuna", reason="studies need Optuna")


def space_of(*lines: str, sampler: str = "random") -> Space:
    head = STUDY.partition("tune:")[0] + f"tune:\n  sampler: {sampler}\n  space:\n"
    return Space(read_config(head + "".join(f"    {line}\n" for line in lines), "x.yaml"))


# ------------------------------------------------------------------------------------------------- statistics


def test_p_values_of_the_paired_t_test():
    assert paired_p_value([1, 2, 3], [1, 2, 3]) == 1.0
    assert paired_p_value([2, 3, 4], [1, 2, 3]) == 0.0
    # With one degree of freedom t is Cauchy's: p = 1 - 2·atan(|t|)/π. Differences 1 and 3 have t = 2.
    assert paired_p_value([1, 3], [0, 0]) == pytest.approx(1 - 2 * math.atan(2) / math.pi, abs=1e-12)
    # With two, p = 1 - t / sqrt(t² + 2). Differences 1, 2, 3 have t = 2·sqrt(3).
    t = 2 * math.sqrt(3)
    assert paired_p_value([1, 2, 3], [0, 0, 0]) == pytest.approx(1 - t / math.sqrt(t * t + 2), abs=1e-12)


def test_p_values_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats", reason="SciPy is the witness here")
    import random

    generator = random.Random(0)
    for count in range(2, 30):
        a = [generator.gauss(0, 1) for _ in range(count)]
        b = [generator.gauss(0.5, 1) for _ in range(count)]
        assert paired_p_value(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-10)


def test_holm_corrects_for_the_number_of_comparisons():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


# -------------------------------------------------------------------------------------------------- the space


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("optimiser.momentum: [0.9]", "tune.space.optimiser.momentum: unknown key (did you mean 'optimizer'?)"),
        ("optimizer.momentun: [0.9]", "optimizer.momentun: unknown key (did you mean 'momentum'?)"),
        ("network.layers.9.units: [10]", "expected an index below 3 in network.layers, found \"9\""),
        ("optimizer.momentum: {low: 0.9, high: 0.1}", "expected low below high, found the empty range 0.9 to 0.1"),
        ("optimizer.momentum: {low: 0.9, high: 0.9}", "expected low below high, found the empty range"),
        ("optimizer.momentum: {low: 0.9}", "momentum.high: missing; expected a number"),
        ("optimizer.momentum: {low: 0, high: 1}", "momentum.high: expected a number >= 0 and < 1, found 1"),
        ("optimizer.momentum: {low: a, high: 0.9}", 'momentum.low: expected a number, found "a"'),
        ("optimizer.momentum: {low: 0, high: 0.9, log: true}", "low: expected a number above 0, as log is true"),
        ("optimizer.momentum: {low: 0, high: 0.9, stpe: 0.1}", "stpe: unknown key (did you mean 'step'?)"),
        ("optimizer.momentum: {low: 0, high: 0.9, step: 2}", "expected a step above 0 and at most high - low = 0.9"),
        ("optimizer.momentum: 0.9", "expected a list of values, or 'low' and 'high', found 0.9"),
        ("optimizer.momentum: []", "expected a list of 1 to 64 values, found 0"),
        ("optimizer.momentum: [0.9, 0.9]", "momentum.1: 0.9 stands here twice; remove one"),
        ("optimizer.momentum: [0.5, 0.7]", "expected to hold the recipe's own value 0.9"),
        ("data.batch_size: [32, 6.5]", "batch_size.1: expected an integer from 1 to 65536, found 6.5"),
        ("data.batch_size: {low: 1, high: 70000}", "batch_size.high: expected an integer from 1 to 65536"),
        ("network.layers.2.activation: [softmax, gelu]", "activation.1: expected one of none, relu"),
        ("train.seed: [0, 1]", "a seed is no setting"),
        ("data.name: [digits, mnist]", "only data.batch_size, data.normalize, data.sampling may vary"),
        ("tune.trials: [1, 50]", "unknown key"),
    ],
)  # fmt: skip
def test_wrong_space_is_refused_in_one_line(refused, place, entry, fault):
    head = STUDY.partition("tune:")[0] + "tune:\n  space:\n"
    Path("tiny.yaml").write_text(f"{head}    {entry}\n")
    line = refused(2, "tune", "tiny.yaml")
    assert line.startswith("error: tiny.yaml:11: tune.space.")
    assert fault in line
    assert not Path("studies").exists()


def test_all_faults_of_a_space_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        space_of("optimizer.momentum: 1", "data.batch_size: [0, 32]", "optimizer.nesterov: [maybe]")
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["12", "13", "14"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["quickstart"], "quickstart.yaml: expected a section 'tune', found none"),
        ([], "expected a recipe with a section 'tune'"),
        (["tiny.yaml", "data.validation=0"], "override data.validation: expected images set aside for validation"),
        (["tiny.yaml", "tune.metric=seconds_to_accuracy"], "expected the accuracy to reach, such as 0.98"),
        (["tiny.yaml", "tune.sampler=grid"], "expected a list, or low, high and step, for the sampler grid"),
        (["tiny.yaml", "tune.sampler=best"], "expected one of tpe, random, grid, cmaes"),
        (["tiny.yaml", "tune.final_seeds=4"], "expected an integer from 5 to 100, found 4"),
        (["tiny.yaml", "network.layers.0.size=40"], "the 40×40 window is larger than its 28×28 input"),
        (["tiny.yaml", "--name", "../x"], "--name: expected letters, digits"),
        (["--resume"], "no studies in"),
        (["tiny", "--status"], "tiny: no study"),
    ],
)
def test_wrong_studies_are_refused_before_anything_runs(refused, place, arguments, fault):
    write_study()
    assert fault in refused(2, "tune", *arguments)
    assert not Path("studies").exists()


def test_unreachable_database_is_told_without_its_password(refused, place, monkeypatch):
    write_study()
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    line = refused(3, "tune", "tiny.yaml", "--storage", "nonsense://me:secret@nowhere/x")
    assert "cannot open the database" in line
    assert "secret" not in line
    line = refused(3, "tune", "tiny.yaml", "--storage", "mysql://me:secret@nowhere/x")
    assert "mysql://me@nowhere/x: the database's driver is missing; pip install mysqlclient" in line
    assert hide_password("postgresql://me:secret@host:1/db") == "postgresql://me@host:1/db"
    assert hide_password("sqlite:///x.db") == "sqlite:///x.db"


def test_missing_optuna_is_told_with_its_remedy(refused, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    write_study()
    assert "pip install 'lenumba[tune]'" in refused(3, "tune", "tiny.yaml")


def test_drawn_values_stay_in_their_ranges():
    space = space_of(
        "optimizer.learning_rate: {low: 1e-3, high: 1, log: true}",
        "optimizer.momentum: {low: 0, high: 0.9, step: 0.3}",
        "data.batch_size: {low: 16, high: 64, log: true}",
        "network.layers.0.size: [2, 4, [7, 4]]",
        "train.epochs: {low: 1, high: 3}",
    )
    assert space.sample(0) == space.recipe
    drawn = [space.sample(slot) for slot in range(1, 400)]
    assert drawn == [space.sample(slot) for slot in range(1, 400)]
    for key, kind in (("optimizer.learning_rate", float), ("data.batch_size", int), ("train.epochs", int)):
        assert {type(values[key]) for values in drawn} == {kind}
    assert {values["train.epochs"] for values in drawn} == {1, 2, 3}
    assert {round(values["optimizer.momentum"], 6) for values in drawn} == {0.0, 0.3, 0.6, 0.9}
    assert {json.dumps(values["network.layers.0.size"]) for values in drawn} == {"2", "4", "[7, 4]"}
    assert all(16 <= values["data.batch_size"] <= 64 for values in drawn)
    assert fmean(math.log10(values["optimizer.learning_rate"]) for values in drawn) == pytest.approx(-1.5, abs=0.15)
    for dimension in space.dimensions:
        for values in drawn[:50]:
            label = dimension.label(values[dimension.key])
            assert dimension.distribution()._contains(dimension.distribution().to_internal_repr(label))
            assert dimension.value(label) == values[dimension.key]


def test_grid_has_every_point_once_and_starts_with_the_recipe():
    space = space_of(
        "data.batch_size: [16, 32, 64]",
        "optimizer.momentum: {low: 0, high: 0.9, step: 0.3}",
        "optimizer.nesterov: [true, false]",
        sampler="grid",
    )
    points = [space.sample(slot) for slot in range(space.limit)]
    assert len({json.dumps(point) for point in points}) == 3 * 4 * 2 == len(points)
    assert points[0] == pytest.approx(space.recipe)


def test_true_is_no_one():
    dimension = Dimension("x", (1, True))
    assert [type(dimension.value(label)) for label in dimension.labels] == [int, bool]


def test_shipped_study_is_correct():
    space = Space(load_config("lenet-tune"))
    assert space.tune.trials == 40
    assert space.base["network"] == Space(load_config("lenet-tune")).base["network"]
    assert {**space.base, "data": None} == {
        **load_config("lenet").config.model_dump(mode="json", exclude={"tune"}), "data": None
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ whole studies


def test_study_leaves_what_it_promises(lenumba, place):
    write_study()
    result = lenumba("tune", "tiny.yaml")
    assert result.exit_code == 0, result.output
    folder = Path("studies/tiny")
    wanted = {"best.yaml", "config.yaml", "journal.log", "study.json", "trials.csv"}
    drawings = {"history.png", "curves.png", "parallel.png", "importance.png"}
    assert {path.name for path in folder.iterdir()} == wanted | drawings
    rows = trials()
    assert [row["trial"] for row in rows] == list("012345")
    assert {row["state"] for row in rows} == {"finished"}
    assert (rows[0]["optimizer.learning_rate"], rows[0]["data.batch_size"], rows[0]["train.epochs"]) == (
        "0.1",
        "32",
        "2",
    )
    found = summary()
    assert found["counts"] == {"finished": 6, "pruned": 0, "failed": 0, "running": 0}
    assert len(found["finals"]["seeds"]) == 5
    assert 0 not in found["finals"]["seeds"]
    assert set(found["finals"]["test_accuracy"]) == {"0", str(found["best"])}
    assert "Test accuracy, read once" in result.stdout
    assert "validation accuracy" in result.stdout

    # The configuration is complete, and repeats what is recorded of it to the last bit.
    run = start_run(load_config(folder / "best.yaml"))
    assert max(line["val_accuracy"] for line in run.history) == recorded()
    assert "# tuned; " in (folder / "best.yaml").read_text()

    again = lenumba("tune", "tiny.yaml")
    assert again.exit_code == 0
    assert trials() == rows
    longer = lenumba("tune", "tiny.yaml", "--trials", 8, "--jobs", 2)
    assert longer.exit_code == 0
    assert trials()[:6] == rows
    assert len(trials()) == 8
    status = json.loads(lenumba("tune", "--status", "--json").stdout)
    assert (status["status"], status["counts"]["finished"]) == ("complete", 8)
    assert "8 of 8 trials" in lenumba("tune", "tiny", "--status").stdout

    # It can be drawn whenever one likes, also elsewhere, and from Python.
    drawn = lenumba("plot", "tiny", "--format", "svg", "--out", "drawn")
    assert drawn.exit_code == 0, drawn.output
    assert {path.name for path in Path("drawn").iterdir()} == {name.replace("png", "svg") for name in drawings}
    axes = package.plot(folder, what="curves").figure
    named = [text.get_text() for text in axes.legends[0].get_texts()]
    assert named[0].startswith(f"{status['best']}: learning_rate=")  # the best first
    with pytest.raises(ConfigError, match="what: of the study tiny expected history, curves"):
        package.plot(folder, what="kernels")

    other = lenumba("tune", "tiny.yaml", "optimizer.momentum=0.5")
    assert other.exit_code == 2
    assert "another configuration (optimizer.momentum was 0.9, is 0.5)" in other.stderr
    assert lenumba("tune", "--resume", "optimizer.momentum=0.5").exit_code == 2
    assert lenumba("tune", "--resume", "--trials", 9, "-q").exit_code == 0
    assert len(trials()) == 9


@pytest.mark.parametrize("sampler", [pytest.param("random", marks=pytest.mark.long("trains for long")), "grid"])
def test_trials_are_the_same_for_any_number_of_workers(lenumba, place, sampler):
    text = STUDY.replace("{low: 1e-3, high: 1, log: true}", "{low: 0.1, high: 0.4, step: 0.1}")
    Path("tiny.yaml").write_text(
        text.replace("sampler: random", f"sampler: {sampler}").replace("trials: 6", "trials: 5")
    )
    for jobs in (1, 2):
        assert lenumba("tune", "tiny.yaml", "--jobs", jobs, "--name", f"jobs{jobs}", "-q").exit_code == 0
    assert parameters("jobs1") == parameters("jobs2")
    assert len(parameters("jobs1")) == 5


def test_grid_ends_where_there_is_no_more(lenumba, place):
    head = STUDY.partition("tune:")[0]
    Path("tiny.yaml").write_text(
        f"{head}tune:\n  sampler: grid\n  pruner: none\n  space:\n    data.batch_size: [16, 32, 64]\n"
    )
    assert lenumba("tune", "tiny.yaml", "--trials", 50, "-q").exit_code == 0
    assert sorted(int(row["data.batch_size"]) for row in trials()) == [16, 32, 64]


def test_networks_that_cannot_be_are_failed_trials_with_their_reason(lenumba, place):
    head = STUDY.partition("tune:")[0]
    Path("tiny.yaml").write_text(
        f"{head}tune:\n  sampler: grid\n  pruner: none\n  space:\n"
        "    network.layers.0.size: [4, 40]\n    data.batch_size: [32, 64]\n    schedule.warmup_epochs: [0, 9]\n"
    )
    result = lenumba("tune", "tiny.yaml", "--jobs", 2)
    assert result.exit_code == 0, result.output
    reasons = [row["reason"] for row in trials() if row["state"] == "failed"]
    assert len(reasons) == 6
    assert sum("the 40×40 window is larger than its 28×28 input" in reason for reason in reasons) == 2
    assert sum("schedule.warmup_epochs: expected at most train.epochs = 2" in reason for reason in reasons) == 4
    assert all("\n" not in reason for reason in reasons)
    assert "failed: trial " in result.stdout


def test_failed_trials_are_replaced(lenumba, place):
    head = STUDY.partition("tune:")[0]
    Path("tiny.yaml").write_text(
        f"{head}tune:\n  sampler: random\n  pruner: none\n  trials: 6\n"
        "  space:\n    network.layers.0.size: [4, 40, 50]\n"
    )
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    states = [row["state"] for row in trials()]
    assert states.count("failed") > 0
    assert states.count("finished") == 6 or states.count("failed") >= 6


def test_diverged_trial_ends_early_and_the_study_goes_on(lenumba, place):
    head = STUDY.partition("tune:")[0].replace("learning_rate: 0.1", "learning_rate: 0.1, momentum: 0.9")
    Path("tiny.yaml").write_text(
        f"{head}tune:\n  sampler: grid\n  pruner: none\n  space:\n    optimizer.learning_rate: [0.1, 1e38, 0.2]\n"
    )
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    lost = [row for row in trials() if row["state"] == "pruned"]
    assert [row["optimizer.learning_rate"] for row in lost] == ["1e+38"]
    assert "training diverged" in lost[0]["reason"]


def test_several_seeds_give_a_mean_and_its_error(lenumba, place):
    write_study(seeds=3, trials=2)
    result = lenumba("tune", "tiny.yaml")
    assert result.exit_code == 0, result.output
    for row in trials():
        values = [float(value) for value in row["values"].split()]
        assert len(values) == 3
        assert float(row["value"]) == pytest.approx(fmean(values), abs=1e-12)
    assert " ± " in result.stdout.partition("finished, ")[0]
    assert summary()["finals"]["seeds"] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    "tune",
    [
        {"sampler": "tpe", "pruner": "asha", "trials": 14},
        {"sampler": "cmaes", "pruner": "median", "metric": "val_loss", "trials": 8},
        {"sampler": "random", "metric": "seconds_to_accuracy\n  target: 0.3", "pruner": "asha", "trials": 6},
    ],
    ids=["tpe", "cmaes", "seconds"],
)
def test_samplers_pruners_and_metrics(lenumba, place, tune):
    write_study(**tune)
    result = lenumba("tune", "tiny.yaml", "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert len(trials()) == tune["trials"]
    assert {row["state"] for row in trials()} <= {"finished", "pruned"}
    assert trials()[0]["state"] == "finished"
    assert Path("studies/tiny/best.yaml").exists()


@pytest.mark.long("compiles for long")
def test_each_network_is_compiled_once_and_cached_for_the_next_study(lenumba, place, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(place / "cache"))
    head = STUDY.partition("tune:")[0]
    Path("tiny.yaml").write_text(
        f"{head}tune:\n  sampler: grid\n  pruner: none\n  finalists: 1\n  space:\n"
        "    network.layers.0.size: [4, 7]\n    data.batch_size: [32, 64]\n"
    )
    first = lenumba("tune", "tiny.yaml", "--jobs", 2)
    assert first.exit_code == 0, first.output
    compiled = {row["network.layers.0.size"] for row in trials() if row["cached"] == "False"}
    assert compiled == {"4", "7"}
    assert [row["cached"] for row in trials()].count("True") == 2
    assert summary()["compiled"] == 2
    assert summary()["compile_s"] == pytest.approx(
        sum(float(row["compile_s"]) for row in trials() if row["cached"] == "False"), abs=1e-9
    )
    assert "2 networks compiled in " in first.stdout
    second = lenumba("tune", "tiny.yaml", "--name", "again")
    assert second.exit_code == 0, second.output
    assert {row["cached"] for row in trials("again")} == {"True"}
    assert summary("again")["compiled"] == 0
    assert [row["value"] for row in trials("again")] == [row["value"] for row in trials()]


def test_search_never_has_the_test_set_and_it_is_read_once(lenumba, place, monkeypatch):
    from lenumba.engine.tuning import search, worker

    jobs, real = [], search.Pool.give

    def give(self, worker, task, job):
        jobs.append((job["kind"], job["slot"], tuple(job["seeds"])))
        real(self, worker, task, job)

    monkeypatch.setattr(search.Pool, "give", give)
    write_study(trials=3)
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    read = [job for job in jobs if job[0] == "test"]
    assert {slot for _, slot, _ in read} == {0, summary()["best"]}
    assert len(read) == len(set(read)) == 5 * len({0, summary()["best"]})
    assert [kind for kind, *_ in jobs[: -len(read)]] == ["search"] * (len(jobs) - len(read))  # after all decisions
    del jobs[:]
    assert lenumba("tune", "tiny.yaml", "-q").exit_code == 0
    assert jobs == []

    loaded = load_config("tiny.yaml")
    searching, testing = (worker.Worker(0).dataset(loaded, testing=testing) for testing in (False, True))
    assert (len(searching.test_images), len(searching.test_labels)) == (0, 0)
    assert len(testing.test_images) > 0


def test_from_python(place):
    write_study(trials=3)
    study = package.tune("tiny.yaml", {"train.seed": 3}, trials=2, name="mine")
    assert study.path == Path("studies/mine")
    assert [row["trial"] for row in study.trials] == [0, 1]
    assert study.best["trial"] == study.summary["best"]
    run = package.train(study.best_config)
    assert max(line["val_accuracy"] for line in run.history) == study.best["accuracies"][0]
