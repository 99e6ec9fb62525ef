"""Predicts the score of a network from its genes, after learning from evaluated networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.methods.architecture_search.frontier import Frontier
from gancomp_core.methods.architecture_search.rows import Rows, rows_of
from gancomp_core.nets import Architecture, Space

A = TypeVar("A", bound=Architecture)
FEWEST = 5  # networks to learn from: one is held out


class Predictor(Generic[A]):
    """One-hot genes through an MLP with three layers of 400 ReLUs. Source: Once-for-All (arXiv 1908.09791).

    :meth:`fit` learns from evaluated networks, :meth:`predict` predicts the scores of others. The same rows and seed
    give the same predictor. ``correlation`` is Spearman's, between predicted and true scores of a fifth of the rows
    that were held out from a first training (nan before :meth:`fit`, and where the held-out scores are all equal).
    """

    def __init__(self, space: Space[A], seed: int = 0, steps: int = 300) -> None:
        self.space, self.seed, self.steps = space, seed, steps
        self.correlation, self.rows = float("nan"), 0
        self._network: nn.Module | None = None

    def fit(self, evaluated: Frontier[A] | Iterable[tuple[A, float]]) -> Predictor[A]:
        """Learn from a frontier or pairs of architecture and score, at least 5; returns itself."""
        pairs = (
            list(zip(evaluated.architectures, evaluated.table.score, strict=True))
            if isinstance(evaluated, Frontier)
            else list(evaluated)
        )
        scores = torch.tensor([float(score) for _, score in pairs])
        if len(pairs) < FEWEST or not scores.isfinite().all():
            raise GancompError(
                f"A predictor learns from at least {FEWEST} networks with finite scores, not from these {len(pairs)}; "
                "evaluate more of them, for example with search(..., strategy='random')."
            )
        return self.learn(rows_of(self.space, (architecture for architecture, _ in pairs)), scores)

    def learn(self, rows: Rows, scores: Tensor) -> Predictor[A]:
        """:meth:`fit` from index rows [N, genes] and their scores, float32 [N]."""
        x = self._one_hot(rows)
        self._mean, self._scale = scores.mean(), scores.std(unbiased=False).clamp_min(1e-12)
        y = (scores - self._mean) / self._scale
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(self.seed))
        held, rest = order[: max(1, len(x) // 5)], order[max(1, len(x) // 5) :]
        self.correlation = _rank_correlation(_output(self._trained(x[rest], y[rest]), x[held]), y[held])
        self._network, self.rows = self._trained(x, y), len(x)
        return self

    def predict(self, architectures: Iterable[A]) -> NDArray[np.float64]:
        """The predicted scores of these networks, float64 [N]."""
        return self.scores(rows_of(self.space, architectures))

    def scores(self, rows: Rows) -> NDArray[np.float64]:
        """:meth:`predict` of index rows [N, genes]."""
        if self._network is None:
            raise GancompError("This predictor has not learned yet; call fit() with evaluated networks first.")
        found = [_output(self._network, self._one_hot(part)) for part in np.array_split(rows, len(rows) // 8192 + 1)]
        scores: NDArray[np.float64] = (torch.cat(found) * self._scale + self._mean).double().numpy()
        return scores

    @property
    def fitted(self) -> bool:
        return self._network is not None

    def _one_hot(self, rows: Rows) -> Tensor:
        sizes = [len(choice) for choice in self.space.choices.values()]
        columns = [F.one_hot(torch.from_numpy(rows[:, i]), size) for i, size in enumerate(sizes) if size > 1]
        return torch.cat([*columns, torch.ones(len(rows), 1)], dim=1).float()

    def _trained(self, x: Tensor, y: Tensor) -> nn.Module:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(self.seed)
            network = nn.Sequential(
                *(nn.Linear(x.shape[1], 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU()),
                *(nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 1)),
            )
            optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
            for _ in range(self.steps):
                rows = torch.randint(len(x), (min(len(x), 256),)) if len(x) > 256 else torch.arange(len(x))
                optimizer.zero_grad()
                F.mse_loss(network(x[rows])[:, 0], y[rows]).backward()
                optimizer.step()
                schedule.step()
        return network.requires_grad_(False).eval()

    def __str__(self) -> str:
        if not self.fitted:
            return "a predictor that has not learned yet"
        return f"a predictor of {self.rows} networks, rank correlation {self.correlation:.2f} on those held out"


def _output(network: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = network(x)[:, 0].clone()
    return found


def _rank_correlation(predicted: Tensor, true: Tensor) -> float:
    if len(true) < 2 or predicted.unique().numel() < 2 or true.unique().numel() < 2:
        return float("nan")
    return float(stats.spearmanr(predicted.numpy(), true.numpy()).statistic)
