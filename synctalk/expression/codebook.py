"""Transformer VQ-VAE (Section III-E, Eq. 25-27): coefficients of anyone come back in this subject's range."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synctalk.assets import model_path
from synctalk.tensor_file import load_module, read_tensors, write_tensors

COEFFICIENTS = 52


@dataclass(frozen=True)
class CodebookSettings:
    """Sizes of the VQ-VAE."""

    width: int = 96
    layers: int = 2
    heads: int = 4
    memory: int = 24  # frames a layer looks back; it never looks ahead, so the codebook streams
    tokens: int = 16  # codes per frame: a face is more than one word
    code: int = 16  # length of a code vector
    entries: int = 256  # codebook size
    commitment: float = 0.25  # weight of the commitment term of Eq. 27


class Quantized(NamedTuple):
    """What the quantizer gives: codes [B,T,tokens,code], their indices [B,T,tokens], the terms of Eq. 27."""

    codes: Tensor
    indices: Tensor
    loss: Tensor


class Quantizer(nn.Module):
    """Nearest entry of the codebook (Eq. 25), with straight-through gradients."""

    usage: Tensor

    def __init__(self, settings: CodebookSettings) -> None:
        super().__init__()
        self.commitment = settings.commitment
        self.entries = nn.Parameter(torch.randn(settings.entries, settings.code) * 0.5)
        self.register_buffer("usage", torch.ones(settings.entries))

    def forward(self, latents: Tensor) -> Quantized:
        """Latents [B,T,tokens,code] -> the nearest entries."""
        flat = latents.reshape(-1, latents.shape[-1])
        indices = torch.cdist(flat, self.entries).argmin(1)
        codes = self.entries[indices].reshape(latents.shape)
        loss = F.mse_loss(codes, latents.detach()) + self.commitment * F.mse_loss(latents, codes.detach())
        straight = latents + (codes - latents).detach()
        return Quantized(straight, indices.reshape(latents.shape[:-1]), loss)

    @torch.no_grad()
    def track(self, indices: Tensor, latents: Tensor, decay: float = 0.98) -> int:
        """Keep count of which entries are used and revive dead ones from current latents.

        Returns:
            how many entries were revived.
        """
        counts = torch.bincount(indices.reshape(-1), minlength=len(self.entries)).float()
        self.usage.mul_(decay).add_((1 - decay) * counts * len(self.entries) / counts.sum())
        dead = self.usage < 0.02
        count = int(dead.sum())
        if count:
            flat = latents.reshape(-1, latents.shape[-1])
            self.entries[dead] = flat[torch.randint(len(flat), (count,))]
            self.usage[dead] = 1.0
        return count

    def perplexity(self, indices: Tensor) -> float:
        """How many entries are in use, as the exponential of the entropy of their frequencies."""
        share = torch.bincount(indices.reshape(-1), minlength=len(self.entries)).float()
        share = share / share.sum()
        return float(torch.exp(-(share * (share + 1e-10).log()).sum()))


class _Layer(nn.Module):
    """Self-attention over the last frames, then an MLP."""

    def __init__(self, settings: CodebookSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.memory = settings.heads, settings.memory
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.distance = nn.Parameter(torch.zeros(settings.heads, settings.memory + 1))
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, width = x.shape
        q, k, v = (
            part.reshape(batch, frames, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        age = torch.arange(frames)[:, None] - torch.arange(frames)[None]
        bias = self.distance[:, age.clamp(0, self.memory)]
        bias = bias.masked_fill((age < 0) | (age > self.memory), float("-inf"))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.out(y.transpose(1, 2).reshape(batch, frames, width))
        return x + self.mlp(self.norm2(x))


class Codebook(nn.Module):
    """Encoder and codebook shared by everyone, decoder fine-tuned for one subject (Eq. 26).

    The decoder speaks in the subject's own range: it outputs values between `low` and `high`, the
    subject's extremes, so whatever goes in, what comes out is something this face has done.
    """

    low: Tensor
    high: Tensor

    def __init__(self, settings: CodebookSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or CodebookSettings()
        self.register_buffer("low", torch.zeros(COEFFICIENTS))
        self.register_buffer("high", torch.ones(COEFFICIENTS))
        self.enter = nn.Linear(2 * COEFFICIENTS, s.width)
        self.encoder = nn.ModuleList([_Layer(s) for _ in range(s.layers)])
        self.to_codes = nn.Sequential(nn.LayerNorm(s.width), nn.Linear(s.width, s.tokens * s.code))
        self.quantizer = Quantizer(s)
        self.from_codes = nn.Linear(s.tokens * s.code, s.width)
        self.decoder = nn.ModuleList([_Layer(s) for _ in range(s.layers)])
        self.leave = nn.Sequential(nn.LayerNorm(s.width), nn.Linear(s.width, COEFFICIENTS))

    @property
    def reach(self) -> int:
        """Frames of the past that can influence a frame."""
        return 2 * self.settings.layers * self.settings.memory

    def set_range(self, curves: np.ndarray) -> None:
        """Take the subject's extremes from its own coefficients, float [T,52]."""
        self.low.copy_(torch.from_numpy(np.percentile(curves, 0.5, axis=0)).float())
        top = torch.from_numpy(np.percentile(curves, 99.5, axis=0)).float()
        self.high.copy_(torch.maximum(top, self.low + 1e-3))

    def encode(self, curves: Tensor) -> Tensor:
        """Coefficients [B,T,52] -> latents [B,T,tokens,code]; what exceeds the range enters apart."""
        span = self.high - self.low
        relative = (curves - self.low) / span
        x = self.enter(torch.cat([relative.clamp(0, 1), (relative - 1).clamp(0, 4)], -1))
        for layer in self.encoder:
            x = layer(x)
        return self.to_codes(x).unflatten(-1, (self.settings.tokens, self.settings.code))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B,T,tokens,code] -> coefficients [B,T,52] inside the subject's range (Eq. 26)."""
        x = self.from_codes(codes.flatten(-2))
        for layer in self.decoder:
            x = layer(x)
        return self.low + (self.high - self.low) * torch.sigmoid(4 * (self.leave(x) - 0.5))

    def forward(self, curves: Tensor) -> tuple[Tensor, Quantized]:
        """Coefficients [B,T,52] -> the same in the subject's range [B,T,52], and the quantizer's account."""
        quantized = self.quantizer(self.encode(curves))
        return self.decode(quantized.codes), quantized

    def fit(self, curves: np.ndarray) -> np.ndarray:
        """Bring coefficients of any origin and length, float32 [T,52], into the subject's range, [T,52]."""
        return CodebookStream(self).push(curves)

    def save(self, path: Path) -> None:
        """Write the weights as float16 safetensors (the range as float32)."""
        exact = ("low", "high", "quantizer.usage")
        tensors = {k: v.float() if k in exact else v.half() for k, v in self.state_dict().items()}
        write_tensors(path, tensors, asdict(self.settings))

    @classmethod
    def load(cls, path: Path | None = None) -> "Codebook":
        """Read a codebook; without a path, the shared one that ships with the library.

        Raises:
            AvatarError: the file is damaged or not a codebook.
        """
        path = path or model_path("expression_codebook.safetensors")
        tensors, settings = read_tensors(path)
        codebook = cls(CodebookSettings(**settings))
        load_module(path, codebook, {name: value.float() for name, value in tensors.items()})
        return codebook.eval()


class CodebookStream:
    """Brings coefficients that arrive piece by piece into a subject's range; memory stays flat."""

    def __init__(self, codebook: Codebook) -> None:
        self.codebook = codebook
        self._past = np.zeros((0, COEFFICIENTS), np.float32)

    @torch.inference_mode()
    def push(self, curves: np.ndarray) -> np.ndarray:
        """The next frames' coefficients float32 [n,52] -> float32 [n,52]."""
        pieces = []
        for start in range(0, len(curves), 250):
            piece = np.asarray(curves[start : start + 250], np.float32)
            window = np.concatenate([self._past, piece])
            pieces.append(self.codebook(torch.from_numpy(window)[None])[0][0, len(self._past) :].numpy())
            self._past = window[-self.codebook.reach :]
        return np.concatenate(pieces) if pieces else np.zeros((0, COEFFICIENTS), np.float32)
