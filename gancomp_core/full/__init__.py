"""Every method at its paper's size: named plans, what they take on this machine, and the runs."""

from gancomp_core.full.plans import Plan, plan_of, plans
from gancomp_core.full.running import Estimate, estimate, pictures_of, run

__all__ = ["Estimate", "Plan", "estimate", "pictures_of", "plan_of", "plans", "run"]
