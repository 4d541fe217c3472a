"""Scenarios that the tests begin with."""

from typing import Any

MINIMAL = """\
name: a
rounds: 60
model: {name: mlp}
clients:
  total: 100
  per_round: 10
  training: {lr: 0.1}
"""

FULL = """\
name: dba-vs-clip
seed: 7
rounds: 60
evaluate_every: 5
clean_twin: true
data: {dataset: {name: digits}, partition: {name: dirichlet, alpha: 0.5}}
model: {name: mlp, hidden: [32, 16], normalize: true}
clients:
  total: 100
  per_round: 10
  timeout: 60
  training: {steps: 3, batch_size: 32, lr: 1e-1, momentum: 0.9, weight_decay: 5e-4, lr_decay: 0.99}
server:
  preaggregators: [{name: clip, norm: 3.0}, {name: clip, norm: median}]
  aggregator: {name: mean, weighting: examples}
  postaggregators: [{name: gaussian_noise, std: 0.025, on: mean}]
  optimizer: {name: momentum}
  lr: {1: 1.0, 11: 1e-1}
  buffers: keep
  root_data: 0.05
  min_replies: 2
  on_too_few: stop
adversary:
  clients: [41, 73, 51, 74]
  knowledge: benign
  schedule: {rounds: [12, 14, 16, 18], turns: each, forced: true}
  poison:
    name: distributed_backdoor
    target: 2
    per_batch: 20
    trigger: {name: dba, size: 4, gap: [2, 3], shift: 0}
  training:
    epochs: 10
    lr: 0.05
    lr_milestones: [0.2, 0.8]
    constraints: [{name: projection, norm: l2, radius: 0.1}]
  attack: [{name: boost, factor: auto}, {name: boost, factor: 100}]
monitors: [{name: class_audit, window: 3}]
after:
  - {name: pruning, fall: 0.05}
  - {name: unlearning, inspection: {name: neural_cleanse, steps: 10}}
engine: {name: ray, trainer: sequential, workers: auto, num_gpus: 0.5, device: cpu}
"""


def minimal(**keys: Any) -> dict[str, Any]:
    """The minimal scenario as a mapping, with other values for some of its top-level keys."""
    training = {"lr": 0.1}
    clients = {"total": 100, "per_round": 10, "training": training}
    return {"name": "a", "rounds": 60, "model": {"name": "mlp"}, "clients": clients, **keys}
