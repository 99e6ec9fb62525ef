"""The models of the zoo, each trained again as the list of experiments says.

gancomp zoo list
gancomp zoo train edges2shoes/teacher  # resumes where it was killed
gancomp zoo train --all
gancomp zoo check --all    # evaluates the shipped weights, compares with their cards
gancomp zoo table --write  # the models' table in data/README.md
"""

from gancomp_core.lab.shipped_models.models import Model, model_of, models
from gancomp_core.lab.shipped_models.training import check, evaluate, in_order, shipped, table, train

__all__ = ["Model", "check", "evaluate", "in_order", "model_of", "models", "shipped", "table", "train"]
