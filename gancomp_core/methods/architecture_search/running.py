"""The function that searches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch

from gancomp_core.errors import GancompError
from gancomp_core.methods.architecture_search import strategies
from gancomp_core.methods.architecture_search.budget import Budget
from gancomp_core.methods.architecture_search.candidates import Candidates
from gancomp_core.methods.architecture_search.frontier import Frontier
from gancomp_core.methods.architecture_search.latency_table import LatencyTable
from gancomp_core.methods.architecture_search.predictor import FEWEST, Predictor
from gancomp_core.methods.architecture_search.rows import Rows
from gancomp_core.methods.architecture_search.scores import Evaluations
from gancomp_core.nets import Architecture, Space

A = TypeVar("A", bound=Architecture)
STRATEGIES: dict[str, strategies.Strategy] = {
    "brute force": strategies.brute_force,
    "evolution": strategies.evolution,
    "random": strategies.random_search,
    "controller": strategies.controller,
}
EVALUATIONS = 200
IMAGINED = 2_000  # networks that a search on a predictor looks at


def search(
    space: Space[A],
    score: Callable[[A], float] | Evaluations[A],
    budget: Budget,
    strategy: str = "evolution",
    *,
    pixels: tuple[int, int] | LatencyTable,
    evaluations: int | None = None,
    seed: int = 0,
    predictor: Predictor[A] | None = None,
    ends: Callable[[int], bool] | None = None,
) -> Frontier[A]:
    """Find the network with the lowest score that a budget admits.

    The same ``seed`` gives the same frontier. Evaluations of a score with a ``key`` are cached, so that a killed search
    continues where it was.

    With a predictor the strategy works on predicted scores, and only the best networks of those are evaluated. A
    predictor that has not learned yet learns first, from three quarters of the evaluations, drawn at random.

    Args:
        space: The space to search.
        score: Maps an architecture to a number, lower for better networks (:class:`SupernetScore`);
            ``Evaluations(score, executor, cache)`` distributes the work (:mod:`gancomp_core.executors`), or stores it
            elsewhere.
        budget: Limits on the costs.
        strategy: "brute force", "evolution", "random" or "controller".
        pixels: Height and width of the pictures that the costs are for, or a latency table for them, which a budget of
            milliseconds needs.
        evaluations: The most networks that are evaluated, none twice; None: 200, with "brute force" all that the budget
            admits.
        seed: Seed of the search.
        predictor: Predicts scores.
        ends: Gets the number of evaluated networks, asked before each next one; where it says True, the search ends.

    Returns:
        The frontier of all networks that were evaluated.

    Raises:
        GancompError: For a budget that no network keeps (at once, with the reachable range), an unknown strategy, brute
            force in a space that is too large, and a score that is not finite.
    """
    _check(space, budget, strategy, pixels, evaluations, predictor)
    latency = pixels if isinstance(pixels, LatencyTable) else None
    candidates = Candidates(space, budget, _size(pixels), latency, np.random.default_rng(seed))
    if strategy == "brute force":
        _check_all(candidates, evaluations, predictor)
    count = min(
        evaluations or (len(candidates) if strategy == "brute force" and not predictor else EVALUATIONS),
        len(candidates),
    )
    evaluate = score if isinstance(score, Evaluations) else Evaluations(score)
    history = strategies.History(lambda rows: evaluate([space.decode(row) for row in rows]), ends)
    with contextlib.suppress(strategies.EndedError):
        if predictor is None:
            STRATEGIES[strategy](candidates, history, count)
        else:
            _on_predictions(STRATEGIES[strategy], candidates, history, count, predictor)
    return _frontier(space, candidates, history)


def _on_predictions(
    strategy: strategies.Strategy,
    candidates: Candidates,
    history: strategies.History,
    count: int,
    predictor: Predictor[A],
) -> None:
    """Search among predicted scores, then evaluate the best of them."""
    if not predictor.fitted:
        history.add(candidates.fresh(min(count, max(FEWEST, 3 * count // 4)), history.scores))
        if len(history.scores) < FEWEST:
            return  # there are no more: all are evaluated
        predictor.learn(np.array(list(history.scores)), torch.tensor(list(history.scores.values())))
    imagined = strategies.History(lambda rows: predictor.scores(np.array(rows)).tolist())
    strategy(
        candidates,
        imagined,
        min(IMAGINED if strategy is not strategies.brute_force else len(candidates), len(candidates)),
    )
    left = count - len(history.scores)
    new = [row for row in imagined.best(count + len(history.scores)) if row not in history.scores]
    history.add(new[:left])


def _frontier(space: Space[A], candidates: Candidates, history: strategies.History) -> Frontier[A]:
    rows: Rows = np.array(list(history.scores), dtype=np.int64)
    table = candidates.table(rows)
    table.insert(0, "architecture", [space.name(space.decode(row)) for row in rows])
    table["score"] = list(history.scores.values())
    table["order"] = np.arange(1, len(table) + 1)
    return Frontier(pd.DataFrame(table), space)


def _check(
    space: Space[A],
    budget: Budget,
    strategy: str,
    pixels: tuple[int, int] | LatencyTable,
    evaluations: int | None,
    predictor: Predictor[A] | None,
) -> None:
    if not isinstance(space, Space):
        raise GancompError(
            f"A search needs a space of architectures, not a {type(space).__name__}; ArchitectureSpace(base, channels) "
            "makes one of the choices for the channels, GeneSpace(base, genes) one of any architecture."
        )
    if strategy not in STRATEGIES:
        raise GancompError(f"There is no strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}.")
    size = _size(pixels)
    if not isinstance(size, tuple) or len(size) != 2:
        raise GancompError(f"pixels is {pixels!r}; give height and width of the pictures, such as (32, 32).")
    if evaluations is not None and evaluations < 1:
        raise GancompError(f"evaluations is a whole number from 1, not {evaluations}; {EVALUATIONS} is usual.")
    if budget.latency_ms is not None and not isinstance(pixels, LatencyTable):
        raise GancompError(
            "A budget of milliseconds needs a latency table of this machine: "
            "pass pixels=LatencyTable.build(space, (height, width))."
        )
    if budget.latency_ms is not None and isinstance(pixels, LatencyTable) and pixels.runtime != budget.runtime:
        raise GancompError(
            f"The budget is of milliseconds in {budget.runtime}, and the latency table of those in {pixels.runtime}; "
            f"pass pixels=LatencyTable.build(space, (height, width), runtime={budget.runtime!r})."
        )
    if predictor is not None and predictor.space != space:
        raise GancompError("The predictor is one of another space; make one with Predictor(space).")
    genes, widths = space.narrowest.genes, space.base.width_genes
    for name, choice in space.choices.items():  # sizes that some network cannot take, before anything is evaluated
        for gene in choice if name not in widths else ():
            space.base.with_genes({**genes, name: gene}).cost(*size)


def _size(pixels: tuple[int, int] | LatencyTable) -> tuple[int, int]:
    return pixels.pixels if isinstance(pixels, LatencyTable) else pixels


def _check_all(candidates: Candidates, evaluations: int | None, predictor: Predictor[Any] | None) -> None:
    if candidates.all is None:
        raise GancompError(
            f"A space of {candidates.space.size:,} networks is too large for brute force; use strategy='evolution'."
        )
    if predictor is None and evaluations is not None and evaluations < len(candidates):
        raise GancompError(
            f"Brute force needs {len(candidates):,} evaluations, as many as the budget admits networks, "
            f"not {evaluations:,}; leave evaluations out or use strategy='evolution'."
        )
