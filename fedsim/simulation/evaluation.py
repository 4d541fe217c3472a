"""Scores of the global model on the test split and on the attack's probe."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fedsim.metrics.accuracy import accuracy
from fedsim.metrics.accuracy_per_class import accuracy_per_class
from fedsim.metrics.attack_success_rate import attack_success_rate
from fedsim.metrics.loss import loss
from fedsim.metrics.robust_accuracy import robust_accuracy
from fedsim.simulation.federation import Federation
from fedsim.tensors import load_buffers, load_params
from fedsim.types import to_float

BATCH = 500


def evaluate(
    federation: Federation,
    model: nn.Module,
    params: Tensor,
    buffers: Tensor,
    pattern: Tensor | None = None,
) -> dict[str, float | None]:
    """Accuracy, loss, attack success rate and robust accuracy; null where one does not apply.

    A learned trigger is measured with its current `pattern`.
    """
    predict = predictor(model, buffers)
    test, probe = federation.data.test, federation.probe_with(pattern)
    logits = predict(params, test.images)
    scores: dict[str, float | None] = {
        "accuracy": accuracy(logits, test.labels),
        "loss": _finite(loss(logits, test.labels)),
        "attack_success_rate": None,
        "robust_accuracy": None,
    }
    if probe is not None:
        logits = predict(params, probe.images)
        scores["attack_success_rate"] = attack_success_rate(logits, probe.expected)
        if probe.truth is not None:
            scores["robust_accuracy"] = robust_accuracy(logits, probe.truth)
    return scores


def per_class(
    federation: Federation, model: nn.Module, params: Tensor, buffers: Tensor
) -> list[float | None]:
    """Accuracy for each class; null for a class that the test split lacks."""
    test = federation.data.test
    logits = predictor(model, buffers)(params, test.images)
    shares = accuracy_per_class(logits, test.labels, num_classes=federation.data.num_classes)
    return [_finite(share) for share in shares.tolist()]


def predictor(model: nn.Module, buffers: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """`predict(params (d,), images) -> logits (b, k)`, in eval mode with the given buffers."""

    def predict(params: Tensor, images: Tensor) -> Tensor:
        load_params(model, params)
        load_buffers(model, buffers)
        model.eval()
        with torch.inference_mode():
            return torch.cat([model(to_float(batch)) for batch in images.split(BATCH)])

    return predict


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
