"""The models of the zoo, each trained again by its recipe.

gancomp zoo list
gancomp zoo train edges2shoes/teacher  # resumes where it was killed
gancomp zoo train --all
gancomp zoo check --all                # evaluates the shipped weights, compares with their cards
gancomp zoo table --write              # the models' table in data/README.md
"""

from gancomp_core.lab.shipped_models.recipes import RECIPES, Recipe
from gancomp_core.lab.shipped_models.training import check, evaluate, in_order, shipped, table, train

__all__ = ["RECIPES", "Recipe", "check", "evaluate", "in_order", "shipped", "table", "train"]
