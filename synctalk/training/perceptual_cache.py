"""Network features of target crops, kept for the next time the same crop is a target."""

from collections import OrderedDict

import torch
from torch import Tensor

from synctalk.training.fitting_crops import Sample
from synctalk.training.perceptual import PerceptualLoss

_WITHOUT_BACKGROUND = 0.99


class TargetFeatures:
    """A cache of half-precision features, the longest unused thrown out beyond `limit_bytes`.

    Only crops inside the head are kept: others change with the random background.
    """

    def __init__(self, network: PerceptualLoss, limit_bytes: int = 400_000_000):
        self.network, self.limit_bytes = network, limit_bytes
        self.kept: OrderedDict[tuple[int, str], list[Tensor]] = OrderedDict()
        self.bytes = 0

    @torch.no_grad()
    def get(self, sample: Sample, target: Tensor) -> list[Tensor]:
        """Features of `target` [h,w,3], the picture of `sample` over its background."""
        key = (sample.frame, sample.kind)
        found = self.kept.get(key)
        if found is None:
            # Rounded even when not kept, so that a resumed run computes the same numbers.
            found = [feature.half() for feature in self.network.features(target)]
            if float(sample.matte.min()) > _WITHOUT_BACKGROUND:
                self.kept[key] = found
                self.bytes += _size(found)
        else:
            self.kept.move_to_end(key)
        while self.bytes > self.limit_bytes:
            _, dropped = self.kept.popitem(last=False)
            self.bytes -= _size(dropped)
        return found


def _size(features: list[Tensor]) -> int:
    return sum(feature.numel() * feature.element_size() for feature in features)
