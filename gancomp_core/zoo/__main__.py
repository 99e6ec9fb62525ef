"""Train, list and check the zoo; see :mod:`gancomp_core.zoo`."""

from __future__ import annotations

import argparse
import logging
import sys

from gancomp_core.errors import GancompError
from gancomp_core.zoo.recipes import RECIPES
from gancomp_core.zoo.store import check, names, regrade, train


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gancomp_core.zoo", description="Train, list and check the zoo.")
    parser.add_argument("action", choices=("list", "train", "check", "regrade"))
    parser.add_argument("names", nargs="*", help="models, for example edges2shoes/teacher")
    parser.add_argument("--all", action="store_true", help="every model")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # a judge is trained before those it judges
    chosen = sorted(names(), key=lambda name: (not name.endswith("/segmenter"), name)) if options.all else options.names
    try:
        return _act(options.action, chosen)
    except GancompError as error:
        print(error, file=sys.stderr)
        return 1


def _act(action: str, chosen: list[str]) -> int:
    if action == "list":
        print("\n".join(f"{name}: {RECIPES[name].summary}" for name in names()))
        return 0
    if not chosen:
        raise GancompError(f"Name a model, or pass --all; the zoo has {', '.join(names())}.")
    if action in ("train", "regrade"):
        for name in chosen:
            model = train(name) if action == "train" else regrade(name)
            print(f"{name}: {model.card['quality']['text']}")
        return 0
    differences = [sentence for name in chosen for sentence in check(name)]
    print("\n".join(differences) or f"{len(chosen)} models agree with their cards.")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
