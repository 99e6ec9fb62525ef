"""AutoGAN-Distiller: gradient descent chooses operators and widths of a student while it learns (arXiv 2006.08198).

Fu et al., ICML 2020. A supernet holds every operator of every layer. The choices are numbers, too: operators are mixed
by a softmax of their preferences, widths are drawn by a straight-through Gumbel softmax, and both preferences learn by
gradient, from the pictures of a teacher and from a penalty on multiply-accumulates. There is no discriminator.
"""

from gancomp_core.methods.agd.choices import Choices, Controller, MacTable, PriceControl, kept_channels
from gancomp_core.methods.agd.searching import HalvedBatches, Search, SearchOutputs, derived_from, search, settled
from gancomp_core.methods.agd.students import (
    default_objective,
    describe,
    from_teacher,
    pictures_with_teacher,
    random_architectures,
    train_derived,
)

__all__ = [
    "Choices",
    "Controller",
    "HalvedBatches",
    "MacTable",
    "PriceControl",
    "Search",
    "SearchOutputs",
    "default_objective",
    "derived_from",
    "describe",
    "from_teacher",
    "kept_channels",
    "pictures_with_teacher",
    "random_architectures",
    "search",
    "settled",
    "train_derived",
]
