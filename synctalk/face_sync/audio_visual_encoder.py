"""Audio-Visual Encoder: 200 ms of mel spectrogram to a 512-d feature that knows the lips (paper Sec. III-B).

The audio half of the network trained by Eq. 1-3; the layer shapes are those of the public weights, so an
`audio_visual_encoder.pth` loads after `convert_checkpoint`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from synctalk.assets import model_path
from synctalk.errors import AudioError, AvatarError
from synctalk.half_precision import has_bfloat16
from synctalk.speech.mel import BANDS, SILENCE, WINDOW_ROWS, mel_spectrogram, mel_windows

FEATURES = 512
RATE = 16000
SAMPLES_PER_FRAME = RATE // 25
WEIGHTS = "audio_visual_encoder.safetensors"

# in, out, kernel, stride, padding, residual
_LAYERS: tuple[tuple[int, int, int, int | tuple[int, int], int, bool], ...] = (
    (1, 32, 3, 1, 1, False),
    (32, 32, 3, 1, 1, True),
    (32, 32, 3, 1, 1, True),
    (32, 64, 3, (3, 1), 1, False),
    (64, 64, 3, 1, 1, True),
    (64, 64, 3, 1, 1, True),
    (64, 128, 3, 3, 1, False),
    (128, 128, 3, 1, 1, True),
    (128, 128, 3, 1, 1, True),
    (128, 256, 3, (3, 2), 1, False),
    (256, 256, 3, 1, 1, True),
    (256, 512, 3, 1, 0, False),
    (512, 512, 1, 1, 0, False),
)


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU; with `residual` the input is added before the ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int | tuple[int, int],
        padding: int,
        residual: bool,
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs)
        )
        self.residual = residual

    @property
    def norm(self) -> nn.BatchNorm2d:
        """The batch norm."""
        norm = self.conv_block[1]
        assert isinstance(norm, nn.BatchNorm2d)
        return norm

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H', W']."""
        y = self.conv_block(x)
        return torch.relu(y + x if self.residual else y)


class AudioVisualEncoder(nn.Module):
    """13 convolution blocks, 2.81 M parameters: [B, 1, 80, 16] mel windows -> [B, 512] non-negative features.

    The embedded weights are scaled so that every feature has unit standard deviation over speech (the last
    batch norm carries the scale), so a feature may be fed to a network as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = nn.Sequential(*(ConvBlock(*layer) for layer in _LAYERS))
        self._fused: list[nn.Sequential] = []  # in a list, so that it is no part of the state dict
        self._inference_dtype = torch.float32

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike | None = None) -> AudioVisualEncoder:
        """The encoder with the embedded weights, or with those of a safetensors file; in eval mode.

        Raises AvatarError when the file is unreadable or its tensors are not this network's.
        """
        file = Path(path) if path is not None else model_path(WEIGHTS)
        try:
            state = load_file(file)
        except (OSError, SafetensorError) as error:
            raise AvatarError(f"{file} cannot be read as encoder weights ({error}).") from error
        encoder = cls()
        _check_state(encoder, state, file)
        encoder.load_state_dict(
            {name: value.to(torch.float32) for name, value in state.items()}, strict=False
        )
        return encoder.eval()

    def save_pretrained(self, path: str | os.PathLike) -> None:
        """Write the weights as float16 safetensors (about 6 MB)."""
        save_file(_half(self.state_dict()), Path(path))

    def in_half_precision(self) -> AudioVisualEncoder:
        """From now on `encode` multiplies in bfloat16, 2.3 times as fast where processors do so natively;
        features of speech are off by 0.3 %, which nobody sees. Elsewhere nothing changes.
        """
        if has_bfloat16():
            self._inference_dtype, self._fused = torch.bfloat16, []
        return self

    def train(self, mode: bool = True) -> AudioVisualEncoder:
        """Weights may change in training, so the fast copy that `encode` uses is dropped."""
        self._fused = []
        return super().train(mode)

    def forward(self, windows: Tensor) -> Tensor:
        """Mel windows float [B, 1, 80, 16] (or [B, 80, 16]) in [-4, 4] -> features [B, 512]."""
        if windows.ndim == 3:
            windows = windows[:, None]
        return self.audio_encoder(windows).flatten(1)

    @torch.inference_mode()
    def encode(self, samples: np.ndarray | Tensor, chunk: int = 128) -> Tensor:
        """Features of every video frame of a sound: float32 [ceil(n / 640), 512]; frame i looks at i / 25 s
        +-100 ms.

        samples: float [n], mono 16 kHz in [-1, 1]. `chunk` frames are computed at a time; it changes
        nothing but
        the memory needed. Raises AudioError for sound that is not one-dimensional, empty or not finite.
        """
        sound = _checked(samples)
        frames = -(-len(sound) // SAMPLES_PER_FRAME)
        return self.encode_mel(mel_spectrogram(sound), frames, chunk=chunk)

    @torch.inference_mode()
    def encode_mel(self, mel: np.ndarray, frames: int, start: int = 0, chunk: int = 128) -> Tensor:
        """Features of frames start ... start + frames - 1 of a mel spectrogram [rows, 80]: float32 [frames,
        512]."""
        parts = [
            self.encode_windows(mel_windows(mel, min(chunk, start + frames - first), first))
            for first in range(start, start + frames, chunk)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, FEATURES)

    @torch.inference_mode()
    def encode_windows(self, windows: np.ndarray | Tensor) -> Tensor:
        """Features of ready mel windows [B, 80, 16]: float32 [B, 512]."""
        network = self._inference_network()
        weights = next(network.parameters())
        batch = torch.as_tensor(windows, dtype=torch.float32).to(weights.device, weights.dtype)[:, None]
        return network(batch.contiguous(memory_format=torch.channels_last)).flatten(1).float().cpu()

    def encode_stream(self, blocks: Iterable[np.ndarray]) -> Iterator[Tensor]:
        """Features of sound that arrives in blocks of any size: yields [k, 512], together equal to `encode`.

        Frames leave as soon as the 125 ms after them are known; memory does not grow with the length.
        """
        hop, margin = 200, 3  # samples per mel row; rows whose spectrum reaches over a cut in the sound
        held = np.zeros(0, np.float32)
        first_row = 0  # mel row at held[0]
        total = frame = 0
        for block in blocks:
            if len(block) == 0:
                continue
            fresh = _checked(block)
            held = np.concatenate([held, fresh])
            total += len(fresh)
            # window of frame f ends at row round(3.2 f) + 7, whose spectrum ends 400 samples later
            ready = frame
            while (int(np.round(3.2 * ready)) + WINDOW_ROWS // 2 - 1) * hop + 400 <= total:
                ready += 1
            if ready - frame >= 1:
                yield self._stretch(held, first_row, frame, ready)
                frame = ready
                keep = max(int(np.round(3.2 * frame)) - WINDOW_ROWS // 2 - margin, 0)
                if keep > first_row:
                    held = held[(keep - first_row) * hop :]
                    first_row = keep
        last = -(-total // SAMPLES_PER_FRAME)
        if last > frame:
            yield self._stretch(held, first_row, frame, last)

    def _stretch(self, held: np.ndarray, first_row: int, frame: int, stop: int) -> Tensor:
        """Features frame ... stop - 1, where `held` begins at mel row `first_row`."""
        mel = mel_spectrogram(held)
        begin = np.round(3.2 * np.arange(frame, stop)).astype(np.int64) - WINDOW_ROWS // 2 - first_row
        rows = begin[:, None] + np.arange(WINDOW_ROWS)
        inside = (rows >= 0) & (rows < len(mel))
        windows = np.where(inside[..., None], mel[np.clip(rows, 0, len(mel) - 1)], SILENCE)
        return torch.cat(
            [self.encode_windows(part) for part in torch.tensor(windows).transpose(1, 2).split(128)]
        )

    def _inference_network(self) -> nn.Sequential:
        """A copy with each batch norm folded into its convolution: the same function, fewer passes over
        memory."""
        if self.training:
            return copy.deepcopy(self.audio_encoder).eval()
        if not self._fused:
            self._fused = [fused_blocks(self.audio_encoder).to(self._inference_dtype)]
        return self._fused[0]


def fused_blocks(blocks: nn.Sequential) -> nn.Sequential:
    """A frozen copy of trained blocks with each batch norm folded into its convolution, channels last."""
    fused = copy.deepcopy(blocks).eval()
    for block in fused:
        if isinstance(block, ConvBlock):
            convolution = block.conv_block[0]
            assert isinstance(convolution, nn.Conv2d)
            folded = fuse_conv_bn_eval(convolution, block.norm)
            folded.weight.data = folded.weight.data.contiguous(memory_format=torch.channels_last)
            block.conv_block = nn.Sequential(folded)
    return fused.requires_grad_(False)


def convert_checkpoint(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Turn an `audio_visual_encoder.pth` (a PyTorch state dict) into safetensors that `from_pretrained`
    reads.

    The file is opened with `weights_only=True`, so nothing inside it is executed. Names may carry the prefix
    `audio_encoder.` or none, and the dict may lie under 'state_dict'.
    Raises AvatarError when the file is not such a state dict or a tensor is missing or has another shape.
    """
    try:
        loaded = torch.load(Path(source), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, OSError or EOFError here
        raise AvatarError(f"{source} cannot be read safely as a PyTorch state dict ({error}).") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise AvatarError(f"{source} holds no state dict (a mapping of names to tensors).")
    prefix = "audio_encoder."
    state = {name if name.startswith(prefix) else prefix + name: value for name, value in state.items()}
    _check_state(AudioVisualEncoder(), state, Path(source))
    save_file(_half(state), Path(target))


def _half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float16 copies; counters of the batch norms are left out, they change nothing."""
    return {
        name: value.detach().to(torch.float16).contiguous().clone()
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _check_state(encoder: AudioVisualEncoder, state: Mapping[str, Tensor], file: Path) -> None:
    wanted = {k: v for k, v in encoder.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    for name, value in wanted.items():
        if name not in given:
            raise AvatarError(f"{file}: the tensor {name} is missing; these are not this encoder's weights.")
        if given[name].shape != value.shape:
            raise AvatarError(f"{file}: {name} has shape {list(given[name].shape)}, not {list(value.shape)}.")
    unknown = sorted(set(given) - set(wanted))
    if unknown:
        raise AvatarError(
            f"{file}: unknown tensors, first {unknown[0]}; these are not this encoder's weights."
        )


def _checked(samples: np.ndarray | Tensor) -> np.ndarray:
    sound = np.asarray(samples, dtype=np.float32)
    if sound.ndim != 1 or len(sound) == 0:
        raise AudioError(f"The encoder takes mono samples [n] with n > 0, not shape {list(sound.shape)}.")
    if not np.isfinite(sound).all():
        raise AudioError("The sound holds samples that are not numbers (NaN or infinite).")
    return sound


def silent_windows(count: int = 1) -> np.ndarray:
    """Mel windows of digital silence: float32 [count, 80, 16]."""
    return np.full((count, BANDS, WINDOW_ROWS), SILENCE, np.float32)
