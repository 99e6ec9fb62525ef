"""What only a lesson needs: profiles, predictions, exercise checks, widgets, figures and the notebook runner."""

from gancomp_core.course.blind_test import blind_test
from gancomp_core.course.checks import check, yours
from gancomp_core.course.figures import (
    bar_by_layer,
    generator_diagram,
    labeled_rows,
    picture_grid,
    scatter_tradeoff,
    use_style,
)
from gancomp_core.course.output import show, show_table, tell
from gancomp_core.course.pad.widget import DrawingPad
from gancomp_core.course.predictions import predict, reveal
from gancomp_core.course.profiles import Profile
from gancomp_core.course.widgets import Choice, Slider, Switch, drive_all_widgets, explore, small_multiples

__all__ = [
    "Choice",
    "DrawingPad",
    "Profile",
    "Slider",
    "Switch",
    "bar_by_layer",
    "blind_test",
    "check",
    "drive_all_widgets",
    "explore",
    "generator_diagram",
    "labeled_rows",
    "picture_grid",
    "predict",
    "reveal",
    "scatter_tradeoff",
    "show",
    "show_table",
    "small_multiples",
    "tell",
    "use_style",
    "yours",
]
