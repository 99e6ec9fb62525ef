"""Plans: lists of runs by name, each of which answers one question of the course."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from gancomp_core.errors import GancompError
from gancomp_core.lab import agd_searches
from gancomp_core.lab.runs.records import Run, record, table
from gancomp_core.lab.supernet_searches import CHEAPER, recorded
from gancomp_core.nets import ArchitectureSpace, ChannelConfig, ResnetArchitecture, search_space

log = logging.getLogger("gancomp")


def _widths(*pairs: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"channels": "_".join([str(width)] * 8), "blocks": blocks} for width, blocks in pairs]


#: The student of the experiments on distillation, on shoes: 1/6.6 of the teacher's MACs.
STUDENT: dict[str, Any] = {"channels": "_".join(["16"] * 8), "blocks": 3}
#: Which stages of :data:`STUDENT` are compared with which of a teacher of six blocks, by what the reader calls them.
TAPS = {
    "before the blocks": {"down2": "down2"},
    "the blocks": {"block1": "block2", "block2": "block4", "block3": "block6"},
    "after the blocks": {"up1": "up1"},
}


def _taught(ways: Iterable[dict[str, Any]], seeds: int = 5) -> list[Run]:
    """:data:`STUDENT` distilled on shoes in these ways; the first seed of all ways comes first."""
    given = {"teacher": "edges2shoes/teacher", "network": STUDENT}
    return [Run("edges2shoes", "distilled", {**given, **way}, seed) for seed in range(seeds) for way in ways]


def term(name: str, weight: float, **arguments: Any) -> dict[str, Any]:
    """One term of distillation, as a configuration of "distilled" names it."""
    return {"terms": {name: {"weight": weight, **arguments}}}


def _by_features() -> list[Run]:
    """What a student may imitate, and where. Without a teacher: "edges2shoes/plain"."""
    features = term("feature_kd", 0.5)
    five: list[dict[str, Any]] = [
        features,
        term("pixel_kd", 50),
        {**features, "begin": "l1"},
        {"terms": {}, "begin": "l1"},
    ]
    three = [term("logit_kd", 1, temperature=4), *({**features, "taps": taps} for taps in TAPS.values())]
    return _taught(five) + _taught(three, seeds=3)


def _by_pseudo_pairs() -> list[Run]:
    """CycleGANs of small networks, and the same networks on pseudo pairs, whose critic goes on or begins afresh."""
    task, teacher = "edges2shoes_unpaired", "edges2shoes_unpaired/teacher"
    networks = [*_widths((16, 3), (8, 3)), {"channels": "16_12_12_12_12_12_12_16", "blocks": 3}]
    given = {"teacher": teacher, "reconstruction": 10, "critic": "teacher"}
    plan = [
        run
        for seed in range(3)
        for network in networks
        for run in (
            Run(task, "cyclegan", network, seed),
            Run(task, "distilled", {**given, "network": network}, seed),
        )
    ]
    widest = {**given, "network": networks[0]}
    plan += [Run(task, "distilled", {**widest, "reconstruction": 50}, seed) for seed in range(3)]
    plan += [Run(task, "distilled", {**given, "network": network}, seed) for seed in (3, 4) for network in networks[:2]]
    plan += [Run(task, "cyclegan", networks[0], seed) for seed in (3, 4)]
    return plan + [Run(task, "distilled", {**widest, "critic": "fresh"}, seed) for seed in range(5)]


def _by_wavelets() -> list[Run]:
    """A first look with one seed: how much weight, on which bands, and beside which other losses.

    Students begin with their teacher's channels, because chance moves those less than students begun at random. A
    weight of 1 on the high bands pulls on a picture as hard as one of 5 on its pixels.
    """
    high = [term("wavelet_kd", weight) for weight in (5, 1, 10, 20, 50)]
    low = term("wavelet_kd", 1, bands="low")
    alike = [term("wavelet_kd", weight, weighting="coefficients") for weight in (20, 50)]
    pixels = [term("pixel_kd", weight) for weight in (50, 5, 20)]
    some: list[dict[str, Any]] = [{"terms": {}}, pixels[0], high[0], high[3]]
    freer = [{**way, "reconstruction": 10} for way in some]
    narrow = [{**way, "network": {"channels": "_".join(["8"] * 8), "blocks": 3}} for way in some[:3]]
    ways = [{"terms": {}}, *high, *pixels, low, *alike, *freer, *narrow]
    return _taught([{**way, "begin": "l1"} for way in ways], seeds=1)


#: What that look leaves to decide: an L1 of weight 10 to the photograph, and terms that pull about twice as hard as it.
FREER: dict[str, Any] = {"reconstruction": 10}
FINALISTS: tuple[dict[str, Any], ...] = ({"terms": {}}, term("wavelet_kd", 5), term("pixel_kd", 20))


def _confirmed() -> list[Run]:
    """The finalists and the other bands with five paired seeds."""
    features = term("feature_kd", 0.5)
    both = {"terms": {**features["terms"], **FINALISTS[1]["terms"]}}
    bands = [term("wavelet_kd", 5, bands=bands) for bands in ("low", "all")]
    begun = [{**way, **FREER, "begin": "l1"} for way in (*FINALISTS, features, both)]
    beside_pixels = {"terms": {**FINALISTS[2]["terms"], **FINALISTS[1]["terms"]}}
    return _taught(begun) + _taught([{**way, **FREER, "begin": "l1"} for way in (*bands, beside_pixels)])


def _critics() -> list[Run]:
    """A critic of half the channels, which is a quarter of the parameters."""
    student: dict[str, Any] = {**FINALISTS[0], **FREER, "begin": "l1"}
    return _taught([student, {**student, "critic_width": 16}])


def _by_wavelets_in_colour() -> list[Run]:
    """The finalists; the control with three seeds."""
    given = {"teacher": "flat2gloss/teacher", "network": STUDENT, "begin": "l1", **FREER}
    ways = [(way, seed) for seed in range(5) for way in FINALISTS[: 3 if seed < 3 else 2]]
    return [Run("flat2gloss", "distilled", {**given, **way}, seed) for way, seed in ways]


def _taught_in_colour() -> list[Run]:
    """What the benchmark of methods asks beside them: nothing of a teacher, its features, and both terms."""
    given = {"teacher": "flat2gloss/teacher", "network": STUDENT, "begin": "l1", **FREER}
    features = term("feature_kd", 0.5)
    both = {"terms": {**features["terms"], **FINALISTS[1]["terms"]}}
    return [
        run
        for seed in range(3)
        for run in (
            Run("flat2gloss", "plain", STUDENT, seed),
            *(Run("flat2gloss", "distilled", {**given, **way}, seed) for way in (features, both)),
        )
    ]


def _by_wavelets_unpaired(task: str, critic: str, seeds: int) -> list[Run]:
    """Students of a CycleGAN, whose L1 to the teacher weighs as little."""
    given = {"teacher": f"{task}/teacher", "network": STUDENT, "begin": "l1", "critic": critic, **FREER}
    return [Run(task, "distilled", {**given, **way}, seed) for seed in range(seeds) for way in FINALISTS[:2]]


def agd_networks() -> dict[str, str | dict[str, Any]]:
    """Networks of 4 to 5 M MACs for the unpaired shoes, by where they come from, as a configuration names them."""
    name = "edges2shoes_unpaired"
    space = agd_searches.SEARCHES[name].space
    operators = [layer.operators.index("residual") if "residual" in layer.operators else 0 for layer in space.layers]
    best = recorded("edges2shoes/30 times cheaper").best
    return {
        "searched": str(agd_searches.recorded(name).architecture),
        "uniform": str(space.chosen(operators, [0] * len(space.layers))),
        "random": str(agd_searches.best_by_chance(name)),
        "supernet": {"channels": str(best.channels), "blocks": best.blocks},
    }


def _by_search() -> list[Run]:
    """What gradient descent chose, beside other networks of as many MACs, all by one recipe.

    Five seeds decide whether it beats a uniform width, three show where the others lie.
    """
    networks = agd_networks()
    plan = [_without_critic(network, seed) for seed in range(3) for network in networks.values()]
    return plan + [_without_critic(networks[name], seed) for seed in (3, 4) for name in ("searched", "uniform")]


def _without_critic(network: str | dict[str, Any], seed: int) -> Run:
    configuration = {"teacher": "edges2shoes_unpaired/teacher", "network": network}
    return Run("edges2shoes_unpaired", "agd", configuration, seed, AGD_STEPS)


#: A recipe without a discriminator settles sooner.
AGD_STEPS = 1_000
PLANS: dict[str, Callable[[], list[Run]]] = {
    "edges2shoes/plain": lambda: [
        Run("edges2shoes", "plain", configuration, seed)
        for configuration in _widths((8, 3), (16, 3))
        for seed in range(5)
    ],
    "edges2shoes/features": lambda: _by_features(),
    "edges2shoes/decomposition": lambda: [
        Run("edges2shoes", "plain", {**STUDENT, **where}, seed)
        for seed in range(5)
        for where in ({"separable": True}, {"separable_ends": ["down"]}, {"separable_ends": ["up"]})
    ],
    "edges2shoes/wavelets": lambda: _by_wavelets(),
    "edges2shoes/wavelets confirmed": lambda: _confirmed(),
    "edges2shoes/critics": lambda: _critics(),
    "flat2gloss/teachings": lambda: _taught_in_colour(),
    "flat2gloss/wavelets": lambda: _by_wavelets_in_colour(),
    "flat2gloss_unpaired/wavelets": lambda: _by_wavelets_unpaired("flat2gloss_unpaired", "fresh", 3),
    "edges2shoes_unpaired/wavelets": lambda: _by_wavelets_unpaired("edges2shoes_unpaired", "teacher", 5),
    "edges2shoes_unpaired/pseudo pairs": lambda: _by_pseudo_pairs(),
    "edges2shoes_unpaired/agd": lambda: _by_search(),
    "edges2shoes/supernets": lambda: _cut_from_supernets(),
    "edges2shoes/budgets": lambda: _for_budgets(),
    "edges2shoes/combined": lambda: _combined(),
    "flat2gloss/budgets": lambda: [
        Run("flat2gloss", "fine-tuned", configuration, seed)
        for configuration in cut("flat2gloss").values()
        for seed in range(3)
    ],
}


def _cut_from_supernets() -> list[Run]:
    """Networks from the widest to the narrowest, out of supernets trained in two ways, paired by seed."""
    base = ResnetArchitecture(ChannelConfig.uniform(16), 6, in_channels=1, out_channels=1)
    space = ArchitectureSpace(base, search_space("course/channels-16"), depths=(3, 6), kernels=(3, 5)).as_dict()
    networks: list[dict[str, Any]] = [
        {"channels": channels, "blocks": blocks, "kernels": [kernel] * 3}
        for channels, blocks, kernel in (
            ("16_16_16_16_16_16_16_16", 6, 5),
            ("16_16_16_16_16_16_16_16", 6, 3),
            ("16_12_12_12_12_12_12_16", 6, 3),
            ("16_12_12_8_8_8_12_16", 3, 3),
            ("8_8_8_4_4_4_8_8", 3, 3),
        )
    ]
    return [
        Run("edges2shoes", "supernet", {"how": how, "space": space, "network": network}, seed)
        for seed in range(5)
        for how in ("progressive shrinking", "all at once")
        for network in networks
    ]


def _for_budgets() -> list[Run]:
    """The networks that searches found for the budgets of the course: fine-tuned, from scratch, and pruned.

    Fine-tuning takes 500 steps, because the 10,000 of the supernet are shared by five networks: 2,500 steps for each
    of them in all, as many as from scratch or pruned. Two budgets are fine-tuned for long. What the claim ledger
    decides has five seeds, the rest three.
    """
    found, teacher, decided = cut("edges2shoes"), {"teacher": "edges2shoes/teacher"}, (9, 20)
    ways: tuple[tuple[str, int | None, dict[str, Any], int], ...] = (
        *(("fine-tuned", 500, configuration, 5 if times in decided else 3) for times, configuration in found.items()),
        *(("plain", None, configuration["network"], 3) for configuration in found.values()),
        ("fine-tuned", 9_000, found[9], 5),
        ("fine-tuned", 9_000, found[20], 3),
        *(("pruned", None, {**teacher, "network": found[times]["network"]}, 5) for times in decided),
    )
    return [
        Run("edges2shoes", method, configuration, seed, steps)
        for method, steps, configuration, seeds in ways
        for seed in range(seeds)
    ]


def _combined() -> list[Run]:
    """Methods together: a network that was searched in the supernet learns the high bands of its teacher's pictures.

    The first seed told that its features beside them do not help here.
    """
    features = term("feature_kd", 0.5)
    both = {"terms": {**FINALISTS[1]["terms"], **features["terms"]}}
    given = {**cut("edges2shoes")[20], "teacher": "edges2shoes/teacher", **FREER}
    ways = [({**given, **FINALISTS[1]}, seed) for seed in range(5)]
    return [Run("edges2shoes", "fine-tuned", way, seed, 9_000) for way, seed in (*ways, ({**given, **both}, 0))]


def cut(task: str) -> dict[int, dict[str, Any]]:
    """For how many times fewer MACs than the teacher's: the network that was found in the task's supernet."""
    found = {times: recorded(f"{task}/{times} times cheaper").best for times in CHEAPER[task]}
    networks = {times: {"channels": str(best.channels), "blocks": best.blocks} for times, best in found.items()}
    return {times: {"supernet": f"{task}/supernet", "network": network} for times, network in networks.items()}


def planned(plan: str) -> list[Run]:
    """The runs of a plan by name; raises :class:`GancompError` with the list of plans."""
    if plan not in PLANS:
        raise GancompError(f"There is no plan '{plan}'; choose one of {', '.join(PLANS)}.")
    return PLANS[plan]()


def progress() -> pd.DataFrame:
    """A row for each plan: its name, how many of its runs are recorded, how many planned, and minutes of training."""
    known = table()
    minutes = dict(zip(known.get("key", []), known.get("minutes", []), strict=True))
    rows = []
    for name in PLANS:
        keys = [run.key for run in planned(name)]
        spent = [minutes[key] for key in keys if key in minutes]
        rows.append({"plan": name, "recorded": len(spent), "planned": len(keys), "minutes": sum(spent)})
    return pd.DataFrame(rows)


def do(plan: str) -> pd.DataFrame:
    """Every run of a plan that is not recorded yet; returns the plan's rows."""
    runs = planned(plan)
    rows = []
    for number, run in enumerate(runs, start=1):
        log.info("run %d of %d: %s", number, len(runs), run)
        rows.append(record(run))
    return pd.DataFrame(rows)
