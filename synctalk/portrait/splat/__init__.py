"""One Gaussian rasterizer interface, three backends: gsplat (CUDA), native (CPU), torch (reference)."""

from synctalk.portrait.splat.helpers import dssim, rgb_to_yuv420
from synctalk.portrait.splat.interface import BACKENDS, available_backends, rasterize
from synctalk.portrait.splat.renderer import SplatRenderer

__all__ = ["BACKENDS", "SplatRenderer", "available_backends", "dssim", "rasterize", "rgb_to_yuv420"]
