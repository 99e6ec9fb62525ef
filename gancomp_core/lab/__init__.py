"""The laboratory: experiments as data, their recorded results, the benchmark and the claims of the papers.

``experiments.yml`` lists every experiment; ``data/results/results.parquet`` holds a row for each that was done, found
by the key of what determines it (:mod:`gancomp_core.lab.experiment`).

    gancomp runs list                        # the plans, and what of them is recorded
    gancomp runs do edges2shoes/plain        # what of a plan is not recorded yet; resumes when killed
    gancomp runs show                        # the table
    gancomp search do "edges2shoes/small space"
    gancomp agd do photos_x4

The *protocol* of a task fixes what all methods share (steps, batch, pictures, metrics), so that their rows compare.
"Best" is chosen on the search split and, like "last", reported on the test split: a minimum over test scores would
flatter every method.
"""

from gancomp_core.lab.catalogue import Query, find, names, planned
from gancomp_core.lab.experiment import KINDS, PROTOCOLS, Experiment, Protocol, kind
from gancomp_core.lab.networks import architecture_of
from gancomp_core.lab.recording import do, generator_of, progress, record, record_all
from gancomp_core.lab.results import rows
from gancomp_core.lab.searches import AgdSearch, SupernetSearch, agd_search_of, agd_searches_of, frontier

__all__ = [
    "AgdSearch",
    "KINDS",
    "PROTOCOLS",
    "Experiment",
    "Protocol",
    "Query",
    "SupernetSearch",
    "agd_search_of",
    "agd_searches_of",
    "architecture_of",
    "do",
    "find",
    "frontier",
    "generator_of",
    "kind",
    "names",
    "planned",
    "progress",
    "record",
    "record_all",
    "rows",
]
