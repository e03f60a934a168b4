"""What is found of networks whose target is no class, as text."""

from lenumba.engine.common.targets import WORDS
from lenumba.engine.common.text import table
from lenumba.engine.models.predicting import TargetAnswer
from lenumba.engine.models.target_evaluation import TargetEvaluation

LISTED = 5  # worst samples


def target_table(found: TargetEvaluation) -> str:
    """Return the figures, those of each label or number, and the worst samples."""
    measured, told = found.measured, []
    for name, value in measured.told(found.names).items():
        if value is not None:
            percent = name in ("accuracy", "hamming")
            told.append(f"{WORDS.get(name, name)} {f'{100 * value:.2f} %' if percent else f'{value:.4f}'}")
    lines = ["   ".join([*told, f"{found.samples} samples"])]
    if found.target != "input":
        keys = list(measured.each)
        share = ["positive"] if found.target == "labels" else ["mean", "deviation"]
        rows = []
        for k, name in enumerate(found.names):
            column = found.truth[:, k]
            own = [f"{int(column.sum())}"] if share == ["positive"] else [f"{column.mean():.4g}", f"{column.std():.4g}"]
            each = [measured.each[key][k] for key in keys]
            rows.append([name, *own, *("–" if value is None else f"{value:.4g}" for value in each)])
        lines += ["", table([found.target.removesuffix("s"), *share, *(WORDS[key] for key in keys)], rows), ""]
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
    likely = sorted((pair for pair in pairs if pair[1] >= 0.5), key=lambda pair: -pair[1])
    return "   ".join(f"{name} {100 * value:5.1f} %" for name, value in likely) or "none"
