"""PyTorch, eager: float32 images prepared beforehand, fused optimiser, gradients set to None."""

import torch
from torch import nn

from .job import BETAS, EPSILON, MOMENTUM, Job, starts


def make_model(job: Job) -> nn.Sequential:
    """Return the network up to the logits; the softmax is part of the loss."""
    modules: list[nn.Module] = []
    channels, inputs = job.shape[2], 0
    for name, layer in job.named_layers():
        if layer["type"] == "conv":
            module = nn.Conv2d(channels, layer["channels"], layer["kernel_size"], padding=layer["padding"])
            channels = layer["channels"]
        elif layer["type"] == "dense":
            inputs = job.weights[f"{name}.kernel"].shape[1]
            module = nn.Linear(inputs, layer["units"])
        elif layer["type"] == "flatten":
            module = nn.Flatten()
        else:
            kind = nn.AvgPool2d if layer["type"] == "average_pool" else nn.MaxPool2d
            module = kind(layer["size"])
        modules.append(module)
        if layer.get("activation") == "relu":
            modules.append(nn.ReLU(inplace=True))  # in place: one buffer less to write
    return nn.Sequential(*modules)


class Peer:
    """Each step: a view of the batch, forward, loss, backward, update. No loss is read back, so nothing waits."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        torch.set_flush_denormal(True)  # the others do so too; denormals cost much more than the rest of a step
        self.job = job
        self.images = torch.from_numpy(job.take_float_images())
        self.labels = torch.from_numpy(job.labels)
        self.model = make_model(job)
        self.loss = nn.CrossEntropyLoss()

    def reset(self) -> None:
        """Go back to the initial weights and an empty optimiser state."""
        named = [name for name, layer in self.job.named_layers() if layer["type"] in ("conv", "dense")]
        modules = [module for module in self.model if isinstance(module, nn.Conv2d | nn.Linear)]
        with torch.no_grad():
            for name, module in zip(named, modules, strict=True):
                module.weight.copy_(torch.from_numpy(self.job.weights[f"{name}.kernel"]))
                module.bias.copy_(torch.from_numpy(self.job.weights[f"{name}.bias"]))
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
        loss = self.loss(self.model(self.images[start : start + batch]), self.labels[start : start + batch])
        loss.backward()
        self.optimizer.step()
        return loss

    def train(self, steps: int, batch: int) -> None:
        """Train on one batch after the other."""
        for start in starts(steps, batch, len(self.labels)):
            self.step(start, batch)

    def infer(self, steps: int, batch: int) -> None:
        """Answer one request of `batch` images after the other, with probabilities as NumPy arrays."""
        with torch.inference_mode():
            for start in starts(steps, batch, len(self.labels)):
                torch.softmax(self.model(self.images[start : start + batch]), 1).numpy()

    def losses(self, steps: int, batch: int) -> list[float]:
        """Return each step's mean loss."""
        return [self.step(start, batch).item() for start in starts(steps, batch, len(self.labels))]
