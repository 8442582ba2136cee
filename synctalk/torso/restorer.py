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


def pyramid_fill(seen: Tensor, weight: Tensor, levels: int = 6) -> Tensor:
    """Fill what is not seen smoothly from what is seen around it (push-pull).

    Args:
        seen: [B,3,H,W], colours already multiplied by their weight.
        weight: [B,1,H,W] in [0,1], how much of each pixel is seen.
        levels: halvings; reaches about 2**levels pixels into a hole.

    Returns:
        [B,3,H,W], equal to `seen` where the weight is 1.
    """
    sums = [seen]
    weights = [weight]
    for _ in range(levels):
        if min(sums[-1].shape[-2:]) < 2:
            break
        sums.append(F.avg_pool2d(sums[-1], 2, ceil_mode=True))
        weights.append(F.avg_pool2d(weights[-1], 2, ceil_mode=True))
    filled = sums[-1] / weights[-1].clamp_min(1e-4)
    for total, known in zip(reversed(sums[:-1]), reversed(weights[:-1]), strict=True):
        coarse = F.interpolate(filled, size=total.shape[-2:], mode="bilinear", align_corners=False)
        filled = total + (1 - known) * coarse
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

    def forward(self, face: Tensor, alpha: Tensor, background: Tensor, widened: Tensor) -> Tensor:
        """Lay the face over the background and fill the hole between them.

        Args:
            face: [B,3,H,W], the rendered face, colours multiplied by alpha; H, W multiples of 16.
            alpha: [B,1,H,W] in [0,1], of the rendered face.
            background: [B,3,H,W] in [0,1], the source frame.
            widened: [B,1,H,W] in [0,1], the source's face mask grown over cheeks and chin: there the
                source is never shown.

        Returns:
            [B,3,H,W]: face + (1 - alpha) ((1 - widened) background + widened healed).
        """
        shown = (1 - alpha) * (1 - widened)
        hole = (1 - alpha) * widened
        filled = pyramid_fill(face + shown * background, alpha + shown)
        x = F.pixel_unshuffle(torch.cat([filled - 0.5, alpha, hole], 1), BLOCK).to(self.leave.weight.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        top = self.enter(x)
        middle = self.middle(F.relu(self.down1(top)))
        low = self.low(F.relu(self.down2(middle)))
        middle = self.merge2(torch.cat([F.interpolate(self.up2(low), scale_factor=2.0), middle], 1))
        top = self.merge1(torch.cat([F.interpolate(self.up1(middle), scale_factor=2.0), top], 1))
        missing = F.pixel_shuffle(self.leave(top).to(face.dtype), BLOCK)
        return filled + hole * missing

    @torch.inference_mode()
    def fill(
        self, face: np.ndarray, alpha: np.ndarray, background: np.ndarray, widened: np.ndarray
    ) -> np.ndarray:
        """`forward` for one crop of any size; keep it tight around the seam, all of it is computed.

        Args:
            face: float32 [h,w,3], the rendered face, colours multiplied by alpha.
            alpha: float32 [h,w].
            background: float32 [h,w,3] in [0,1], the source frame.
            widened: float32 [h,w] in [0,1], from `masks.cheeks_and_chin`.

        Returns:
            float32 [h,w,3].
        """
        height, width = alpha.shape
        stacked = np.concatenate(
            [face, alpha[..., None], background, widened[..., None]], 2, dtype=np.float32
        )
        x = torch.from_numpy(stacked).permute(2, 0, 1)[None]
        x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        healed = self(x[:, :3], x[:, 3:4], x[:, 4:7], x[:, 7:8])[0, :, :height, :width]
        return healed.permute(1, 2, 0).contiguous().numpy()

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
        path = path or model_path("torso.safetensors")
        tensors, settings = read_tensors(path)
        top, middle, low = settings["widths"]
        restorer = cls((top, middle, low))
        load_module(path, restorer, {name: value.float() for name, value in tensors.items()})
        return restorer.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
