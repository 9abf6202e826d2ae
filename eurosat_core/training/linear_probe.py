"""A linear probe: multinomial logistic regression on features that somebody else's network computed."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_STEPS = 100  # of L-BFGS at most


@dataclass(frozen=True)
class LinearProbe:
    """weights: [classes, features], bias: [classes]."""

    weights: Tensor
    bias: Tensor

    def predict(self, features: Tensor) -> Tensor:
        """The label [n] of the highest score for features [n, features]."""
        return functional.linear(features, self.weights, self.bias).argmax(1)


def fit(features: Tensor, labels: Tensor, classes: int, strength: float = 1.0) -> LinearProbe:
    """The probe with the least summed cross-entropy plus `strength` / 2 times the squared weights (not the bias).

    It begins with zeros and the sum is convex, so nothing is drawn and the same labels give the same probe. Classes
    that no label names are never answered where another one has the higher bias.

    Args:
        features: [n, features]. labels: [n], each below `classes`.
    """
    mean = features.mean(0)  # without it the search settles sooner, on the same probe: the bias takes it in
    centred = features - mean
    if len(features) < features.shape[1]:
        # The weights lie in the span of the tiles, for what is orthogonal to all of them only costs. In coordinates of
        # that span lengths are what they were, so the probe is the same, of fewer numbers.
        basis = torch.linalg.qr(centred.T).Q
        centred = centred @ basis
    else:
        basis = None
    weights = torch.zeros(classes, centred.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=_STEPS, history_size=10, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        scores = functional.linear(centred, weights, bias)
        loss = functional.cross_entropy(scores, labels, reduction="sum") + strength / 2 * weights.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(cost)
    found = weights.detach() if basis is None else weights.detach() @ basis.T
    return LinearProbe(found, bias.detach() - found @ mean)
