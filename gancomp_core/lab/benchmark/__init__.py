"""The benchmark of everything: all methods under one teacher, one data set and one clock, in float32 and in int8.

    gancomp benchmark list            # the rows, and what of them is measured
    gancomp benchmark do              # whatever is missing: trains, quantises, scores, times
    gancomp benchmark do edges2shoes  # of one task; resumes when killed, times all
    gancomp benchmark time            # latency and memory alone, in fifteen rounds, resumable
    gancomp benchmark show edges2shoes
    gancomp benchmark headline        # write its shipped files anew: ONNX network and picture
    gancomp benchmark claims          # what the papers claim, and what holds here

A row of the table is an :class:`Entry`: a method and a network. Its float scores are those of recorded runs
(:mod:`gancomp_core.lab.runs`), done before or now. For int8 a network is trained again where its weights are gone,
exported, and scored in onnxruntime. Teachers are tried in lighter weights, too: half precision, weight-only int8, zeros
without structure. Results lie in ``data/results/int8.parquet``, ``lighter_weights.parquet`` and ``latency.parquet``,
each with machine class and commit.
"""

from gancomp_core.lab.benchmark.claims import STATUSES, Claim, claims, for_readme, ledger, verdict, write_claims
from gancomp_core.lab.benchmark.compressed import COMPRESSED, LIGHTER, LIGHTER_FORMS, compressed, lighter
from gancomp_core.lab.benchmark.doing import do, progress, summary
from gancomp_core.lab.benchmark.entries import TASKS, Entry, Member, entries, entry
from gancomp_core.lab.benchmark.pictures import headline_files, headline_picture, write_headline
from gancomp_core.lab.benchmark.published import Published, costs, milliseconds, published
from gancomp_core.lab.benchmark.tables import Headline, by_seed, differences, headline, scores, table
from gancomp_core.lab.benchmark.timing import TIMES, timed

__all__ = [
    "COMPRESSED",
    "LIGHTER",
    "LIGHTER_FORMS",
    "STATUSES",
    "TASKS",
    "TIMES",
    "Claim",
    "Entry",
    "Headline",
    "Member",
    "Published",
    "by_seed",
    "claims",
    "compressed",
    "costs",
    "differences",
    "do",
    "entries",
    "entry",
    "for_readme",
    "headline",
    "headline_files",
    "headline_picture",
    "ledger",
    "lighter",
    "milliseconds",
    "progress",
    "published",
    "scores",
    "summary",
    "table",
    "timed",
    "verdict",
    "write_claims",
    "write_headline",
]
