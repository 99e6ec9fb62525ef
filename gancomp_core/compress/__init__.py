"""Compress your own: any generator that runs, a folder of pictures and a budget become an int8 file and a report."""

import inspect
import sys
from types import ModuleType

from gancomp_core.compress.plan import Finished, Plan, Stage
from gancomp_core.compress.planning import make_plan
from gancomp_core.compress.report import write_report
from gancomp_core.compress.run import compress
from gancomp_core.compress.teachers import Teacher, open_teacher

__all__ = ["Finished", "Plan", "Stage", "Teacher", "compress", "make_plan", "open_teacher", "write_report"]


class _Package(ModuleType):
    """The package that is the function as well: ``gancomp_core.compress(...)``, ``gancomp_core.compress.make_plan``."""

    __call__ = staticmethod(compress)
    __signature__ = inspect.signature(compress)


sys.modules[__name__].__class__ = _Package
