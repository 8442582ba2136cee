"""One Gaussian rasterizer interface, three backends: gsplat (CUDA), native (CPU), torch (reference)."""
