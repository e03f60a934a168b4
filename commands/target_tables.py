"""What is found of networks whose target is no class, as text."""

from lenumba.engine.common.text import table
from lenumba.engine.models.predicting import TargetAnswer
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
