"""Frames per second of the portrait: deform, splat, blend into the source frame."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synctalk.avatar import Avatar
from synctalk.evaluation.bench.scenes import head_scene
from synctalk.face_sync.attention import FacialAwareAttention, TemporalAudioAttention
from synctalk.face_sync.blendshapes import CORE_SEVEN, EYE_LOOK, SMILE
from synctalk.portrait.model import PortraitModel
from synctalk.portrait.portrait_sync import PortraitSync
from synctalk.portrait.renderer import PortraitRenderer
from synctalk.portrait.settings import PortraitSettings
from synctalk.portrait.splat import rasterize
from synctalk.video import Planes, VideoReader

_FRAMES = 32


@dataclass
class _Scene:
    """A few frames of an avatar, everything but the portrait already in memory."""

    name: str
    model: PortraitModel
    size: tuple[int, int]
    crop: tuple[int, int, int, int]
    K: Tensor
    viewmats: Tensor  # [T,4,4]
    conditions: Tensor  # [T,C]
    frames: list[Planes]
    mattes: list[NDArray[np.uint8]]
    grain: float = 0.0  # grey levels of 255


def run(seconds: float = 5.0, avatar: str | None = None, threads: int | None = None) -> dict[str, Any]:
    """Milliseconds per frame of each part (median), frames per second of all, dB against the training path.

    Uses `avatar`, or the first bundled one, or a made-up head of 20 k Gaussians where there is none.
    """
    name = avatar or next(iter(Avatar.available()), None)
    scene = _from_avatar(Avatar.from_pretrained(name)) if name else _made_up()
    renderer = PortraitRenderer(scene.model, *scene.size, scene.K, threads=threads)
    sync = PortraitSync(scene.size, scene.crop, grain=scene.grain)
    times: dict[str, list[float]] = {"render": [], "blend": []}
    started, index, spent = time.perf_counter(), 0, 0.0
    while time.perf_counter() - started < seconds:
        t = index % len(scene.frames)
        before = time.perf_counter()
        image, alpha = renderer.render(scene.conditions, t, scene.viewmats[t])
        between = time.perf_counter()
        sync.on_planes(scene.frames[t], image, alpha, scene.mattes[t], index)
        after = time.perf_counter()
        if index == 4:
            spent = time.process_time()
        if index >= 5:  # the first frames find their memory
            times["render"].append(between - before)
            times["blend"].append(after - between)
        index += 1
    parts = {f"{part}_ms": 1000 * float(np.median(values)) for part, values in times.items()}
    parts["cpu_ms"] = 1000 * (time.process_time() - spent) / max(1, index - 5)
    parts["deform_ms"] = _median_ms(lambda: renderer.deform(scene.conditions[0], scene.viewmats[0]))
    return {
        "scene": scene.name,
        "size": f"{scene.size[0]}x{scene.size[1]}",
        "gaussians": len(scene.model.canonical),
        "moving": renderer.moving,
        **parts,
        "fps": 1000 / (parts["render_ms"] + parts["blend_ms"]),
        "psnr_training_path": _agreement(scene, renderer),
    }


def table(result: dict[str, Any]) -> str:
    """The result as lines to read."""
    head = f"{result['scene']}, {result['size']}, {result['gaussians']} Gaussians"
    return "\n".join(
        [
            f"{head}, {result['moving']} moving",
            f"  deform            {result['deform_ms']:6.2f} ms",
            f"  deform and splat  {result['render_ms']:6.2f} ms",
            f"  blend             {result['blend_ms']:6.2f} ms",
            f"  together          {result['fps']:6.0f} frames per second",
            f"  processor time    {result['cpu_ms']:6.2f} ms, of all threads",
            f"  inference against training path {result['psnr_training_path']:.1f} dB",
        ]
    )


def _median_ms(work: Callable[[], Any], times: int = 30) -> float:
    taken = []
    for _ in range(times):
        before = time.perf_counter()
        work()
        taken.append(time.perf_counter() - before)
    return 1000 * float(np.median(taken))


@torch.inference_mode()
def _agreement(scene: _Scene, renderer: PortraitRenderer) -> float:
    """Worst PSNR over a few frames of the inference path against `PortraitModel.forward`, dB."""
    worst = float("inf")
    for t in range(0, len(scene.frames), 8):
        image, _ = renderer.render(scene.conditions, t, scene.viewmats[t])
        g = scene.model(scene.viewmats[t], scene.conditions[t])
        expected, _ = rasterize(
            g.means, g.quats, g.scales, g.opacities, g.colors, scene.viewmats[t], scene.K, *scene.size
        )
        worst = min(worst, float(-10 * torch.log10((image - expected).pow(2).mean().clamp_min(1e-12))))
    return worst


def _from_avatar(avatar: Avatar) -> _Scene:
    """The first frames of an avatar, driven by conditions of its training."""
    model = avatar.portrait()
    count = min(_FRAMES, avatar.frames)
    source = VideoReader(avatar.folder / "source.mp4", "yuv420p", groups=count)
    return _Scene(
        name=avatar.name,
        model=model,
        size=avatar.size,
        crop=avatar.crop,
        K=avatar.K,
        viewmats=avatar.viewmats[:count],
        conditions=model.condition_samples[:count],
        frames=[source.planes(i) for i in range(count)],
        mattes=[np.ascontiguousarray(avatar.mattes(i)) for i in range(count)],
        grain=avatar.grain,
    )


def _made_up() -> _Scene:
    """A head of 20 k Gaussians whose front moves, over a grey frame."""
    torch.manual_seed(0)
    scene = head_scene()
    settings = PortraitSettings(upper=(*CORE_SEVEN, *EYE_LOOK), lower=tuple(SMILE))
    facial = FacialAwareAttention(
        settings.triplane_dim, settings.lower_dim, settings.upper_dim, settings.attention_hidden
    )
    model = PortraitModel(len(scene.means), settings, TemporalAudioAttention(), facial)
    with torch.no_grad():
        model.canonical.means.copy_(scene.means)
        model.canonical.quats.copy_(scene.quats)
        model.canonical.scales.copy_(scene.scales.log())
        model.canonical.opacities.copy_(scene.opacities.logit())
        model.canonical.sh[:, 0] = (scene.colors - 0.5) / 0.28
        model.condition_samples.normal_()
    size = scene.width
    head = np.zeros((size, size), np.uint8)
    _, alpha = rasterize(*scene)
    head[alpha.numpy() > 0.5] = 255
    face = head.copy()
    face[: size // 3] = 0
    mattes = np.stack([face, head, np.full_like(head, 255)])
    return _Scene(
        name="made-up head",
        model=model.eval(),
        size=(size, size),
        crop=(0, 0, size, size),
        K=scene.K,
        viewmats=scene.viewmat[None].repeat(_FRAMES, 1, 1),
        conditions=model.condition_samples[:_FRAMES],
        frames=[Planes(np.full(size * size * 3 // 2, 128, np.uint8), size, size)] * _FRAMES,
        mattes=[mattes] * _FRAMES,
    )
