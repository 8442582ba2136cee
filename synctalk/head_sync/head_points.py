"""Stable Head Points (Section III-C, Eq. 9-10, Semantic Weighting): what to follow, and where it went.

Points are picked in a few keyframes and every frame is compared with its nearest keyframes directly, never
with the frame before: errors do not add up over time, and cuts and gaps need no care.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from synctalk.head_sync.face_model import REGIONS, FaceModel
from synctalk.head_sync.geometry import project, transform, vector_from_rotation
from synctalk.head_sync.mesh_render import rasterize_mesh, vertex_normals
from synctalk.head_sync.motion_tracker import HeadMotion
from synctalk.head_sync.optical_flow import DenseFlow, flow_change

_GRID = 4  # pixels between two points of a keyframe's surface grid

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]

# How far each region can be trusted to move with the skull: brows, eyes, lips and jaw move on their own, and
# highlights wander over hair. Regions of weight 0 get no points at all.
SEMANTIC_WEIGHTS: dict[str, float] = {
    "scalp": 0.1, "forehead": 0.7, "brows": 0.05, "eyes": 0.05, "nose": 1.0, "cheeks": 0.4,
    "lips": 0.0, "jaw": 0.0, "ears": 1.0, "neck": 0.0, "eyeballs": 0.0, "mouth": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class PointSettings:
    """How points are chosen and followed."""

    points: int = 240
    """About how many points are followed, over all keyframes."""
    keyframe_degrees: float = 9.0
    """A new keyframe is taken where the head is turned further than this from all others."""
    keyframes: int = 6
    """At most so many keyframes."""
    pairs: int = 8
    """Flow fields per keyframe that judge where points are steady (Eq. 9)."""
    selection: str = "least"
    """Eq. 10: 'least' keeps points whose flow bends least, 'most' those whose flow bends most."""
    semantic_weighting: bool = True
    """False trusts all regions alike (for the ablation)."""
    follow: str = "klt"
    """'klt' matches a patch round each point; 'dis' reads the dense flow."""
    window_px: int = 15
    """Side of the matched patch at a face height of 200 px; grows with the face."""
    detail_px: float = 2.2
    """Only detail finer than this takes part (same scale): shading stays with the lamp when a head turns."""
    forward_backward_px: float = 0.4
    """Largest distance between a point and itself followed there and back, in keyframe pixels."""


@dataclass(frozen=True)
class Keyframes:
    """Pictures whose points are followed.

    Attributes:
        index: int64 [K] frame numbers.
        pictures: uint8 [K, h, w] grey cut-outs round the head.
        corners: int64 [K, 2] x, y of each cut-out's upper left pixel in the frame.
        group: int64 [N] keyframe of each point.
        pixels: float64 [N, 2] where the point lies in its keyframe, frame pixels.
        anchors: float64 [N, 3] the point on the fitted face model, head space.
        weights: float64 [N] Semantic Weighting, 0..1.
        rotations, translations: float64 [K, 3, 3], [K, 3] rough poses of the keyframes.
        surface: float32 [K, h / 4, w / 4, 3] head-space point of the fitted mesh seen at every fourth pixel
            of the cut-out, carried on smoothly beside the head.
    """

    index: NDArray[np.int64]
    pictures: Grey
    corners: NDArray[np.int64]
    group: NDArray[np.int64]
    pixels: Array
    anchors: Array
    weights: Array
    rotations: Array
    translations: Array
    surface: NDArray[np.float32]


def choose_keyframes(motion: HeadMotion, settings: PointSettings) -> NDArray[np.int64]:
    """Frame numbers: the one nearest the middle pose with a calm face, then the farthest poses in turn."""
    good = np.isfinite(motion.error_px)
    good &= motion.error_px <= np.nanpercentile(motion.error_px, 80)
    candidates = np.flatnonzero(good)
    turns = vector_from_rotation(
        np.swapaxes(motion.rotations[candidates[0]], 0, 1) @ motion.rotations[candidates]
    )
    calm = np.linalg.norm(motion.expressions[candidates], axis=1)
    distance = np.degrees(np.linalg.norm(turns - np.median(turns, 0), axis=1))
    chosen = [int(np.argmin(distance + 4 * (calm - calm.min())))]
    while len(chosen) < settings.keyframes:
        gaps = np.degrees(np.linalg.norm(turns[:, None] - turns[chosen], axis=2)).min(1)
        farthest = int(np.argmax(gaps))
        if gaps[farthest] < settings.keyframe_degrees:
            break
        # Not the farthest itself, which is an extreme, but a calm one among the quarter that is farthest.
        far = np.flatnonzero(gaps >= 0.8 * gaps[farthest])
        chosen.append(int(far[np.argmin(calm[far])]))
    return candidates[chosen]


def to_grey(frame: NDArray[np.uint8]) -> Grey:
    """Grey [H, W] of an RGB frame [H, W, 3]."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def fine_detail(picture: Grey, size_px: float) -> Grey:
    """A grey picture [H, W] without shading: what differs from its blur, four times stronger, round 128."""
    picture32 = picture.astype(np.float32)
    detail = picture32 - cv2.GaussianBlur(picture32, (0, 0), size_px)
    return np.clip(4 * detail + 128.5, 0, 255).astype(np.uint8)


def head_box(mesh_px: Array, size: tuple[int, int], margin: float = 0.12) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 round the projected head mesh [N, 2], widened, kept inside the frame (width, height)."""
    low, high = mesh_px.min(0), mesh_px.max(0)
    pad = margin * (high - low).max()
    x0, y0 = np.floor(np.maximum(low - pad, 0)).astype(int)
    x1, y1 = np.ceil(np.minimum(high + pad, size)).astype(int)
    return int(x0), int(y0), int(max(x1, x0 + 16)), int(max(y1, y0 + 16))


def vertex_trust(model: FaceModel, semantic_weighting: bool = True) -> Array:
    """Semantic Weighting [N] of each vertex, 0 where no point may lie; 1 and 0 without the weighting."""
    trust = np.array([SEMANTIC_WEIGHTS[name] for name in REGIONS])[model.region]
    if not semantic_weighting:
        trust = np.ones(len(trust))
        trust[np.isin(model.region, [REGIONS.index(name) for name in ("eyeballs", "mouth", "neck")])] = 0.0
    # Below the ears the scalp's back shows as the sides of the neck, which hardly follow the head.
    lowest_ear = model.mean[model.region == REGIONS.index("ears"), 1].min()
    nape = (model.region == REGIONS.index("scalp")) & (model.mean[:, 1] < lowest_ear)
    return np.where(nape, 0.0, trust)


def pick_points(
    picture: Grey,  # [H, W] the whole keyframe
    bend: NDArray[np.float32],  # [H, W] mean |L(F)| of Eq. 10, px
    mesh_camera: Array,  # [V, 3] fitted mesh in camera space
    model: FaceModel,
    K: Array,
    count: int,
    settings: PointSettings,
) -> tuple[Array, Array, Array]:
    """Points of one keyframe: pixels [n, 2], camera-space anchors [n, 3], Semantic Weights [n].

    One point per grid cell of the part of the head that faces the camera, so that they spread over it. The
    threshold of Eq. 10 adapts: each cell gives its best point, however smooth the skin.
    """
    height, width = picture.shape
    index, weights = rasterize_mesh(mesh_camera, model.triangles, K, width, height)
    normals = vertex_normals(mesh_camera, model.triangles)
    corners = model.triangles[np.maximum(index, 0)]
    facing = -np.einsum("hwk,hwk->hw", weights, normals[corners][..., 2])
    trust = vertex_trust(model, settings.semantic_weighting)[corners[..., 0]]
    mask = (index >= 0) & (np.abs(facing) > 0.35) & (trust > 0)
    # The outline of the head is no place on the head: stay away from it.
    silhouette = cv2.erode((index >= 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    mask &= silhouette
    texture = np.maximum(cv2.cornerMinEigenVal(cv2.GaussianBlur(picture, (0, 0), 1.0), 7), 0)
    reference = np.median(texture[mask]) + 1e-12 if mask.any() else 1.0
    calm = bend / (np.median(bend[mask]) + 1e-9) if mask.any() else bend
    score = np.sqrt(texture / reference)
    score = score / (0.3 + calm) if settings.selection == "least" else score * calm
    score = np.where(mask, score * trust, -1.0)
    cell = max(4, int(np.sqrt(mask.sum() / max(count, 1))))
    found = []
    for y in range(0, height, cell):
        for x in range(0, width, cell):
            block = score[y : y + cell, x : x + cell]
            best = int(np.argmax(block))
            if block.flat[best] > 0:
                found.append((x + best % block.shape[1], y + best // block.shape[1]))
    picked = np.array(found, np.int64).reshape(-1, 2)
    row, column = picked[:, 1], picked[:, 0]
    anchors = np.einsum("nk,nkc->nc", weights[row, column], mesh_camera[corners[row, column]])
    return picked.astype(np.float64) + 0.5, anchors, trust[row, column]


def prepare_keyframes(
    frames: dict[int, NDArray[np.uint8]],  # frame number -> RGB [H, W, 3]: keyframes and their partners
    partners: dict[int, list[int]],  # keyframe -> frames its flow is judged on
    motion: HeadMotion,
    model: FaceModel,
    settings: PointSettings,
) -> Keyframes:
    """Pick the points of all keyframes (Eq. 9-10 with Semantic Weighting)."""
    neutral = model.vertices(motion.identity)
    flow = DenseFlow("medium")
    indices = list(partners)
    size = frames[indices[0]].shape[1], frames[indices[0]].shape[0]
    boxes, chosen = [], []
    for k in indices:
        grey = to_grey(frames[k])
        shape = neutral + np.tensordot(motion.expressions[k], model.expression_basis, 1)
        camera = shape @ motion.rotations[k].T + motion.translations[k]
        box = head_box(project(camera, motion.K), size)
        boxes.append(box)
        bend = np.zeros(grey.shape, np.float32)
        anchors = neutral[:: max(1, len(neutral) // 200)]
        for other in partners[k]:
            affine = _pose_affine(motion, k, other, anchors)
            warped = _into_keyframe(to_grey(frames[other]), affine, box)
            x0, y0, x1, y1 = box
            bend[y0:y1, x0:x1] += flow_change(flow(grey[y0:y1, x0:x1], warped)) / len(partners[k])
        count = settings.points // len(indices)
        pixels, anchors_camera, trust = pick_points(grey, bend, camera, model, motion.K, count, settings)
        head = (anchors_camera - motion.translations[k]) @ motion.rotations[k]
        chosen.append((pixels, head, trust))
    width = max(x1 - x0 for x0, _, x1, _ in boxes)
    height = max(y1 - y0 for _, y0, _, y1 in boxes)
    pictures, corners, surfaces = [], [], []
    for k, (x0, y0, _, _) in zip(indices, boxes, strict=True):
        x0, y0 = max(0, min(x0, size[0] - width)), max(0, min(y0, size[1] - height))
        pictures.append(to_grey(frames[k])[y0 : y0 + height, x0 : x0 + width])
        corners.append((x0, y0))
        surfaces.append(_surface_grid(motion, k, model, (x0, y0, x0 + width, y0 + height)))
    return Keyframes(
        index=np.array(indices),
        pictures=np.stack(pictures),
        corners=np.array(corners),
        group=np.repeat(np.arange(len(indices)), [len(p) for p, _, _ in chosen]),
        pixels=np.concatenate([p for p, _, _ in chosen]),
        anchors=np.concatenate([h for _, h, _ in chosen]),
        weights=np.concatenate([w for _, _, w in chosen]),
        rotations=motion.rotations[indices],
        translations=motion.translations[indices],
        surface=np.stack(surfaces),
    )


def _surface_grid(
    motion: HeadMotion, k: int, model: FaceModel, box: tuple[int, int, int, int]
) -> NDArray[np.float32]:
    """Head-space points [h, w, 3] seen at every fourth pixel of the box of keyframe k."""
    x0, y0, x1, y1 = box
    columns, rows = np.arange(x0, x1, _GRID) + 0.5, np.arange(y0, y1, _GRID) + 0.5
    shape = model.vertices(motion.identity, motion.expressions[k])
    camera = shape @ motion.rotations[k].T + motion.translations[k]
    # The mesh rasterized with one pixel per grid point.
    coarse = motion.K.copy()
    coarse[:2] /= _GRID
    coarse[0, 2] += 0.5 - columns[0] / _GRID
    coarse[1, 2] += 0.5 - rows[0] / _GRID
    index, weights = rasterize_mesh(camera, model.triangles, coarse, len(columns), len(rows))
    hit = index >= 0
    depth = np.full(index.shape, camera[:, 2].mean())
    corners = camera[model.triangles[np.maximum(index, 0)], 2]
    depth[hit] = np.einsum("pk,pk->p", weights[hit], corners[hit])
    if hit.any() and not hit.all():
        nearest = distance_transform_edt(~hit, return_distances=False, return_indices=True)
        depth = depth[nearest[0], nearest[1]]
    depth = cv2.GaussianBlur(depth, (0, 0), 1.0)
    x = (columns - motion.K[0, 2]) / motion.K[0, 0] * depth
    y = (rows[:, None] - motion.K[1, 2]) / motion.K[1, 1] * depth
    seen = np.stack([x, y, depth], -1) - motion.translations[k]
    return (seen @ motion.rotations[k]).astype(np.float32)


def _pose_affine(motion: HeadMotion, source: int, target: int, anchors: Array) -> NDArray[np.float64]:
    """Affine [2, 3] that best carries the head's pixels from one frame to another, by their rough poses."""
    both = [source, target]
    px = project(transform(motion.rotations[both], motion.translations[both], anchors), motion.K)
    return _affine_between(px[0], px[1])


def _affine_between(source_px: Array, target_px: Array) -> NDArray[np.float64]:
    """Least-squares affine [2, 3] from pixels [N, 2] to pixels [N, 2] (pixel centres at +0.5)."""
    columns = np.concatenate([source_px, np.ones((len(source_px), 1))], 1)
    return np.linalg.lstsq(columns, target_px, rcond=None)[0].T


def _into_keyframe(grey: Grey, affine: NDArray[np.float64], box: tuple[int, int, int, int]) -> Grey:
    """The frame seen through the affine (keyframe px -> frame px), cut to the box of the keyframe."""
    x0, y0, x1, y1 = box
    # OpenCV counts pixel centres at whole numbers.
    shift = affine[:, :2] @ [x0 + 0.5, y0 + 0.5] + affine[:, 2] - 0.5
    matrix = np.concatenate([affine[:, :2], shift[:, None]], 1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(grey, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


class PointFollower:
    """Finds the points of the keyframes in any frame.

    Args:
        keyframes: the points.
        K: camera matrix [3, 3] px.
        settings: how they are followed.
    """

    def __init__(self, keyframes: Keyframes, K: Array, settings: PointSettings) -> None:
        self._keyframes = keyframes
        self._K = K
        self._settings = settings
        self._flow = DenseFlow("fast") if settings.follow == "dis" else None
        face = np.ptp(keyframes.pixels[:, 1]) / 200 if len(keyframes.pixels) else 1.0
        self._window = max(9, int(settings.window_px * face) | 1)
        self._detail_px = max(1.0, settings.detail_px * face)
        self._details = [fine_detail(picture, self._detail_px) for picture in keyframes.pictures]

    def __call__(
        self, grey: Grey, rotation: Array, translation: Array, nearest: int = 2
    ) -> NDArray[np.float32]:
        """Pixels [N, 2] of all points in a grey frame whose rough pose is given; NaN where not found."""
        keys = self._keyframes
        out = np.full((len(keys.group), 2), np.nan, np.float32)
        apart = np.linalg.norm(vector_from_rotation(np.swapaxes(keys.rotations, 1, 2) @ rotation), axis=-1)
        limit = np.radians(1.6 * self._settings.keyframe_degrees)
        for order, k in enumerate(np.argsort(apart)[:nearest]):
            if order == 0 or apart[k] < limit:
                mine = keys.group == k
                out[mine] = self._follow(grey, int(k), mine, rotation, translation)
        return out

    def _follow(
        self, grey: Grey, k: int, mine: NDArray[np.bool_], rotation: Array, translation: Array
    ) -> NDArray[np.float32]:
        """Pixels [n, 2] of the points of keyframe k."""
        keys = self._keyframes
        x0, y0 = keys.corners[k]
        picture = keys.pictures[k]
        places = self._places(k, rotation, translation)
        x, y = (np.ascontiguousarray(places[..., i] - np.float32(0.5), np.float32) for i in range(2))
        seen = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        warped = np.asarray(seen, np.uint8)
        start = (keys.pixels[mine] - [x0 + 0.5, y0 + 0.5]).astype(np.float32)
        if self._flow is not None:
            found, good = self._by_flow(picture, warped, start)
        else:
            detail = fine_detail(warped, self._detail_px)
            found, good = self._by_patch(self._details[k], detail, start)
        pixels = _sample(places, found)
        pixels[~good] = np.nan
        return pixels

    def _places(self, k: int, rotation: Array, translation: Array) -> NDArray[np.float32]:
        """Where each pixel of keyframe k lies [h, w, 2] in a frame of this pose, by the fitted surface.

        Seen through this map the head of any frame has the keyframe's size, direction and foreshortening, so
        that patches match without bias and only the rough pose's error is left to find.
        """
        keys = self._keyframes
        height, width = keys.pictures.shape[1:]
        surface = keys.surface[k].astype(np.float32)
        camera = surface @ rotation.T.astype(np.float32) + translation.astype(np.float32)
        coarse = project(camera, self._K).astype(np.float32)
        # Grid points lie at every fourth pixel, from the first one on.
        scale = np.array([[1 / _GRID, 0, 0], [0, 1 / _GRID, 0]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        fine = cv2.warpAffine(coarse, scale, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(fine, np.float32)

    def _by_patch(
        self, picture: Grey, warped: Grey, start: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Lucas-Kanade there and back."""
        options: dict[str, Any] = {
            "winSize": (self._window, self._window),
            "maxLevel": 2,
            "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01),
            "minEigThreshold": 1e-5,
        }
        points = start[:, None]
        empty: Any = None
        found, ok, _ = cv2.calcOpticalFlowPyrLK(picture, warped, points, empty, **options)
        back, ok_back, _ = cv2.calcOpticalFlowPyrLK(warped, picture, found, empty, **options)
        apart = np.linalg.norm((back - points)[:, 0], axis=1)
        good = (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & (apart < self._settings.forward_backward_px)
        places = np.asarray(found, np.float32)[:, 0]
        return places, np.asarray(good & self._inside(places, warped))

    def _by_flow(
        self, picture: Grey, warped: Grey, start: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The dense flow read at the points, there and back."""
        flow = self._flow or DenseFlow("fast")
        found = start + _sample(flow(picture, warped), start)
        back = found + _sample(flow(warped, picture), found)
        good = np.linalg.norm(back - start, axis=1) < self._settings.forward_backward_px
        return found, good & self._inside(found, warped)

    @staticmethod
    def _inside(points: NDArray[np.float32], picture: Grey) -> NDArray[np.bool_]:
        height, width = picture.shape
        return np.all((points > 2) & (points < [width - 3, height - 3]), axis=1)


def _sample(field: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values [n, 2] of a flow field [H, W, 2] at points [n, 2] (pixel centres at whole numbers), bilinear."""
    values = cv2.remap(field, points[:, None, 0], points[:, None, 1], cv2.INTER_LINEAR)
    return np.asarray(values, np.float32)[:, 0]
