"""Transformer VQ-VAE (Section III-E, Eq. 25-27): coefficients of anyone come back in this subject's range."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synctalk.assets import model_path
from synctalk.errors import AvatarError
from synctalk.tensor_file import load_module, read_tensors, write_tensors

COEFFICIENTS = 52
_MOST = 5.0  # an excess beyond this many ranges counts as this much


@dataclass(frozen=True)
class CodebookSettings:
    """Sizes of the VQ-VAE."""

    width: int = 96
    layers: int = 2
    heads: int = 4
    memory: int = 24  # frames a layer looks back; it never looks ahead, so the codebook streams
    tokens: int = 16  # codes per frame: a face is more than one word
    code: int = 4  # length of a code vector
    entries: int = 64  # codebook size of each stage
    stages: int = 5  # residual quantization: each stage codes what the ones before it left over
    commitment: float = 0.25  # weight of the commitment term of Eq. 27


class Quantized(NamedTuple):
    """What the quantizer gives.

    codes: [B,T,tokens,code]; indices: [B,T,tokens,stages]; loss: the terms of Eq. 27; residuals: what each
    stage was given, [stages,N,code], detached.
    """

    codes: Tensor
    indices: Tensor
    loss: Tensor
    residuals: Tensor


class Quantizer(nn.Module):
    """Nearest entry of the codebook (Eq. 25), stage after stage on what is left; gradients go straight on."""

    usage: Tensor

    def __init__(self, settings: CodebookSettings) -> None:
        super().__init__()
        self.commitment = settings.commitment
        sizes = 0.5 * 0.3 ** torch.arange(settings.stages)
        noise = torch.randn(settings.stages, settings.entries, settings.code)
        self.entries = nn.Parameter(noise * sizes[:, None, None])
        self.register_buffer("usage", torch.ones(settings.stages, settings.entries))

    def forward(self, latents: Tensor) -> Quantized:
        """Latents [B,T,tokens,code] -> the nearest entries."""
        flat = latents.reshape(-1, latents.shape[-1])
        codes = torch.zeros_like(flat)
        loss = flat.new_zeros(())
        indices, residuals = [], []
        for entries in self.entries:
            rest = flat - codes.detach()
            residuals.append(rest.detach())
            # |rest - e|^2 less what is the same for every entry; a plain product is faster than cdist.
            nearest = (entries.square().sum(1) - 2 * rest.detach() @ entries.T).argmin(1)
            chosen = entries[nearest]
            loss = (
                loss + F.mse_loss(chosen, rest.detach()) + self.commitment * F.mse_loss(rest, chosen.detach())
            )
            codes = codes + chosen
            indices.append(nearest)
        codes = codes.reshape(latents.shape)
        straight = latents + (codes - latents).detach()
        stacked = torch.stack(indices, -1).reshape(*latents.shape[:-1], len(self.entries))
        return Quantized(straight, stacked, loss, torch.stack(residuals))

    @torch.no_grad()
    def track(self, quantized: Quantized, decay: float = 0.98) -> int:
        """Keep count of which entries are used and revive dead ones from what their stage is given now.

        Returns:
            how many entries were revived.
        """
        revived = 0
        for stage, (entries, usage) in enumerate(zip(self.entries, self.usage, strict=True)):
            counts = torch.bincount(quantized.indices[..., stage].reshape(-1), minlength=len(entries)).float()
            usage.mul_(decay).add_((1 - decay) * counts * len(entries) / counts.sum())
            dead = usage < 0.02
            count = int(dead.sum())
            if count:
                given = quantized.residuals[stage]
                entries[dead] = given[torch.randint(len(given), (count,))]
                usage[dead] = 1.0
                revived += count
        return revived

    def perplexity(self, indices: Tensor) -> list[float]:
        """How many entries each stage uses: the exponential of the entropy of their frequencies.

        Args:
            indices: [...,stages].
        """
        found = []
        for stage in range(indices.shape[-1]):
            share = torch.bincount(indices[..., stage].reshape(-1), minlength=self.entries.shape[1]).float()
            share = share / share.sum()
            found.append(float(torch.exp(-(share * (share + 1e-10).log()).sum())))
        return found


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


def recent_peak(relative: Tensor, memory: int) -> Tensor:
    """Largest value of each coefficient in the last `memory` frames and this one: [B,T,52] -> [B,T,52]."""
    padded = F.pad(relative.transpose(1, 2), (memory, 0))
    return F.max_pool1d(padded, memory + 1, stride=1).transpose(1, 2)


class Codebook(nn.Module):
    """Encoder and codebook shared by everyone, decoder fine-tuned for one subject (Eq. 26).

    Both ends count in the subject's own range: 0 is `low`, 1 is `high`, the subject's extremes. The encoder
    is told apart what lies inside the range and what exceeds it; the decoder knows nothing beyond the range,
    so whatever goes in, what comes out is something this face has done.
    """

    low: Tensor
    high: Tensor

    def __init__(self, settings: CodebookSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or CodebookSettings()
        self.register_buffer("low", torch.zeros(COEFFICIENTS))
        self.register_buffer("high", torch.ones(COEFFICIENTS))
        latent = s.tokens * s.code
        self.enter = nn.Linear(3 * COEFFICIENTS, s.width)
        self.encoder = nn.ModuleList([_Layer(s) for _ in range(s.layers)])
        self.to_codes = nn.Sequential(nn.LayerNorm(s.width), nn.Linear(s.width, latent))
        # The straight ways beside the Transformers carry fine movement; those learn what is to change.
        self.pass_in = nn.Linear(COEFFICIENTS, latent, bias=False)
        self.quantizer = Quantizer(s)
        self.from_codes = nn.Linear(latent, s.width)
        self.decoder = nn.ModuleList([_Layer(s) for _ in range(s.layers)])
        self.leave = nn.Sequential(nn.LayerNorm(s.width), nn.Linear(s.width, COEFFICIENTS))
        self.pass_out = nn.Linear(latent, COEFFICIENTS, bias=False)
        nn.init.orthogonal_(self.pass_in.weight)
        with torch.no_grad():
            if latent >= COEFFICIENTS:
                self.pass_out.weight.copy_(self.pass_in.weight.T)

    @property
    def reach(self) -> int:
        """Frames of the past that can influence a frame."""
        return (2 * self.settings.layers + 1) * self.settings.memory

    def set_range(self, curves: np.ndarray) -> None:
        """Take the subject's extremes from its own coefficients, float [T,52]."""
        self.low.copy_(torch.from_numpy(np.percentile(curves, 0.5, axis=0)).float())
        top = torch.from_numpy(np.percentile(curves, 99.5, axis=0)).float()
        self.high.copy_(torch.maximum(top, self.low + 1e-3))

    def encode(self, relative: Tensor) -> Tensor:
        """Coefficients in units of the range [B,T,52] -> latents [B,T,tokens,code]."""
        peak = recent_peak(relative.clamp(0, _MOST), self.settings.memory)
        inside = relative.clamp(0, 1)
        x = self.enter(torch.cat([inside, (relative - 1).clamp(0, _MOST), (peak - 1).clamp(0, _MOST)], -1))
        for layer in self.encoder:
            x = layer(x)
        latents = self.to_codes(x) + self.pass_in(inside)
        return latents.unflatten(-1, (self.settings.tokens, self.settings.code))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B,T,tokens,code] -> coefficients in units of the range [B,T,52], not clamped (Eq. 26)."""
        flat = codes.flatten(-2)
        x = self.from_codes(flat)
        for layer in self.decoder:
            x = layer(x)
        return self.leave(x) + self.pass_out(flat)

    def forward(self, curves: Tensor) -> tuple[Tensor, Quantized]:
        """Coefficients [B,T,52] -> the same in the subject's range [B,T,52], and the quantizer's account."""
        span = self.high - self.low
        quantized = self.quantizer(self.encode((curves - self.low) / span))
        return self.low + span * self.decode(quantized.codes).clamp(0, 1), quantized

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
            AvatarError: the file is damaged, not a codebook, or of another version.
        """
        path = path or model_path("expression_codebook.safetensors")
        tensors, settings = read_tensors(path)
        try:
            codebook = cls(CodebookSettings(**settings))
        except TypeError as error:
            raise AvatarError(
                f"{path} is a codebook of another version of synctalk ({error}). Train the avatar's codebook "
                "again: delete expression.safetensors in its work folder and repeat `synctalk train`."
            ) from error
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
