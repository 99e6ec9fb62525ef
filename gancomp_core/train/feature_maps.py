"""Networks whose feature maps a loss compares: what content and style are read from."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.efficientnet_lite import load_efficientnet_lite0

AFTER = (0, 2, 4, 10)  # blocks of EfficientNet-Lite0: the last at 1/2, 1/4, 1/8 and 1/16 of the resolution
SMALLEST = 64  # pixels each way; smaller pictures are enlarged, or little would be left to compare at 1/16
VGG_RELUS = (3, 8, 15)  # relu1_2, relu2_2, relu3_3: the last before each of the first three poolings


class FeatureMaps(nn.Module):
    """Maps of the shipped EfficientNet-Lite0 at 1/2, 1/4, 1/8 and 1/16 of the resolution; frozen.

    Takes float pictures [N, 1 or 3, H, W] in [-1, 1] at their own size, but at least at 64 pixels; returns a list of
    [N, C, h, w].
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = load_efficientnet_lite0()

    def forward(self, pictures: Tensor) -> list[Tensor]:
        side = min(pictures.shape[-2:])
        if side < SMALLEST:
            pictures = F.interpolate(pictures, scale_factor=SMALLEST / side, mode="bilinear")
        rgb = ((pictures.clamp(-1, 1) + 1) * (127.5 / 128) - 127 / 128).expand(-1, 3, -1, -1)
        return self.network.maps(rgb, AFTER)


class VggMaps(nn.Module):
    """The same of VGG-16, as published; needs torchvision, which fetches its ImageNet weights when first asked."""

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self) -> None:
        super().__init__()
        try:
            from torchvision.models import VGG16_Weights, vgg16
        except ImportError as error:
            raise GancompError(
                "VGG's feature maps need torchvision, which is not installed; 'pip install torchvision' brings it, or "
                "use the shipped FeatureMaps."
            ) from error
        self.network = vgg16(weights=VGG16_Weights.DEFAULT).features[: VGG_RELUS[-1] + 1].eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        mean, std = (pictures.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        x = ((pictures.clamp(-1, 1) + 1) / 2).expand(-1, 3, -1, -1).sub(mean).div(std)
        found = []
        for place, layer in enumerate(self.network):
            x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x)  # not in place: gradients need the maps
            if place in VGG_RELUS:
                found.append(x)
        return found
