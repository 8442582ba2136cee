"""OOD Audio Expression Generator (Section III-E): speech-matched expressions from the voice alone.

A small relative of EmoTalk: a content branch hears what is said, an emotion branch hears how, training
exchanges the two between clips (cross-reconstruction) so that they stay apart, and a Transformer decoder
turns them into the 52 coefficients. It never looks ahead (the mel features reach 100 ms), so it streams.
What it hears is mel and prosody only, so it does not depend on the lip encoder.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synctalk.assets import model_path
from synctalk.errors import SpeechError
from synctalk.expression.prosody import PROSODY, SPAN, prosody
from synctalk.expression.voice import BANDS, FEATURES
from synctalk.tensor_file import load_module, read_tensors, write_tensors

STYLES = ("neutral", "happy", "serious", "surprised", "question")
COEFFICIENTS = 52


@dataclass(frozen=True)
class GeneratorSettings:
    """Sizes of the network."""

    width: int = 96  # of content and decoder
    mel: int = 24  # what is left of the mel bands: accents are few, words many
    code: int = 24  # of the emotion
    layers: int = 2  # of the decoder
    heads: int = 4
    memory: int = 75  # frames a decoder layer looks back (3 s)
    mood: int = 125  # frames over which the emotion is heard (5 s)
    dropout: float = 0.2  # in training


class _Ear(nn.Module):
    """Mel through a narrow gate, prosody beside it: normalised voice features [B,T,163] -> [B,T,width]."""

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(2 * BANDS, settings.mel), nn.GELU(), nn.Dropout(settings.dropout))
        self.join = nn.Linear(settings.mel + FEATURES - 2 * BANDS + PROSODY, settings.width)

    def forward(self, features: Tensor) -> Tensor:
        narrow = self.gate(features[..., : 2 * BANDS])
        return self.join(torch.cat([narrow, features[..., 2 * BANDS :], prosody(features)], -1))


class _CausalConv(nn.Module):
    """Residual convolution over time that sees the past only."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = 4 * dilation
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 5, dilation=dilation)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.pad(self.norm(x).transpose(1, 2), (self.reach, 0))
        return x + self.out(self.dropout(F.gelu(self.conv(y)).transpose(1, 2)))


class _DecoderLayer(nn.Module):
    """Self-attention over the last `memory` frames with a distance penalty per head, then an MLP."""

    slopes: Tensor

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.memory = settings.heads, settings.memory
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(settings.dropout),
            nn.Linear(2 * width, width),
        )
        self.register_buffer("slopes", 2.0 ** -torch.arange(1, settings.heads + 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, width = x.shape
        q, k, v = (
            part.reshape(batch, frames, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        age = torch.arange(frames)[:, None] - torch.arange(frames)[None]
        bias = -self.slopes[:, None, None] * age
        bias = bias.masked_fill((age < 0) | (age > self.memory), float("-inf"))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(x.dtype))
        x = x + self.out(y.transpose(1, 2).reshape(batch, frames, width))
        return x + self.mlp(self.norm2(x))


class ExpressionGenerator(nn.Module):
    """Voice features -> 52 blendshape coefficients at 25 frames per second."""

    def __init__(self, settings: GeneratorSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or GeneratorSettings()
        self.content_in, self.emotion_in = _Ear(s), _Ear(s)
        self.content = nn.ModuleList([_CausalConv(s.width, d, s.dropout) for d in (1, 2, 4)])
        self.emotion = nn.ModuleList([_CausalConv(s.width, d, s.dropout) for d in (1, 3)])
        self.emotion_score = nn.Linear(s.width, 1)
        self.emotion_code = nn.Linear(s.width, s.code)
        self.classify = nn.Linear(s.code, len(STYLES))
        self.styles = nn.Embedding(len(STYLES), s.code)
        self.style_in = nn.Linear(s.code, s.width)
        self.decoder = nn.ModuleList([_DecoderLayer(s) for _ in range(s.layers)])
        last = nn.Linear(s.width, COEFFICIENTS)
        nn.init.constant_(last.bias, -2.5)  # faces are mostly at rest
        self.leave = nn.Sequential(nn.LayerNorm(s.width), last)

    @property
    def reach(self) -> int:
        """Frames of the past that can influence a frame."""
        s = self.settings
        return s.layers * s.memory + max(28, s.mood + 16) + SPAN

    def hear_content(self, features: Tensor) -> Tensor:
        """What is said: normalised voice features [B,T,163] -> [B,T,width]."""
        x = self.content_in(features)
        for block in self.content:
            x = block(x)
        return x

    def hear_emotion(self, features: Tensor) -> Tensor:
        """How it has been said for the last seconds: normalised voice features [B,T,163] -> [B,T,code]."""
        x = self.emotion_in(features)
        for block in self.emotion:
            x = block(x)
        heard = self.emotion_score(x).clamp(-8, 8).exp()
        sums = torch.cat([heard * x, heard], -1).transpose(1, 2)
        recent = F.avg_pool1d(F.pad(sums, (self.settings.mood - 1, 0)), self.settings.mood, stride=1)
        recent = recent.transpose(1, 2)
        return self.emotion_code(recent[..., :-1] / recent[..., -1:].clamp_min(1e-6))

    def style_code(self, style: str, strength: float = 1.0) -> Tensor:
        """Code of a learnt style, [1,code]: strength 0 is neutral, 1 as the presenters do it.

        Raises:
            SpeechError: not one of `STYLES`.
        """
        if style not in STYLES:
            raise SpeechError(f"The style {style!r} is not learnt; the learnt ones are {', '.join(STYLES)}.")
        neutral, asked = self.styles.weight[0], self.styles.weight[STYLES.index(style)]
        return (neutral + strength * (asked - neutral))[None]

    def decode(self, content: Tensor, code: Tensor) -> Tensor:
        """Content [B,T,width] said in the manner of `code` -> coefficients [B,T,52] in (0,1).

        Args:
            content: from `hear_content`.
            code: [B,code], or [B,T,code] where the manner changes.
        """
        manner = self.style_in(code)
        x = content + (manner if manner.ndim == 3 else manner[:, None])
        for layer in self.decoder:
            x = layer(x)
        return torch.sigmoid(self.leave(x))

    def forward(self, features: Tensor, code: Tensor | None = None) -> Tensor:
        """Normalised voice features [B,T,163], code [B,code], [B,T,code] or None (heard) -> [B,T,52]."""
        return self.decode(self.hear_content(features), self.hear_emotion(features) if code is None else code)

    def save(self, path: Path) -> None:
        """Write the weights as float16 safetensors."""
        tensors = {name: value.half() for name, value in self.state_dict().items()}
        write_tensors(path, tensors, asdict(self.settings))

    @classmethod
    def load(cls, path: Path | None = None) -> "ExpressionGenerator":
        """Read a generator; without a path, the one that ships with the library.

        Raises:
            AvatarError: the file is damaged or not a generator.
        """
        path = path or model_path("expression_generator.safetensors")
        tensors, settings = read_tensors(path)
        generator = cls(GeneratorSettings(**settings))
        load_module(path, generator, {name: value.float() for name, value in tensors.items()})
        return generator.eval()


class ExpressionStream:
    """Runs a generator over features that arrive piece by piece; memory stays flat.

    Args:
        generator: the network.
        style: one of `STYLES`, or None to take the manner from the voice itself.
        strength: 0 (neutral) to 1 (as the presenters do it) and above.
    """

    def __init__(
        self, generator: ExpressionGenerator, style: str | None = None, strength: float = 1.0
    ) -> None:
        self.generator = generator
        self._code = None if style is None else generator.style_code(style, strength).detach()
        self._past = np.zeros((0, FEATURES), np.float32)

    @torch.inference_mode()
    def push(self, features: np.ndarray) -> np.ndarray:
        """The next frames' normalised features float32 [n,163] -> coefficients float32 [n,52]."""
        pieces = []
        for start in range(0, len(features), 250):
            piece = features[start : start + 250]
            window = np.concatenate([self._past, piece])
            tensor = torch.from_numpy(window)[None]
            pieces.append(self.generator(tensor, self._code)[0, len(self._past) :].numpy())
            self._past = window[-self.generator.reach :]
        return np.concatenate(pieces) if pieces else np.zeros((0, COEFFICIENTS), np.float32)
