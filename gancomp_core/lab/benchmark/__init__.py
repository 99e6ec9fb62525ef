"""The benchmark of everything: all methods under one teacher, one data set and one clock, in float32 and in int8.

    gancomp benchmark list              # the rows, and what of them is measured
    gancomp benchmark do                # what is missing: trains, quantizes, scores, times
    gancomp benchmark do edges2shoes    # of one task; resumes when killed, times all
    gancomp benchmark time              # latency and memory alone, in fifteen rounds, resumable
    gancomp benchmark show edges2shoes
    gancomp benchmark headline          # write its shipped files again: ONNX network and picture
    gancomp benchmark add my_method.py  # a method of your own beside the others
    gancomp benchmark claims            # what the papers claim, and what holds here
    gancomp benchmark power             # how many more seeds the undecided claims take

A row of the table is a query over the list of experiments: a method and a network. Its float scores are those of
recorded runs. For int8 a network is trained again where its weights are gone, exported, and scored in onnxruntime.
Teachers are tried in compressed weights, too: half precision, weight-only int8, zeros without structure.
"""

from gancomp_core.lab.benchmark.claims import Claim, claims, decided, effects, ledger, power, write_claims
from gancomp_core.lab.benchmark.compressed import WEIGHT_FORMS
from gancomp_core.lab.benchmark.doing import do, do_row, outcome, plan, progress, summary
from gancomp_core.lab.benchmark.pages import for_readme, in_notebook, page, said, write_pages
from gancomp_core.lab.benchmark.pictures import headline_files, headline_picture, write_headline
from gancomp_core.lab.benchmark.published import Published, costs, milliseconds, published
from gancomp_core.lab.benchmark.rows import BEGUN, COMBINED, HEADLINES, TASKS, TEACHER, Row, row, rows
from gancomp_core.lab.benchmark.tables import Headline, by_seed, differences, headline, scores, table
from gancomp_core.lab.benchmark.timing import timed
from gancomp_core.lab.benchmark.verdicts import STATUSES, Effect, alone, together

__all__ = [
    "BEGUN",
    "COMBINED",
    "HEADLINES",
    "STATUSES",
    "TASKS",
    "TEACHER",
    "WEIGHT_FORMS",
    "Claim",
    "Effect",
    "Headline",
    "Published",
    "Row",
    "alone",
    "by_seed",
    "claims",
    "costs",
    "decided",
    "differences",
    "do",
    "do_row",
    "effects",
    "for_readme",
    "headline",
    "headline_files",
    "headline_picture",
    "in_notebook",
    "ledger",
    "milliseconds",
    "outcome",
    "page",
    "plan",
    "power",
    "progress",
    "published",
    "row",
    "rows",
    "said",
    "scores",
    "summary",
    "table",
    "timed",
    "together",
    "write_claims",
    "write_headline",
    "write_pages",
]
