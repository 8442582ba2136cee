"""The smallest real avatar: 200 Gaussians over the three-second clip, in the real folder format.

Nothing is trained: Gaussians lie on the face, and random small weights make its lower half answer to lips
and its upper half to expressions, so that everything an avatar does can be seen doing it.
"""

from pathlib import Path

import cv2
import numpy as np
import torch

from synctalk import avatar_files
from synctalk.face_sync.attention import FacialAwareAttention, TemporalAudioAttention
from synctalk.face_sync.blendshapes import CORE_SEVEN, EYE_LOOK, SMILE
from synctalk.portrait.canonical import rgb_to_sh
from synctalk.portrait.model import PortraitModel
from synctalk.portrait.settings import PortraitSettings
from synctalk.tensor_file import write_tensors
from synctalk.video import VideoWriter, read_frames

DATA = Path(__file__).parent / "data"
SIZE = 256
FRAMES = 75
GAUSSIANS = 200


def make_tiny_avatar(folder: Path, name: str = "tiny", portrait_seed: int = 0) -> Path:
    """Write the avatar into `folder` (made if missing) and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = np.load(DATA / "ben_3s_truth.npz")
    scale = SIZE / float(truth["width"])
    frames = [
        cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        for frame in read_frames(DATA / "ben_3s.mp4")
    ][:FRAMES]
    mattes = [_mattes(points * scale) for points in truth["lm68_px"]]
    with VideoWriter(folder / "source.mp4", SIZE, SIZE, keyframe_every=25) as video:
        for frame in frames:
            video.write(frame)
    with VideoWriter(folder / "mattes.mp4", 3 * SIZE, SIZE, keyframe_every=25) as video:
        for matte in mattes:
            video.write(np.repeat(np.hstack(list(matte))[..., None], 3, axis=2))
    cv2.imwrite(str(folder / "thumbnail.jpg"), cv2.resize(frames[0][..., ::-1], (128, 128)))
    box = torch.tensor([0, 0, SIZE, SIZE], dtype=torch.int32)
    write_tensors(
        folder / "motion.safetensors",
        {
            "viewmats": torch.from_numpy(truth["head_pose"][:FRAMES]).float(),
            "blendshapes": torch.from_numpy(truth["bs52"][:FRAMES]).float(),
            "crop_boxes": box.repeat(FRAMES, 1),
            "stretches": torch.tensor([[0, FRAMES]], dtype=torch.int32),
            "torso_px": torch.zeros(FRAMES, 2),
        },
    )
    _portrait(truth["neutral68_head"], truth["bs52"], portrait_seed).save(folder / "portrait.safetensors")
    K = truth["K"] * scale
    avatar_files.seal(
        folder,
        {
            "name": name,
            "fps": 25,
            "frames": FRAMES,
            "size": [SIZE, SIZE],
            "camera": {
                "fx": float(K[0, 0]),
                "fy": float(K[1, 1]),
                "cx": float(K[0, 2]),
                "cy": float(K[1, 2]),
            },
            "licence": {"id": "cc-by-4.0", "text": "Test data: SyncTalk++ synthetic presenters."},
            "consent": {
                "who": "nobody, a rendered person",
                "how": "synthetic",
                "when": "2026-01-01",
                "statement": "This person does not exist.",
                "synthetic": True,
            },
            "training": {},
        },
    )
    return folder


def _portrait(neutral: np.ndarray, blendshapes: np.ndarray, seed: int) -> PortraitModel:
    neutral68 = torch.from_numpy(neutral).float()
    torch.manual_seed(seed)
    settings = PortraitSettings(upper=CORE_SEVEN + EYE_LOOK, lower=SMILE, plane_levels=(8,), plane_features=4)
    nose = float(neutral68[30, 1])
    facial = FacialAwareAttention(
        settings.triplane_dim,
        settings.lower_dim,
        settings.upper_dim,
        settings.attention_hidden,
        nose_height=nose,
    )
    model = PortraitModel(GAUSSIANS, settings, TemporalAudioAttention(), facial)
    picks = torch.randint(0, 68, (2, GAUSSIANS))
    mix = torch.rand(GAUSSIANS, 1)
    means = neutral68[picks[0]] * mix + neutral68[picks[1]] * (1 - mix)
    with torch.no_grad():
        model.canonical.means.copy_(means)
        model.canonical.scales.fill_(-2.2)
        model.canonical.opacities.fill_(3.0)
        model.canonical.sh[:, 0] = rgb_to_sh(
            torch.tensor([0.75, 0.55, 0.48]) + 0.08 * torch.randn(GAUSSIANS, 3)
        )
        for regressor in model.deformation.regressors.values():
            regressor.weight.normal_(0, 0.15)
        drivers = torch.from_numpy(blendshapes[:, list(settings.lower + settings.upper)]).float()
        model.expression_mean.copy_(drivers.mean(0))
        model.expression_std.copy_(drivers.std(0).clamp_min(0.02))
        model.condition_samples.normal_(0, 2)
        model.closed_mouth.normal_(0, 1)
    return model.eval()


def _mattes(points: np.ndarray) -> np.ndarray:
    """Face, head and person of one frame from its 68 points [68,2] px, uint8 [3,SIZE,SIZE]."""
    jaw = points[:17]
    centre, reach = jaw.mean(axis=0), np.linalg.norm(jaw[16] - jaw[0]) / 2
    face, head, person = (np.zeros((SIZE, SIZE), np.uint8) for _ in range(3))
    middle = (int(points[30, 0]), int(points[30, 1] - 0.1 * reach))
    cv2.ellipse(face, middle, (int(reach), int(1.3 * reach)), 0, 0, 360, 255, -1)
    cv2.ellipse(
        head,
        (middle[0], int(middle[1] - 0.3 * reach)),
        (int(1.15 * reach), int(1.6 * reach)),
        0,
        0,
        360,
        255,
        -1,
    )
    cv2.ellipse(person, (int(centre[0]), SIZE), (int(SIZE * 0.52), int(SIZE * 0.4)), 0, 0, 360, 255, -1)
    head |= face
    person |= head
    return np.stack([face, head, person])
