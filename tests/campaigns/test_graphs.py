"""Random networks with residuals, norms and groups against PyTorch in float64: plain twins and compiled programs."""

import numpy as np
import torch
from drawn_networks import draw_graph
from harness import random_batch, random_parameters
from peer import tensor, torch_logits
from test_graphs import compare_with_torch
from torch.nn import functional

from lenumba.engine.explain import plain


def differences(seed: int) -> float:
    """Return how far a drawn network's twins are from PyTorch: loss, every gradient and evaluation, of their size."""
    network, _ = draw_graph(seed)
    theta, (images, labels) = random_parameters(network, seed), random_batch(network, 5, seed)
    x, views = images / 255.0, network.views(theta)
    leaves = {name: tensor(view, network.parameters[name].learned) for name, view in views.items()}
    with torch.no_grad():
        evaluated = torch_logits(network, leaves, x).numpy()
    found = plain.forward(network, views, x)[-1].reshape(evaluated.shape)
    worst = np.abs(found - evaluated).max() / max(1.0, np.abs(evaluated).max())
    loss = functional.cross_entropy(torch_logits(network, leaves, x, training=True), torch.tensor(labels))
    loss.backward()
    ours, _, gradients = plain.loss_and_gradients(network, views, x, labels, batch=True)
    worst = max(worst, abs(ours - loss.item()))
    slopes = {name: leaves[name].grad.numpy() for name in gradients}
    largest = max(np.abs(slope).max() for slope in slopes.values())
    return max(worst, *(np.abs(gradients[name] - slope).max() / largest for name, slope in slopes.items()))


def test_twins_of_networks_that_branch_compute_what_pytorch_does(campaign):
    count = campaign.size(8, 500)
    worst = max(differences(seed) for seed in range(1000, 1000 + count))
    assert worst < 1e-9
    campaign.note(f"graphs: {count} random networks' twins, loss, gradients, evaluation: within {worst:.1e} of PyTorch")


def test_programs_of_networks_that_branch_train_as_pytorch_does(campaign):
    count = campaign.size(0, 60)
    errors = [compare_with_torch(seed) for seed in range(100, 100 + count)]
    assert max(errors, default=0.0) < 2e-3
    campaign.note(
        f"graphs: {count} programs, weights and statistics after 5 steps: within {max(errors, default=0):.1e}"
    )
