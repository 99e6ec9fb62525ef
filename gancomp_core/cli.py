"""The command line of the project: ``gancomp``, also ``python -m gancomp_core``.

Everything slow is imported by the command that needs it, so that ``gancomp --help`` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gancomp_core import __version__
from gancomp_core.errors import GancompError

if TYPE_CHECKING:
    Groups = argparse._SubParsersAction[ArgumentParser]

DESCRIPTION = """Make image-generating GANs 10 to 20 times cheaper: trained models, recorded experiments, the course.

Whatever takes long can be killed and started again: it continues from its last checkpoint. What is recorded already
is not computed again. Checkpoints and features are in .cache, or in the folder that GANCOMP_CACHE names."""

EXAMPLES = """examples:
  gancomp compress generator.onnx --pictures photos --budget "macs/12, 200 kB"
                                            a small int8 file of your own generator, and a report
  gancomp zoo list                          the trained models, and what each is for
  gancomp zoo check edges2shoes/teacher     does a model still score what its card says?
  gancomp benchmark show edges2shoes        every method side by side, in float32 and in int8
  gancomp benchmark claims                  what the papers claim, and what holds here
  gancomp full pix2pix-teacher --pictures photos --dry-run
                                            what a training of a paper's size takes on this machine
  gancomp course run 00 03-05               execute four notebooks without a browser
  gancomp demo --open                       draw, and two networks paint: a page that needs no server

'gancomp COMMAND --help' explains a command. Exit status: 0 done, 1 an error or a difference (one sentence says which),
2 a wrong call, 130 interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after ``gancomp``; those of this process when left out.

    Returns:
        The exit status: 0 done, 1 an error (one sentence on stderr) or a difference that was looked for, 2 a wrong
        call, 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    run: Callable[[Namespace], int | None] = options.run
    try:
        return run(options) or 0
    except GancompError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has seen enough, as in `gancomp runs show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="gancomp",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gancomp {__version__}")
    groups = _commands(parser)
    for add in (_add_compress, _add_zoo, _add_runs, _add_search, _add_agd, _add_benchmark, _add_full, _add_course,
                _add_demo):  # fmt: skip
        add(groups)
    return parser


def _commands(parser: ArgumentParser) -> Groups:
    """Room for sub-commands; called without one, the parser explains itself."""

    def explain(options: Namespace) -> int:
        parser.print_help()
        return 2

    parser.set_defaults(run=explain)
    return parser.add_subparsers(title="commands", metavar="COMMAND")


def _group(groups: Groups, name: str, summary: str, description: str = "") -> Groups:
    formatter = argparse.RawDescriptionHelpFormatter
    text = description or summary[0].upper() + summary[1:] + "."
    return _commands(groups.add_parser(name, help=summary, description=text, formatter_class=formatter))


def _command(group: Groups, name: str, run: Callable[[Namespace], int | None], summary: str) -> ArgumentParser:
    parser = group.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(run=run, parser=parser)
    return parser


def _say_when() -> None:
    """Progress of long commands on stderr, with the time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


def _add_workers(parser: ArgumentParser) -> None:
    """Where the work is done; :func:`gancomp_core.executors.chosen` takes both."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="processes of this machine; default: this one alone")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster, such as tcp://host:8786")


# --- compress -------------------------------------------------------------------------------------------------------


def _add_compress(groups: Groups) -> None:
    parser = _command(
        groups, "compress", _compress, "turn any generator into a small int8 network with pictures like its own"
    )
    parser.description = (
        "Make a small int8 network whose pictures are like those of a generator of yours, with a report of what it "
        "costs and how close it is. The plan fits the minutes and is printed first. A run that was killed goes on "
        "where it was when the same command is given again."
    )
    parser.add_argument("teacher", metavar="TEACHER", help="a file, or a model of the zoo such as flat2gloss/teacher")
    parser.add_argument("--pictures", required=True, metavar="FOLDER", help="pictures that the generator may get")
    parser.add_argument(
        "--budget", default="macs/12", help='limits such as "macs/12, 5 ms, 200 kB"; default: %(default)s'
    )
    parser.add_argument("--minutes", type=float, default=40.0, help="for everything; default: 40")
    parser.add_argument("--size", type=int, help="height and width in pixels; default: the generator's, or up to 256")
    parser.add_argument("--runtime", default="onnxruntime", help="onnxruntime (default) or openvino")
    parser.add_argument(
        "--out", type=Path, default=Path("compressed"), help="folder for all files; default: compressed"
    )
    parser.add_argument("--weights", type=Path, help="weights for 'file.py:function'")
    parser.add_argument("--value-range", help="what the generator takes, such as '[0, 1]'; default: found out")
    parser.add_argument("--in-channels", type=int, help="channels that it takes; default: found out")
    parser.add_argument("--output", help="name or number of the output that is the picture, where there are several")
    parser.add_argument("--opset", type=int, default=20, help="of the ONNX files; default: 20")
    parser.add_argument("--seed", type=int, default=0, help="of everything random; default: 0")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")


def _compress(options: Namespace) -> None:
    from gancomp_core.compress import compress, make_plan, open_teacher
    from gancomp_core.compress.pictures import probe

    _say_when()
    opening = {name: getattr(options, name) for name in ("weights", "value_range", "in_channels", "output")}
    teacher = open_teacher(options.teacher, probe=probe(options.pictures), **opening)
    how = {name: getattr(options, name) for name in ("budget", "minutes", "size", "runtime", "opset", "seed")}
    if options.dry_run:
        print(make_plan(teacher, options.pictures, **how))
        return
    finished = compress(teacher, options.pictures, out=options.out, **how)
    print(f"{finished.files['int8']}\n{finished.folder / 'report.html'}")


# --- zoo ------------------------------------------------------------------------------------------------------------

ZOO = """The trained models that ship with the project, in data/zoo.

A training that was killed continues where it was; one that finished is not repeated but evaluated again: its
checkpoint is in .cache/zoo (or below GANCOMP_CACHE). Delete it to train from scratch."""


def _add_zoo(groups: Groups) -> None:
    group = _group(groups, "zoo", "the trained models: list, train, check", ZOO)
    _command(group, "list", _zoo_list, "list the models, and what each is for")
    train = _command(group, "train", _zoo_train, "train models by their recipes; write weights, card and pictures")
    check = _command(
        group, "check", _zoo_check, "measure shipped weights again and print every difference from their cards"
    )
    evaluate = _command(
        group, "evaluate", _zoo_evaluate, "measure shipped weights again and write scores and pictures into their cards"
    )
    for parser in (train, check, evaluate):
        parser.add_argument("names", nargs="*", metavar="MODEL", help="models, for example edges2shoes/teacher")
        parser.add_argument("--all", action="store_true", help="every model")
    table = _command(group, "table", _zoo_table, "print all shipped models as a Markdown table, from their cards")
    table.add_argument("--write", action="store_true", help="also write it into data/README.md")


def _chosen(options: Namespace, weights: bool = False) -> list[str]:
    """The models that were named, or all; ``weights``: only those that ship some."""
    from gancomp_core.lab.shipped_models import in_order

    if not (options.all or options.names):
        options.parser.error("name a model, or pass --all; 'gancomp zoo list' prints the names")
    return in_order(weights) if options.all else options.names


def _zoo_list(options: Namespace) -> None:
    from gancomp_core.lab.shipped_models import model_of, models

    for name in sorted(models()):
        print(f"{name}: {model_of(name).summary}")


def _zoo_train(options: Namespace) -> None:
    from gancomp_core.lab.shipped_models import train

    _say_when()
    for name in _chosen(options):
        print(f"{name}: {train(name).card['quality']['text']}", flush=True)


def _zoo_check(options: Namespace) -> int:
    from gancomp_core.lab.shipped_models import check

    _say_when()
    chosen, wrong = _chosen(options), 0
    for name in chosen:
        found = check(name)
        print("\n".join(found) or f"{name}: agrees with its card", flush=True)
        wrong += bool(found)
    print(f"{len(chosen) - wrong} of {len(chosen)} models agree with their cards.")
    return 1 if wrong else 0


def _zoo_evaluate(options: Namespace) -> None:
    from gancomp_core.lab.shipped_models import evaluate

    _say_when()
    for name in _chosen(options, weights=True):
        print(f"{name}: {evaluate(name).card['quality']['text']}", flush=True)


def _zoo_table(options: Namespace) -> None:
    from gancomp_core.lab.shipped_models import table

    print(table(options.write), end="")


# --- runs -----------------------------------------------------------------------------------------------------------


def _add_runs(groups: Groups) -> None:
    group = _group(groups, "runs", "the recorded trainings of the course: list, do, show")
    _command(group, "list", _runs_list, "list the plans, and how much of each is recorded")
    do = _command(group, "do", _runs_do, "train what is not recorded yet of a plan, and print its rows")
    do.add_argument("plans", nargs="+", metavar="PLAN", help="plans, for example edges2shoes/plain")
    _add_workers(do)
    _command(group, "show", _runs_show, "print every recorded run")


def _runs_list(options: Namespace) -> None:
    _list("runs", "runs")


def _list(section: str, what: str) -> None:
    from gancomp_core.lab import progress

    for row in progress(section).itertuples():
        spent = f", {row.minutes:.0f} minutes of training" if row.minutes else ""
        print(f"{row.name}: {row.recorded} of {row.planned} {what} recorded{spent}")


def _runs_do(options: Namespace) -> None:
    from gancomp_core.executors import chosen
    from gancomp_core.lab import do, planned, record_all

    _say_when()
    columns = ("kind", "spec", "seed", "fd_last", "kid_last", "psnr_last", "psnr_y_photos_last", "minutes")
    experiments = [each for name in options.plans for each in planned(name)]
    with chosen(options.workers, options.scheduler) as executor:
        record_all(experiments, executor)
    for name in options.plans:
        print(do(name).filter(columns).to_string(index=False))


def _runs_show(options: Namespace) -> None:
    from gancomp_core.lab import rows

    print(rows().to_string(index=False))


# --- searches -------------------------------------------------------------------------------------------------------


def _named(options: Namespace, section: str, command: str) -> list[str]:
    """The experiments that were named, or all: hours of work, so nobody begins them by leaving a name out."""
    from gancomp_core.lab import names

    if not (options.all or options.names):
        options.parser.error(f"name a search, or pass --all; 'gancomp {command} list' prints the names")
    return names(section) if options.all else options.names


def _add_search(groups: Groups) -> None:
    group = _group(groups, "search", "the recorded searches in supernets: list, do")
    _command(group, "list", _search_list, "list the searches")
    do = _command(group, "do", _search_do, "do searches and record the networks they evaluated")
    do.add_argument("names", nargs="*", metavar="SEARCH", help='for example "edges2shoes/small space"')
    do.add_argument("--all", action="store_true", help="every search")
    _add_workers(do)


def _search_list(options: Namespace) -> None:
    _list("searches", "searches")


def _search_do(options: Namespace) -> None:
    from gancomp_core.executors import chosen
    from gancomp_core.lab import do, frontier

    names = _named(options, "searches", "search")
    _say_when()
    with chosen(options.workers, options.scheduler) as executor:
        for name in names:
            do(name, "searches", executor)
            print(frontier(name))


def _add_agd(groups: Groups) -> None:
    group = _group(groups, "agd", "the recorded searches by gradient descent (AGD), and at random: list, do")
    _command(group, "list", _agd_list, "list the searches")
    do = _command(group, "do", _agd_do, "search for operators and widths, and record how the preferences moved")
    do.add_argument("names", nargs="*", metavar="SEARCH", help="for example photos_x4")
    do.add_argument("--all", action="store_true", help="every search")


def _agd_list(options: Namespace) -> None:
    _list("agd", "searches")


def _agd_do(options: Namespace) -> None:
    from gancomp_core.lab import agd_searches_of, do

    _say_when()
    for name in _named(options, "agd", "agd"):
        do(name, "agd")
        for found in agd_searches_of(name):
            seed = f", seed {found.experiment.seed}" if found.experiment.seed else ""
            print(f"{name}{seed}: {found.architecture} ({found.row['minutes']} minutes)")


# --- benchmark ------------------------------------------------------------------------------------------------------


def _add_benchmark(groups: Groups) -> None:
    group = _group(
        groups, "benchmark", "all methods under one teacher and one clock: list, do, add, show, claims, power"
    )
    steps = "complete the rows: train, quantize and score what is missing, then time everything"
    do = _command(group, "do", _benchmark_do, steps)
    _add_workers(do)
    for parser in (
        _command(group, "list", _benchmark_list, "list the rows, and what of them is measured"),
        do,
        _command(group, "show", _benchmark_show, "print scores and costs of all rows"),
    ):
        parser.add_argument("tasks", nargs="*", metavar="TASK", help="for example edges2shoes; default: all")
    add = _command(group, "add", _benchmark_add, "train, compress and score a method of your own, on five seeds")
    add.add_argument("file", type=Path, metavar="FILE", help="a Python file; see docs/benchmark.md")
    add.add_argument("--dry-run", action="store_true", help="check the file and print the plan")
    _command(group, "time", _benchmark_time, "measure latency and memory alone, in fifteen rounds")
    _command(group, "headline", _benchmark_headline, "write the headline's network and picture into data/results")
    claims = _command(group, "claims", _benchmark_claims, "print what the papers claim, and what holds here")
    claims.add_argument("--write", action="store_true", help="decide again; write the claims, README.md and docs")
    _command(group, "power", _benchmark_power, "print how many more seeds and hours the undecided claims take")


def _benchmark_list(options: Namespace) -> None:
    from gancomp_core.lab.benchmark import TASKS, progress

    for task in options.tasks or TASKS:
        print("\n".join(progress(task)), flush=True)


def _benchmark_do(options: Namespace) -> None:
    from gancomp_core.executors import chosen
    from gancomp_core.lab.benchmark import TASKS, do, timed

    _say_when()
    with chosen(options.workers, options.scheduler) as executor:
        for task in options.tasks or TASKS:
            do(task, executor)
    timed()  # last, with nothing else to do


def _benchmark_add(options: Namespace) -> None:
    from gancomp_core.lab.added import add_method, read_method
    from gancomp_core.lab.benchmark import do_row, outcome, plan, row

    print(plan(read_method(options.file)), flush=True)
    if options.dry_run:
        return
    _say_when()
    method = add_method(options.file)
    do_row(row(method.task, method.name))
    print(outcome(method))
    print(f"'gancomp benchmark show {method.task}' prints it beside the others.")
    print("Where its network is new, 'gancomp benchmark time' times all networks in turns.")


def _benchmark_show(options: Namespace) -> None:
    from gancomp_core.lab.benchmark import TASKS, summary

    for task in options.tasks or TASKS:
        print(summary(task), flush=True)


def _benchmark_time(options: Namespace) -> None:
    from gancomp_core.lab.benchmark import timed

    _say_when()
    print(f"{timed().network.nunique()} networks are timed")


def _benchmark_headline(options: Namespace) -> None:
    from gancomp_core.lab.benchmark import write_headline

    _say_when()
    print(write_headline())


def _benchmark_claims(options: Namespace) -> None:
    from gancomp_core.course.forest import write_forest
    from gancomp_core.lab.benchmark import ledger, write_claims, write_pages

    if options.write:
        write_claims()
        write_pages()
        write_forest()
    print(ledger().to_string(max_colwidth=70))


def _benchmark_power(options: Namespace) -> None:
    from gancomp_core.lab.benchmark import power

    print(power().round(1).to_string(max_colwidth=70))


# --- full size ------------------------------------------------------------------------------------------------------


def _add_full(groups: Groups) -> None:
    parser = _command(groups, "full", _full, "the methods at the papers' sizes, which want a GPU: list, plan, train")
    parser.add_argument("name", nargs="?", metavar="PLAN", help="for example pix2pix-teacher; default: list all")
    parser.add_argument("--pictures", metavar="FOLDER", help="a folder, or a task such as public:horse2zebra")
    parser.add_argument("--size", type=int, help="height and width in pixels; default: 256")
    parser.add_argument("--steps", type=int, help="fewer than the plan has")
    parser.add_argument("--seed", type=int, default=0, help="of everything random; default: 0")
    parser.add_argument("--out", type=Path, default=Path("full"), help="folder for all plans; default: %(default)s")
    parser.add_argument("--dry-run", action="store_true", help="time a few steps, print the plan and stop")


def _full(options: Namespace) -> None:
    from gancomp_core.full import estimate, pictures_of, plan_of, plans, run

    if not options.name:
        print("\n".join(f"{plan.name}: {plan.about}" for plan in plans().values()))
        return
    plan = plan_of(options.name)
    if not options.pictures:
        options.parser.error("name a folder of pictures, or a task: --pictures FOLDER")
    if options.steps is not None and options.steps < 1:
        options.parser.error("--steps is 1 or more")
    _say_when()
    task, how = pictures_of(plan, options.pictures, options.size), {"steps": options.steps, "seed": options.seed}
    print(estimate(plan, task, options.out, **how), flush=True)
    if not options.dry_run:
        print(run(plan, task, options.out, **how))


# --- course ---------------------------------------------------------------------------------------------------------


def _add_course(groups: Groups) -> None:
    group = _group(groups, "course", "the notebooks: run, editions; your predictions")
    run = _command(
        group,
        "run",
        _course_run,
        "execute notebooks without a browser; executed copies and logs go to build/notebooks",
    )
    run.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="numbers, ranges, names or solutions (00 03-05); default: all"
    )
    run.add_argument("--profile", default="fast", help="fast (default), standard or full")
    run.add_argument("--jobs", type=int, help="how many at once; default: by cores and free memory")
    run.add_argument("--out", type=Path, help="where results go; default: build/notebooks")
    run.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    run.add_argument("--drive-widgets", action="store_true", help="move every control to both ends and the middle")
    run.add_argument("--write", action="store_true", help="maintainers: write outputs and costs back to notebooks/")
    editions = _command(group, "editions", _course_editions, "write the notebooks for students and for instructors")
    editions.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="numbers, ranges or names; default: all")
    editions.add_argument("--out", type=Path, help="where they go; default: build/editions")
    editions.add_argument("--otter", action="store_true", help="also notebooks to hand out, and autograder_NN.zip")
    about = "list your predictions, or begin them again"
    yours = _command(group, "predictions", _course_predictions, about)
    yours.add_argument("--reset", action="store_true", help="set all of them aside in a backup file and begin again")


def _course_editions(options: Namespace) -> None:
    from gancomp_core.course.editions import OUT, write_editions

    for path in write_editions(options.notebooks, options.out or OUT, otter=options.otter):
        print(path)


def _course_predictions(options: Namespace) -> None:
    from gancomp_core.course.prediction_file import forget_all, predictions_file, recorded

    if options.reset:
        print(forget_all())
        return
    for each in recorded():
        print(f"{each.id}: {each.said}{'' if each.counts else ', does not count for your calibration'}")
    print(f"These are the predictions in {predictions_file()}; --reset begins them again.")


def _course_run(options: Namespace) -> int:
    from gancomp_core.course.run import OUT, run_and_report

    if options.write and (options.parameter or options.profile == "full"):
        options.parser.error("--write keeps outputs and costs of plain runs: leave out -p and --profile full")
    if options.parameter and not options.notebooks:  # `-p SEED 00` takes the notebook for the value
        options.parser.error("-p takes a name and a value: name the notebooks too, as in 'course run 03 -p SEED 1'")
    return run_and_report(
        options.notebooks,
        options.profile,
        out=options.out or OUT,
        jobs=options.jobs,
        parameters=[(name, value) for name, value in options.parameter],
        drive_widgets=options.drive_widgets,
        write=options.write,
    )


# --- demo -----------------------------------------------------------------------------------------------------------


def _add_demo(groups: Groups) -> None:
    parser = _command(groups, "demo", _demo, "write a web page on which a GAN and its students paint while you draw")
    parser.add_argument(
        "--out", type=Path, default=Path("build/demo"), help="folder for the page; default: %(default)s"
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser as well")


def _demo(options: Namespace) -> None:
    from gancomp_core.course.pad.page import write_page

    page = write_page(options.out).resolve()
    print(page)
    if options.open:
        import webbrowser

        if not webbrowser.open(page.as_uri()):
            raise GancompError(f"No browser was found to open the page; open {page} in one by hand.")
