"""Torso-Inpainting Restorer (Section III-F, Eq. 28): a lightweight U-Net that fills the seam at the jaw."""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synctalk.assets import model_path
from synctalk.errors import AvatarError
from synctalk.half_precision import has_bfloat16
from synctalk.tensor_file import load_module, read_tensors, write_tensors

BLOCK = 4  # pixels per side of the blocks the network works on
STRIDE = 4 * BLOCK  # height and width are padded to a multiple of this
LEVELS = 4  # halvings of the blocks for the smooth fill: it reaches 64 px into a hole
VERSION = 2  # of the file format


def pyramid_fill(seen: Tensor, weight: Tensor, levels: int = LEVELS) -> Tensor:
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
        height, width = sums[-1].shape[-2:]
        even = (0, width % 2, 0, height % 2)
        sums.append(F.avg_pool2d(F.pad(sums[-1], even), 2))
        weights.append(F.avg_pool2d(F.pad(weights[-1], even), 2))
    filled = sums[-1] / weights[-1].clamp_min(1e-4)
    for total, known in zip(reversed(sums[:-1]), reversed(weights[:-1]), strict=True):
        coarse = F.interpolate(filled, scale_factor=2.0, mode="bilinear", align_corners=False)
        filled = total + (1 - known) * coarse[..., : total.shape[-2], : total.shape[-1]]
    return filled


def pyramid_fill_one(seen: np.ndarray, weight: np.ndarray, levels: int = LEVELS) -> np.ndarray:
    """`pyramid_fill` of one small picture, float32 [H,W,3] and [H,W]: ten times faster without tensors."""
    sums = [seen]
    weights = [weight]
    for _ in range(levels):
        height, width = weights[-1].shape
        if min(height, width) < 2:
            break
        half = ((width + 1) // 2, (height + 1) // 2)
        for stack in (sums, weights):
            even = cv2.copyMakeBorder(stack[-1], 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
            stack.append(cv2.resize(even, half, interpolation=cv2.INTER_AREA))
    filled = sums[-1] / np.maximum(weights[-1], np.float32(1e-4))[..., None]
    for total, known in zip(reversed(sums[:-1]), reversed(weights[:-1]), strict=True):
        height, width = known.shape
        coarse = cv2.resize(filled, (2 * filled.shape[1], 2 * filled.shape[0]))[:height, :width]
        filled = total + (1 - known)[..., None] * coarse
    return filled


def to_blocks(picture: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,16C,H/4,W/4]: the pixels of each 4x4 block, rows first, colours together."""
    count, channels, height, width = picture.shape
    x = picture.reshape(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(count, BLOCK**2 * channels, height // BLOCK, width // BLOCK)


def from_blocks(blocks: Tensor) -> Tensor:
    """The inverse of `to_blocks`."""
    count, channels, height, width = blocks.shape
    x = blocks.reshape(count, BLOCK, BLOCK, channels // BLOCK**2, height, width)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(count, -1, height * BLOCK, width * BLOCK)


class _Block(nn.Module):
    """Two 3x3 convolutions, the second one with a skip around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first(x))
        return F.relu(self.second(inner) + inner)


class _UNet(nn.Module):
    """What the smooth fill lacks, [B,48,h,w], from blocks [B,80,h,w]; h, w multiples of 4.

    Few layers and additions instead of concatenations: at the size of a seam a layer's start costs as
    much as its arithmetic.
    """

    def __init__(self, top: int, middle: int, low: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(BLOCK**2 * 5, top, 3, padding=1)
        self.down1 = nn.Conv2d(top, middle, 2, stride=2)
        self.middle = _Block(middle)
        self.down2 = nn.Conv2d(middle, low, 2, stride=2)
        self.low = _Block(low)
        self.up2 = nn.Conv2d(low, middle, 1)
        self.merge2 = _Block(middle)
        self.up1 = nn.Conv2d(middle, top, 1)
        self.merge1 = nn.Conv2d(top, top, 3, padding=1)
        self.leave = nn.Conv2d(top, BLOCK**2 * 3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        top = F.relu(self.enter(x))
        middle = self.middle(F.relu(self.down1(top)))
        low = self.low(F.relu(self.down2(middle)))
        middle = self.merge2(F.interpolate(self.up2(low), scale_factor=2.0) + middle)
        top = F.relu(self.merge1(F.relu(F.interpolate(self.up1(middle), scale_factor=2.0) + top)))
        return self.leave(top)


class TorsoRestorer(nn.Module):
    """U-Net on [rendered face, background with the widened face mask removed], Eq. 28.

    It works on 4x4 pixel blocks (a quarter of the resolution, sixteen times the channels), starts from a
    smooth fill of the hole and predicts what is missing from it, so that untouched pixels stay untouched.

    Args:
        widths: channels at 1/4, 1/8 and 1/16 of the resolution.
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 48, 80)) -> None:
        super().__init__()
        self.widths = widths
        self.net = _UNet(*widths)

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
        hole = (1 - alpha) * widened
        seen = face + (1 - alpha - hole) * background
        # Inside a hole the smooth fill has nothing finer than a block to tell.
        smooth = pyramid_fill(F.avg_pool2d(seen, BLOCK), 1 - F.avg_pool2d(hole, BLOCK))
        smooth = F.interpolate(smooth, scale_factor=float(BLOCK), mode="bilinear", align_corners=False)
        filled = seen + hole * smooth
        x = to_blocks(torch.cat([filled - 0.5, alpha, hole], 1)).contiguous(memory_format=torch.channels_last)
        return filled + hole * from_blocks(self.net(x))

    @torch.inference_mode()
    def fill(
        self, face: np.ndarray, alpha: np.ndarray, background: np.ndarray, widened: np.ndarray
    ) -> np.ndarray:
        """`forward` for one crop of any size, fast; keep it tight around the seam, all of it is computed.

        Args:
            face: float32 [h,w,3], the rendered face, colours multiplied by alpha.
            alpha: float32 [h,w].
            background: float32 [h,w,3] in [0,1], the source frame.
            widened: float32 [h,w] in [0,1]: there the source is never shown.

        Returns:
            float32 [h,w,3].
        """
        height, width = alpha.shape
        down, right = -height % STRIDE, -width % STRIDE
        if down or right:
            face, alpha, background, widened = (
                cv2.copyMakeBorder(part, 0, down, 0, right, cv2.BORDER_REPLICATE)
                for part in (face, alpha, background, widened)
            )
        # The same as `forward`, row by row, without tensors where there is little to compute.
        hole = (1 - alpha) * widened
        wide_hole = cv2.merge([hole] * 3)
        seen = face + background * (1 - alpha - hole)[..., None]
        rows, columns = alpha.shape[0] // BLOCK, alpha.shape[1] // BLOCK
        known = 1 - cv2.resize(hole, (columns, rows), interpolation=cv2.INTER_AREA)
        blocks = cv2.resize(seen, (columns, rows), interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(pyramid_fill_one(blocks, known), alpha.shape[::-1])
        filled = seen + wide_hole * smooth
        given = np.empty((*alpha.shape, 5), np.float32)
        np.subtract(filled, np.float32(0.5), out=given[..., :3])
        given[..., 3], given[..., 4] = alpha, hole
        x = given.reshape(rows, BLOCK, columns, BLOCK * 5).swapaxes(1, 2).reshape(1, rows, columns, -1)
        dtype = self.net.leave.weight.dtype
        made = self.net(torch.from_numpy(x).to(dtype).permute(0, 3, 1, 2)).float()
        y = made.permute(0, 2, 3, 1).contiguous().numpy()
        missing = y.reshape(rows, columns, BLOCK, BLOCK * 3).swapaxes(1, 2).reshape(filled.shape)
        return (filled + wide_hole * missing)[:height, :width]

    def save(self, path: Path) -> None:
        """Write the weights as float16 safetensors."""
        write_tensors(
            path,
            {name: value.half().contiguous() for name, value in self.state_dict().items()},
            {"version": VERSION, "widths": list(self.widths)},
        )

    @classmethod
    def load(cls, path: Path | None = None, dtype: torch.dtype | None = None) -> "TorsoRestorer":
        """Read a restorer; without a path, the shared one that ships with the library.

        Args:
            path: the safetensors file.
            dtype: of the network's layers; None takes bfloat16 where the processor has it. To train it
                further, ask for float32.

        Raises:
            AvatarError: the file is damaged, not a restorer (file and tensor named) or of another version.
        """
        path = path or model_path("torso.safetensors")
        tensors, settings = read_tensors(path)
        version = settings.get("version", 1)
        if version != VERSION:
            raise AvatarError(
                f"{path} is a torso restorer of version {version}; this library reads version {VERSION}. "
                "Train that part again: synctalk train-torso WORK --avatar AVATAR."
            )
        top, middle, low = settings["widths"]
        restorer = cls((top, middle, low))
        load_module(path, restorer, {name: value.float() for name, value in tensors.items()})
        restorer.net.to(dtype or (torch.bfloat16 if has_bfloat16() else torch.float32))
        return restorer.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
