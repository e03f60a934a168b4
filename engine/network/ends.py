"""Both ends of a network's program: images come in, and what comes out is compared with the labels."""

from dataclasses import replace

from lenumba.engine.network.layout import Layout
from lenumba.engine.network.losses import Loss
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.pieces import MEMORY, WHOLE, cut
from lenumba.kernels.program.plan import Call, Place, Step, Tensor, call, geometry


def image_steps(layout: Layout, x: Tensor, pixels: str, weighted: bool) -> list[Step]:
    """Return the step that fills x with images, or one for training, which distorts them, and one for evaluation.

    Where images are weighted, training then takes their weights from where evaluation puts the outputs.
    """
    weigh = call("weigh", weights="outputs", valid=label_places(layout)[1])
    weighing = [Step("weigh_images", "what each image's loss counts", [weigh], only="training")] * weighted
    pack = Step("pack_images", f"{pixels} → {x}", [pack_call(layout, x, pixels)])
    if layout.distortion is None:
        return [pack, *weighing]
    memory = Place("work", layout.augmentation, "augmentation")
    augment = layout.distortion.call(memory, x, *label_places(layout))
    return [
        Step("augment_images", f"{pixels}, distorted → {x}", [augment], only="training"),
        replace(pack, only="evaluation"),
        *weighing,
    ]


def pack_call(layout: Layout, x: Tensor, pixels: str) -> Call:
    """Return the call of the kernel that fills x with images as they are."""
    label, valid = label_places(layout)
    if x.unit == 1:
        pieces = cut(MEMORY * x.size // LANES, x.height) if layout.padded else WHOLE
        return call("pack_image", geometry(x, x), x=x.interior, label=label, valid=valid, **pieces)
    sizes = geometry(x, x) | {"COUNT": min(x.width, LANES)}
    if x.row == x.width:  # no margins between rows: an image is one long row
        sizes |= {"H": 1, "W": x.height * x.width, "COUNT": min(x.height * x.width, LANES)}
    return call("pack" if pixels == "uint8" else "pack_floats", sizes, x=x.interior, label=label, valid=valid)


def label_places(layout: Layout) -> tuple[Place, Place]:
    """Return where a block's labels [16] lie, and the mask [16] of the lanes that hold an image."""
    return Place("work", layout.labels, "label", "16"), Place("work", layout.labels + LANES, "valid", "16")


def target_steps(layout: Layout, x: Tensor, target: str, outputs: int) -> list[Step]:
    """Return the step that fills the targets of a block, one for each output; none where the target is a class."""
    if target == "class":
        return []
    place = target_place(layout, outputs)
    if target != "input":
        packed = call("pack_targets", target=place, K=outputs)
        return [Step("fill_targets", f"{target} → {outputs} for each image", [packed])]
    flat = Tensor(*x.shape)
    copied = call("copy", geometry(x, flat), x=x.interior, y=place)
    if x.unit == 1:  # into lane 0
        sizes = geometry(x, flat) | {"Y_ROW": LANES * flat.row, "Y_PLANE": LANES * flat.plane}
        copied = call("copy_strided", sizes, x=x.interior, y=place, X_STEP=1, Y_STEP=LANES)
    return [Step("fill_targets", f"{x} → {outputs} for each image", [copied])]


def target_place(layout: Layout, outputs: int) -> Place:
    """Return where a block's targets lie, [outputs, 16]."""
    return Place("work", layout.targets, "target", f"{outputs}×{LANES}")


def loss_step(layout: Layout, loss: Loss, y: Tensor, dy: Tensor, target: str = "class") -> Step:
    """Return the step that compares the last layer's output with the labels; a single image lies in lane 0."""
    label, valid = label_places(layout)
    z, p, dz = y.interior, layout.output, dy.interior
    if y.unit == 1:
        z, dz = layout.loss_input, layout.loss_gradient
    known = {"label": label} if target == "class" else {"target": target_place(layout, y.channels)}
    calls = [call(loss.kernel_for(target), z=z, p=p, dz=dz, **known, valid=valid, scale="weight", K=y.channels)]
    if y.unit == 1:
        row = geometry(Tensor(1, 1, y.channels), Tensor(1, 1, y.channels))
        calls.insert(0, call("copy_strided", row, x=y.interior, y=z, X_STEP=1, Y_STEP=LANES))
        calls.append(call("copy_strided", row, x=dz, y=dy.interior, X_STEP=LANES, Y_STEP=1))
    return Step("compare_labels", f"{y.channels} ↔ labels: {loss.name}", calls)
