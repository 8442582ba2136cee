"""A small z-buffer renderer of triangle meshes, for looking at fits and for building the face model."""

import numpy as np
from numpy.typing import NDArray


def rasterize_mesh(
    camera_points: NDArray[np.float64],  # [N, 3] camera space
    triangles: NDArray[np.int64],  # [M, 3]
    K: NDArray[np.float64],  # [3, 3] px
    width: int,
    height: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which triangle each pixel sees: index [H, W] (-1 = none) and barycentric coordinates [H, W, 3].

    Triangles that face away are drawn too (a mesh may be open); the nearest wins. Barycentric
    coordinates are perspective-correct.
    """
    depth = np.maximum(camera_points[:, 2], 1e-6)
    pixels = camera_points[:, :2] / depth[:, None] * [K[0, 0], K[1, 1]] + [K[0, 2], K[1, 2]]
    index = np.full((height, width), -1, np.int64)
    barycentric = np.zeros((height, width, 3))
    nearest = np.full((height, width), np.inf)
    corners = pixels[triangles]
    low = np.floor(corners.min(1) - 0.5).astype(int)
    high = np.ceil(corners.max(1) - 0.5).astype(int)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    visible = (high[:, 0] >= 0) & (high[:, 1] >= 0) & (low[:, 0] < width) & (low[:, 1] < height)
    visible &= np.abs(area) > 1e-9
    for m in np.flatnonzero(visible):
        x0, y0 = max(low[m, 0], 0), max(low[m, 1], 0)
        x1, y1 = min(high[m, 0], width - 1), min(high[m, 1], height - 1)
        px = np.arange(x0, x1 + 1) + 0.5
        py = (np.arange(y0, y1 + 1) + 0.5)[:, None]
        (ax, ay), (bx, by), (cx, cy) = corners[m]
        wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area[m]
        wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area[m]
        wc = 1 - wa - wb
        inside = (wa >= 0) & (wb >= 0) & (wc >= 0)
        if not inside.any():
            continue
        over_z = np.stack([wa, wb, wc], -1) / depth[triangles[m]]
        z = 1 / over_z.sum(-1)
        window = np.s_[y0 : y1 + 1, x0 : x1 + 1]
        closer = inside & (z < nearest[window])
        nearest[window][closer] = z[closer]
        index[window][closer] = m
        barycentric[window][closer] = (over_z * z[..., None])[closer]
    return index, barycentric


def vertex_normals(points: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.float64]:
    """Unit normals [N, 3] of a mesh, area-weighted over the triangles of each vertex."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for i in range(3):
        np.add.at(normals, triangles[:, i], face)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.maximum(length, 1e-12)


def shade(
    camera_points: NDArray[np.float64],  # [N, 3]
    triangles: NDArray[np.int64],  # [M, 3]
    K: NDArray[np.float64],  # [3, 3] px
    width: int,
    height: int,
    colours: NDArray[np.float64] | None = None,  # [N, 3] in [0, 1]
    background: NDArray[np.uint8] | None = None,  # [H, W, 3]
    opacity: float = 1.0,
) -> NDArray[np.uint8]:
    """A softly lit picture [H, W, 3] uint8 of a mesh in camera space, over a background."""
    index, weights = rasterize_mesh(camera_points, triangles, K, width, height)
    if colours is None:
        colours = np.full((len(camera_points), 3), 0.72)
    normals = vertex_normals(camera_points, triangles)
    light = np.array([-0.35, -0.45, -0.82])
    lambert = np.abs(normals @ (light / np.linalg.norm(light)))
    lit = colours * (0.35 + 0.65 * lambert[:, None])
    picture = np.full((height, width, 3), 40, np.uint8) if background is None else background.copy()
    hit = index >= 0
    value = np.einsum("pk,pkc->pc", weights[hit], lit[triangles[index[hit]]]) * 255
    picture[hit] = (opacity * value + (1 - opacity) * picture[hit]).clip(0, 255).astype(np.uint8)
    return picture
