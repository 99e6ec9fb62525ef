"""AutoGAN-Distiller: gradient descent chooses operators and widths of a student while it learns (arXiv 2006.08198).

Fu et al., ICML 2020. A supernet holds every operator of every layer. What is chosen are numbers, too: operators are
mixed by a softmax of their preferences, widths are drawn by a straight-through Gumbel softmax, and both preferences
learn by gradient, from the pictures of a teacher and from a price on multiply-accumulates. No discriminator plays.
"""

from gancomp_core.methods.agd.choices import Choices, Controller, MacTable, kept_channels
from gancomp_core.methods.agd.searching import (
    Search,
    SearchScene,
    derived_from,
    for_choices,
    for_weights,
    halves,
    search,
    settled,
)
from gancomp_core.methods.agd.students import (
    TaughtScene,
    default_objective,
    describe,
    from_teacher,
    random_architectures,
    taught,
    train_derived,
)

__all__ = [
    "derived_from",
    "Choices",
    "Controller",
    "MacTable",
    "Search",
    "SearchScene",
    "TaughtScene",
    "default_objective",
    "describe",
    "for_choices",
    "for_weights",
    "from_teacher",
    "halves",
    "kept_channels",
    "random_architectures",
    "search",
    "settled",
    "taught",
    "train_derived",
]
