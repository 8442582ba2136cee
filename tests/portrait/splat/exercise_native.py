"""Runs every native entry on ordinary and hostile scenes under a sanitizer: exercise_native.py MODULE.

Needs only NumPy: torch and a sanitizer in one process take minutes.
"""

import importlib.util
import sys

import numpy as np


def main(path: str) -> None:
    """Print "clean" once everything ran."""
    spec = importlib.util.spec_from_file_location("_native", path)
    native = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(native)
    random = np.random.default_rng(0)
    for isa in native.instruction_sets():
        for count, width, height, channels in [
            (0, 5, 5, 3),
            (37, 1, 1, 3),
            (150, 67, 45, 3),
            (60, 33, 70, 5),
            (60, 40, 31, 4),
        ]:
            for threads in (1, 2):
                exercise(native.Scene(threads, isa), random, count, width, height, channels)
        image, target = (random.random((37, 53, 3), dtype=np.float32) for _ in range(2))
        native.dssim(image, target, np.empty_like(image), 2, isa)
        planes = [np.empty(shape, np.uint8) for shape in ((36, 54), (18, 27), (18, 27))]
        rgb = random.random((36, 54, 3), dtype=np.float32)
        native.rgb_to_yuv420(rgb, np.ones((3, 4), np.float32), *planes, 2, isa)
        for rows in (0, 1, 13):
            deform(native, random, rows, isa)
        for height, width, widen, blur in [(1, 1, 0, 0), (2, 6, 3, 2), (50, 70, 15, 5), (40, 36, 9, 30)]:
            blend_face(native, random, height, width, widen, blur, isa)
    print("clean")


def deform(native, random, rows: int, isa: str) -> None:
    """The deformation of `rows` Gaussians, in both precisions, and their colours."""
    normal = lambda *shape: random.standard_normal(shape, dtype=np.float32)  # noqa: E731
    for half in (False, True):
        shapes = (rows, 64), (rows, 7), (7, 64), (2, 64, 64), (2, 64), (64, 13), (rows, 13)
        network = native.Deformer(*(normal(*shape) for shape in shapes), -7.0, -1.2, half, isa)
        network.run(normal(7), *(np.empty((rows, k), np.float32) for k in (3, 4, 3, 3)), 2)
    shades = normal(rows, 3), normal(rows, 3), normal(rows, 3, 3), normal(rows, 3)
    native.seen_colors(*shades, normal(3), np.empty((rows, 3), np.float32), 2, isa)


def blend_face(native, random, height: int, width: int, widen: int, blur: int, isa: str) -> None:
    """Masks of random mattes, and the render they let through mixed over planes at an odd place."""
    alpha, image = random.random((height, width), np.float32), random.random((height, width, 3), np.float32)
    face, head = random.integers(0, 256, (2, height, width), np.uint8)
    keep, region, face_mask, hair_mask = np.zeros((4, height, width), np.uint8)
    native.face_maps(alpha, face, head, widen, blur, keep, region, face_mask, hair_mask, isa)
    side = 2 * (max(height, width) // 2 + 2)
    planes = [np.zeros((size, size), np.uint8) for size in (side, side // 2, side // 2)]
    native.mix_planes(*planes, 1, 1, image, alpha, keep, np.ones((3, 4), np.float32), isa)


def exercise(scene, random, count: int, width: int, height: int, channels: int) -> None:
    """Forward, backward and redrawing, with a third of the Gaussians made hostile in turn."""
    normal = lambda *shape: random.standard_normal(shape, dtype=np.float32)  # noqa: E731
    view, K = np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32)
    view[2, 3] = 4
    K[0] = [width, 0, width / 2]
    K[1] = [0, width, height / 2]
    inputs = [
        normal(count, 3),
        normal(count, 4),
        np.abs(normal(count, 3)) * 0.2,
        random.random(count, dtype=np.float32),
        random.random((count, channels), dtype=np.float32),
        view,
        K,
    ]
    for index, value in [
        (0, 0.5),
        (0, np.nan),
        (2, 1e20),
        (1, np.inf),
        (3, 1.0),
        (4, np.nan),
        (0, 1e30),
        (2, 0),
    ]:
        inputs[index][::3] = value
        image = np.zeros((height, width, channels), np.float32)
        alpha = np.zeros((height, width), np.float32)
        background = np.ones(channels, np.float32)
        scene.render(*inputs, background, image, alpha, False)
        grads = [np.empty_like(values) for values in inputs[:5]]
        grads += [np.empty((count, 2), np.float32), np.zeros(12, np.float32)]
        scene.backward(*inputs, background, image, alpha, np.ones_like(image), np.ones_like(alpha), *grads)
        inputs[0][::5] += np.float32(0.01)
        scene.render(*inputs, background, image, alpha, True)


if __name__ == "__main__":
    main(sys.argv[1])
