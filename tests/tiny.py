"""A configuration that trains in a moment, for tests of what surrounds the training."""

TINY = """\
data: {name: digits, samples: 640, validation: 128, batch_size: 32}
network:
  layers:
    - {type: average_pool, size: 4}
    - flatten
    - {type: dense, units: 10, activation: softmax}
optimizer: {name: sgd, learning_rate: 0.1}
train: {epochs: 3}
"""
