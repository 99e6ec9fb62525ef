"""Search a space of architectures for the best network within a budget.

One function, :func:`search`, for all strategies: every network, evolution (Real et al. 2019, as in GAN Compression and
Once-for-All), a controller trained by reinforcement (Zoph and Le 2017), random search; with true scores or a predictor.
"""

from gancomp_core.methods.architecture_search.budget import Budget
from gancomp_core.methods.architecture_search.frontier import Frontier
from gancomp_core.methods.architecture_search.latency_table import LatencyError, LatencyTable
from gancomp_core.methods.architecture_search.predictor import Predictor
from gancomp_core.methods.architecture_search.rows import costs
from gancomp_core.methods.architecture_search.running import STRATEGIES, search
from gancomp_core.methods.architecture_search.scores import Evaluations, SupernetScore

__all__ = [
    "STRATEGIES",
    "Budget",
    "Evaluations",
    "Frontier",
    "LatencyError",
    "LatencyTable",
    "Predictor",
    "SupernetScore",
    "costs",
    "search",
]
