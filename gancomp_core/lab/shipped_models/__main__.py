"""Train, list and check the zoo; see :mod:`gancomp_core.zoo`."""

from __future__ import annotations

import argparse
import logging
import sys

from gancomp_core.errors import GancompError
from gancomp_core.lab.shipped_models.recipes import RECIPES
from gancomp_core.lab.shipped_models.training import check, regrade, shipped, table, train
from gancomp_core.zoo import names

HELP = """Train, list and check the zoo.

  list     the models, and what each is for
  train    train models by their recipes; write weights, card and grid into data/zoo. A training that was killed goes
           on where it was, one that finished is not repeated but evaluated again: its checkpoint lies in
           .cache/zoo (or below GANCOMP_CACHE). Delete it to train from scratch.
  check    evaluate shipped weights again and compare them with card, recipe, pictures and checksums: a sentence for
           every difference, and exit status 1 if there is one
  regrade  evaluate shipped weights again and write scores and grid into their cards
  table    all shipped models as a Markdown table, from their cards"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gancomp_core.lab.shipped_models",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("list", "train", "check", "regrade", "table"))
    parser.add_argument("names", nargs="*", help="models, for example edges2shoes/teacher")
    parser.add_argument("--all", action="store_true", help="every model; regrade: every shipped one")
    parser.add_argument("--write", action="store_true", help="table: also write it into data/README.md")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    everything = set(shipped()) & set(names()) if options.action == "regrade" else set(RECIPES)
    # a judge is trained before those it judges
    chosen = sorted(everything, key=lambda name: (not name.endswith("/segmenter"), name))
    try:
        return _act(options.action, chosen if options.all else options.names, options.write)
    except GancompError as error:
        print(error, file=sys.stderr)
        return 1


def _act(action: str, chosen: list[str], write: bool) -> int:
    if action == "list":
        print("\n".join(f"{name}: {RECIPES[name].summary}" for name in sorted(RECIPES)))
        return 0
    if action == "table":
        print(table(write), end="")
        return 0
    if not chosen:
        raise GancompError(f"Name a model, or pass --all; the zoo has {', '.join(names())}.")
    if action in ("train", "regrade"):
        for name in chosen:
            model = train(name) if action == "train" else regrade(name)
            print(f"{name}: {model.card['quality']['text']}")
        return 0
    return _check(chosen)


def _check(chosen: list[str]) -> int:
    """Say at once what is wrong with each model: all of them take minutes."""
    wrong = 0
    for name in chosen:
        found = check(name)
        print("\n".join(found) or f"{name}: agrees with its card", flush=True)
        wrong += bool(found)
    print(f"{len(chosen) - wrong} of {len(chosen)} models agree with their cards.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
