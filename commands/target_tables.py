"""What is found of networks whose target is no class, as text."""

from lenumba.engine.common.targets import WORDS
from lenumba.engine.common.text import table
from lenumba.engine.models.predicting import TargetAnswer
from lenumba.engine.models.target_comparison import TargetComparison
from lenumba.engine.models.target_evaluation import TargetEvaluation

LISTED = 5  # worst samples


def target_table(found: TargetEvaluation) -> str:
    """Return the figures, those of each label or number, and the worst samples."""
    lines = ["   ".join([*(f"{name} {value}" for name, value in found.told.items()), f"{found.samples} samples"])]
    if found.target != "input":
        lines += ["", table(*found.rows), ""]
        listed = ", ".join(str(found.name(k)) for k in found.worst[:LISTED])
        lines.append(f"farthest from the truth: {listed}")
    else:
        listed = ", ".join(
            f"{found.name(k)} ({found.outputs[k]:.4g}, {found.names[found.truth[k]]})" for k in found.worst[:LISTED]
        )
        lines.append(f"largest errors, as anomaly scores: {listed}")
    return "\n".join(lines)


def answer_line(answer: TargetAnswer) -> str:
    """Return an answer in words: labels that are likely, numbers, or the anomaly score."""
    if answer.target == "input":
        return f"anomaly score {answer.values[0]:.6g}"
    pairs = list(zip(answer.names, answer.values.tolist(), strict=True))
    if answer.target == "numbers":
        return "   ".join(f"{name} {value:.6g}" for name, value in pairs)
    return "   ".join(f"{name} {100 * value:5.1f} %" for name, value in answer.likely) or "none"


def target_comparison_table(found: TargetComparison) -> str:
    """Return both runs' figures, their differences, whether they may be chance, and the samples that differ most."""
    rows = []
    for name, item in found.figures.items():
        values = [f"{value:.4f}" for value in (item.first, item.second)]
        low, high = item.interval
        rows.append([WORDS.get(name, name), *values, f"{item.difference:+.4f} ({low:+.4f} to {high:+.4f})"])
    lines = [table(["", *found.names, "difference (95 % interval)"], rows), ""]
    about = f"p = {found.p_value:.2g}, that {WORDS[found.judged_by]} is the same"
    if found.seeds:
        pairs = [[seed, f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}"] for seed, (a, b) in found.seeds.items()]
        lines += [table([f"seed: {WORDS[found.judged_by]}", "first", "second", "difference"], pairs), ""]
        test = f"means over {len(found.seeds)} seeds; intervals and p: of Student's paired t-test, seed by seed"
        return "\n".join([*lines, f"{found.samples} samples; {about}; {test}"])
    for which, better in zip(found.names, (found.better_first, found.better_second), strict=True):
        listed = [f"{row['sample']} ({row['first']:.4g}, {row['second']:.4g})" for row in better[:LISTED]]
        lines.append(f"smaller mean squared errors in {which}, with both: {', '.join(listed) or 'none'}")
    test = f"paired bootstrap over samples, {found.draws:,} draws"
    return "\n".join([*lines, f"{found.samples} samples; {about}; intervals and p: {test}"])
