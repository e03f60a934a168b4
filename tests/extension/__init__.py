"""Ideas that are not in the package: an activation, a loss, an optimiser's update and a layer, kernels and twins."""
