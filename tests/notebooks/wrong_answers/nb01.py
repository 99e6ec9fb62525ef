"""Plausible wrong answers to the exercises of notebook 01: exercise -> fault -> function. Each must be refused."""

import torch
import torch.nn.functional as F


def _centre(kernel, size):
    margin = (kernel.shape[-1] - size) // 2
    return kernel[..., margin : margin + size, margin : margin + size]


def _right(kernel, size, matrix):
    return (_centre(kernel, size).flatten(2) @ matrix).unflatten(2, (size, size))


def _third(block, blocks):
    return 3 * block // blocks


def _blocks(depth, full, last=False):
    found = []
    for third in range(3):
        mine = [block for block in range(full) if _third(block, full) == third]
        count = sum(_third(block, depth) == third for block in range(depth))
        found += mine[len(mine) - count :] if last else mine[:count]
    return found


def _l1(weight, dims=(0, 2, 3)):
    return weight.abs().sum(dims)


def _best(importance, count):
    return importance.argsort(descending=True)[:count]


WRONG_ANSWERS = {
    "smaller_kernel": {
        "top left": lambda k, s, m: (k[..., :s, :s].flatten(2) @ m).unflatten(2, (s, s)),
        "bottom right": lambda k, s, m: (k[..., -s:, -s:].flatten(2) @ m).unflatten(2, (s, s)),
        "resized": lambda k, s, m: (F.interpolate(k, (s, s), mode="bilinear").flatten(2) @ m).unflatten(2, (s, s)),
        "averaged": lambda k, s, m: (F.adaptive_avg_pool2d(k, s).flatten(2) @ m).unflatten(2, (s, s)),
        "on its side": lambda k, s, m: (_centre(k, s).flatten(2) @ m).unflatten(2, (s, s)).transpose(-1, -2),
        "turned round": lambda k, s, m: (_centre(k, s).flatten(2) @ m).unflatten(2, (s, s)).flip(-1, -2),
        "crop only": lambda k, s, m: _centre(k, s),
        "wrong side": lambda k, s, m: (_centre(k, s).flatten(2) @ m.T).unflatten(2, (s, s)),
        "diagonal": lambda k, s, m: _centre(k, s) * m.diagonal().reshape(s, s),
        "not unflattened": lambda k, s, m: _centre(k, s).flatten(2) @ m,
        "one direction": lambda k, s, m: k[..., (k.shape[-1] - s) // 2 : (k.shape[-1] + s) // 2],
        "kernel detached": lambda k, s, m: _right(k.detach(), s, m),
        "matrix detached": lambda k, s, m: _right(k, s, m.detach()),
        "list": lambda k, s, m: _right(k, s, m).tolist(),
        "half a matrix": lambda k, s, m: _right(k, s, (m + torch.eye(s**2)) / 2),
    },
    "blocks_that_run": {
        "first of all": lambda d, f: list(range(d)),
        "last of all": lambda d, f: list(range(f - d, f)),
        "last of each third": lambda d, f: _blocks(d, f, last=True),
        "evenly spread": lambda d, f: [block * f // d for block in range(d)],
        "from one": lambda d, f: [block + 1 for block in _blocks(d, f)],
        "equal thirds": lambda d, f: [t * f // 3 + rank for t in range(3) for rank in range(d // 3)],
        "rest to the last": lambda d, f: [
            t * (f // 3) + rank for t, size in enumerate((d // 3, d // 3, d - 2 * (d // 3))) for rank in range(size)
        ],
        "flags": lambda d, f: [block in _blocks(d, f) for block in range(f)],
        "a number": lambda d, f: d,
        "names": lambda d, f: [f"block{block}" for block in _blocks(d, f)],
        "the ones dropped": lambda d, f: [block for block in range(f) if block not in _blocks(d, f)],
        "backwards": lambda d, f: _blocks(d, f)[::-1],
    },
    "channels_to_keep": {
        "own weights": lambda own, after, count: _best(_l1(own, (1, 2, 3)), count),
        "wrong side": lambda own, after, count: _best(_l1(after, (1, 2, 3)), count),
        "signed": lambda own, after, count: _best(after.sum((0, 2, 3)), count),
        "squares": lambda own, after, count: _best(after.square().sum((0, 2, 3)), count),
        "largest weight": lambda own, after, count: _best(after.abs().amax((0, 2, 3)), count),
        "least important": lambda own, after, count: _l1(after).argsort()[:count],
        "sorted by place": lambda own, after, count: _best(_l1(after), count).sort().values,
        "as they lie": lambda own, after, count: torch.arange(count),
        "all": lambda own, after, count: _best(_l1(after), None),
        "one too many": lambda own, after, count: _best(_l1(after), count + 1),
        "importances": lambda own, after, count: _l1(after).sort(descending=True).values[:count],
        "flags": lambda own, after, count: _l1(after) >= _l1(after).sort(descending=True).values[count - 1],
        "middle of the kernel": lambda own, after, count: _best(
            after[:, :, after.shape[2] // 2, after.shape[3] // 2].abs().sum(0), count
        ),
        "one too few": lambda own, after, count: _best(_l1(after), count - 1),
    },
}
