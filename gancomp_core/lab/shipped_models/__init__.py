"""The models of the zoo, each trained again by its recipe.

python -m gancomp_core.lab.shipped_models list
python -m gancomp_core.lab.shipped_models train edges2shoes/teacher  # resumes where it was killed
python -m gancomp_core.lab.shipped_models train --all
python -m gancomp_core.lab.shipped_models check --all    # evaluates the shipped weights, compares with their cards
python -m gancomp_core.lab.shipped_models table --write  # the models' table in data/README.md
"""

from gancomp_core.lab.shipped_models.recipes import RECIPES, Recipe
from gancomp_core.lab.shipped_models.training import check, regrade, shipped, table, train

__all__ = ["RECIPES", "Recipe", "check", "regrade", "shipped", "table", "train"]
