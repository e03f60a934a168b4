"""PyTorch, eager: float32 images prepared beforehand, fused optimiser, gradients set to None."""

import torch
from torch import nn

from .job import BETAS, EPSILON, MOMENTUM, Job, starts


class Residual(nn.Module):
    """Two ways, and their sum."""

    def __init__(self, way: nn.Module, short: nn.Module) -> None:
        super().__init__()
        self.way, self.short = way, short

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what both ways make of x."""
        return self.way(x).add_(self.short(x))


class Builder:
    """Makes modules of layers; `named` are those with weights, by lenumba's names, which count layers of a kind."""

    def __init__(self, job: Job) -> None:
        self.job, self.named = job, {}
        self.counts: dict[str, int] = {}

    def chain(self, layers: list[dict], channels: int) -> tuple[nn.Sequential, int]:
        """Return the layers one behind the other, and how many channels come out."""
        modules: list[nn.Module] = []
        for layer in layers:
            kind = layer["type"].removesuffix("_conv")
            self.counts[kind] = self.counts.get(kind, 0) + 1
            name = f"{kind}{self.counts[kind]}"
            if kind == "residual":
                way, after = self.chain(layer["layers"], channels)
                short, _ = self.chain(layer["shortcut"], channels)
                modules.append(Residual(way, short))
                channels = after
            else:
                before, channels = channels, layer.get("channels", layer.get("units", channels))
                modules += self.modules(name, layer, before, channels)
            if layer.get("norm") == "batch":
                modules.append((nn.BatchNorm1d if kind == "dense" else nn.BatchNorm2d)(channels))
                self.named[f"{name}_norm"] = modules[-1]
            if layer.get("activation") == "relu":
                modules.append(nn.ReLU(inplace=True))  # in place: one buffer less to write
        return nn.Sequential(*modules), channels

    def modules(self, name: str, layer: dict, before: int, channels: int) -> list[nn.Module]:
        """Return what computes a layer, without norm and activation."""
        if layer["type"] in ("conv", "depthwise_conv"):
            size, stride, padding = (layer.get(key, default) for key, default in zip(WINDOW, (None, 1, 0), strict=True))
            groups = before if layer["type"] == "depthwise_conv" else 1
            self.named[name] = nn.Conv2d(before, channels, size, stride, padding, groups=groups)
            return [self.named[name]]
        if layer["type"] == "dense":
            self.named[name] = nn.Linear(self.job.weights[f"{name}.kernel"].shape[1], channels)
            return (
                [self.named[name]]
                if self.job.shape[:2] != (1, 1) or name != "dense1"
                else [nn.Flatten(), self.named[name]]
            )
        if layer["type"] == "flatten":
            return [nn.Flatten()]
        if layer["type"] == "global_average_pool":
            return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return [(nn.AvgPool2d if layer["type"] == "average_pool" else nn.MaxPool2d)(layer["size"])]


WINDOW = ("kernel_size", "stride", "padding")


class Peer:
    """Each step: a view of the batch, forward, loss, backward, update. No loss is read back, so nothing waits."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        torch.set_flush_denormal(True)  # the others do so too; denormals cost much more than the rest of a step
        self.job = job
        self.images = torch.from_numpy(job.take_float_images())
        self.labels = torch.from_numpy(job.labels)
        builder = Builder(job)
        self.model = builder.chain(job.layers, job.shape[2])[0]  # up to the logits; the softmax is part of the loss
        self.named = builder.named
        self.of_input = job.target == "input"
        self.loss = nn.MSELoss() if self.of_input else nn.CrossEntropyLoss()
        self.truth = self.images.flatten(1) if self.of_input else self.labels

    def reset(self) -> None:
        """Go back to the initial weights and an empty optimiser state."""
        self.model.train()
        with torch.no_grad():
            for name, module in self.named.items():
                for key, tensor in module.state_dict().items():
                    key = "kernel" if key == "weight" and not name.endswith("_norm") else key
                    if key != "num_batches_tracked":
                        tensor.copy_(torch.from_numpy(self.job.weights[f"{name}.{key}"]))
        # fused: the quickest of PyTorch's variants on a CPU, one kernel for all parameters.
        if self.job.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(self.model.parameters(), self.job.rate, MOMENTUM, fused=True)
        else:
            self.optimizer = torch.optim.AdamW(
                self.model.parameters(), self.job.rate, BETAS, EPSILON, weight_decay=0, fused=True
            )

    def step(self, start: int, batch: int) -> torch.Tensor:
        """Train on one batch and return its loss, not read back."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model(self.images[start : start + batch]), self.truth[start : start + batch])
        loss.backward()
        self.optimizer.step()
        return loss

    def train(self, steps: int, batch: int) -> None:
        """Train on one batch after the other."""
        for start in starts(steps, batch, len(self.labels)):
            self.step(start, batch)

    def infer(self, steps: int, batch: int) -> None:
        """Answer one request of `batch` images after the other, with probabilities as NumPy arrays."""
        self.model.eval()
        with torch.inference_mode():
            for start in starts(steps, batch, len(self.labels)):
                outputs = self.model(self.images[start : start + batch])
                (outputs if self.of_input else torch.softmax(outputs, 1)).numpy()

    def losses(self, steps: int, batch: int) -> list[float]:
        """Return each step's mean loss."""
        return [self.step(start, batch).item() for start in starts(steps, batch, len(self.labels))]
