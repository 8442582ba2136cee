"""Torso-Inpainting Restorer (Section III-F, Eq. 28): a lightweight U-Net that fills the seam at the jaw."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synctalk.assets import model_path
from synctalk.tensor_file import load_module, read_tensors, write_tensors

BLOCK = 4  # pixels per side of the blocks the network works on
STRIDE = 4 * BLOCK  # height and width are padded to a multiple of this


def pyramid_fill(picture: Tensor, known: Tensor, levels: int = 6) -> Tensor:
    """Fill unknown pixels smoothly from the known ones around them (push-pull).

    Args:
        picture: [B,3,H,W].
        known: [B,1,H,W], 1 where the picture counts, 0 in the hole.
        levels: halvings; reaches about 2**levels pixels into a hole.

    Returns:
        [B,3,H,W], equal to the picture where known is 1.
    """
    sums = [picture * known]
    weights = [known]
    for _ in range(levels):
        if min(sums[-1].shape[-2:]) < 2:
            break
        sums.append(F.avg_pool2d(sums[-1], 2, ceil_mode=True))
        weights.append(F.avg_pool2d(weights[-1], 2, ceil_mode=True))
    filled = sums[-1] / weights[-1].clamp_min(1e-4)
    for total, weight in zip(reversed(sums[:-1]), reversed(weights[:-1]), strict=True):
        coarse = F.interpolate(filled, size=total.shape[-2:], mode="bilinear", align_corners=False)
        filled = total + (1 - weight) * coarse
    return filled


class _Block(nn.Module):
    """Two 3x3 convolutions with a skip around them."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(F.relu(self.first(x)))
        return F.relu(inner + self.skip(x))


class TorsoRestorer(nn.Module):
    """U-Net on [rendered face, background with the widened face mask removed], Eq. 28.

    It works on 4x4 pixel blocks (a quarter of the resolution, sixteen times the channels), starts from a
    smooth fill of the hole and predicts what is missing from it, so that untouched pixels stay untouched.

    Args:
        widths: channels at 1/4, 1/8 and 1/16 of the resolution.
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 40, 48)) -> None:
        super().__init__()
        top, middle, low = widths
        self.widths = widths
        self.enter = _Block(BLOCK**2 * 5, top)
        self.down1 = nn.Conv2d(top, middle, 3, stride=2, padding=1)
        self.middle = _Block(middle, middle)
        self.down2 = nn.Conv2d(middle, low, 3, stride=2, padding=1)
        self.low = nn.Sequential(_Block(low, low), _Block(low, low))
        self.up2 = nn.Conv2d(low, middle, 1)
        self.merge2 = _Block(2 * middle, middle)
        self.up1 = nn.Conv2d(middle, top, 1)
        self.merge1 = _Block(2 * top, top)
        self.leave = nn.Conv2d(top, BLOCK**2 * 3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, picture: Tensor, face: Tensor, hole: Tensor) -> Tensor:
        """Fill the hole.

        Args:
            picture: [B,3,H,W] in [0,1], the rendered face laid over the source; H, W multiples of 16.
            face: [B,1,H,W], alpha of the rendered face.
            hole: [B,1,H,W], 1 where the source is not to be trusted (the widened mask less the face).

        Returns:
            [B,3,H,W]: the picture, with the hole replaced.
        """
        filled = pyramid_fill(picture, 1 - hole)
        x = F.pixel_unshuffle(torch.cat([filled - 0.5, face, hole], 1), BLOCK).to(self.leave.weight.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        top = self.enter(x)
        middle = self.middle(F.relu(self.down1(top)))
        low = self.low(F.relu(self.down2(middle)))
        middle = self.merge2(torch.cat([F.interpolate(self.up2(low), scale_factor=2.0), middle], 1))
        top = self.merge1(torch.cat([F.interpolate(self.up1(middle), scale_factor=2.0), top], 1))
        missing = F.pixel_shuffle(self.leave(top).to(picture.dtype), BLOCK)
        return filled + hole * missing

    @torch.inference_mode()
    def fill(self, picture: np.ndarray, face: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Fill the hole of one crop; only the crop is computed, so keep it tight around the seam.

        Args:
            picture: float32 [h,w,3] in [0,1], the rendered face laid over the source.
            face: float32 [h,w], alpha of the rendered face.
            hole: float32 [h,w] in [0,1].

        Returns:
            float32 [h,w,3]; equal to `picture` where the hole is 0.
        """
        height, width = hole.shape
        bottom, right = -height % STRIDE, -width % STRIDE
        stacked = np.concatenate([picture, face[..., None], hole[..., None]], 2, dtype=np.float32)
        tensor = torch.from_numpy(stacked).permute(2, 0, 1)[None]
        tensor = F.pad(tensor, (0, right, 0, bottom), mode="replicate")
        result = self(tensor[:, :3], tensor[:, 3:4], tensor[:, 4:5])[0, :, :height, :width]
        return result.permute(1, 2, 0).contiguous().numpy()

    def save(self, path: Path) -> None:
        """Write the weights as float16 safetensors."""
        write_tensors(
            path,
            {name: value.half().contiguous() for name, value in self.state_dict().items()},
            {"widths": list(self.widths)},
        )

    @classmethod
    def load(cls, path: Path | None = None) -> "TorsoRestorer":
        """Read a restorer; without a path, the shared one that ships with the library.

        Raises:
            AvatarError: the file is damaged or not a restorer (file and tensor named).
        """
        path = path or model_path("torso_restorer.safetensors")
        tensors, settings = read_tensors(path)
        top, middle, low = settings["widths"]
        restorer = cls((top, middle, low))
        load_module(path, restorer, {name: value.float() for name, value in tensors.items()})
        return restorer.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
