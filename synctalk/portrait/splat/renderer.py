"""Rendering frame after frame into the same memory."""

import torch
from torch import Tensor

from synctalk.portrait.splat import native
from synctalk.portrait.splat.interface import rasterize


class SplatRenderer:
    """Draws a stream of frames of one size with one camera matrix, without gradients.

    On the CPU with the native backend a frame allocates nothing: image and alpha are the same tensors every
    time, valid until the next call. Elsewhere it is `rasterize` without gradients.
    """

    def __init__(
        self,
        width: int,
        height: int,
        K: Tensor,  # [3, 3] px
        background: Tensor | None = None,  # [D]
        threads: int | None = None,
        stop: float = 1e-4,
    ):
        """`stop`: a pixel is finished once this little light is left; 1e-4 draws as training does."""
        self.width, self.height = width, height
        self.K, self.background = K, background
        self.tiles_drawn = 0  # by the last call, of ceil(width / 32) * ceil(height / 32)
        self._native = K.device.type == "cpu" and not native.why_not()
        self._image = torch.empty(0)
        self._alpha = torch.empty(0)
        if self._native:
            self._scene = native.module().Scene(threads or native.default_threads(), stop=stop)
            self._K, self._background = native.array(K), native.array(background)

    def render(
        self,
        means: Tensor,  # [N, 3]
        quats: Tensor,  # [N, 4]
        scales: Tensor,  # [N, 3]
        opacities: Tensor,  # [N]
        colors: Tensor,  # [N, D]
        viewmat: Tensor,  # [4, 4]
    ) -> tuple[Tensor, Tensor]:
        """Image [H,W,D] and alpha [H,W], float32, as `rasterize` draws them."""
        return self._draw(means, quats, scales, opacities, colors, viewmat, changed_only=False)

    def rerender(
        self,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        viewmat: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As `render`, bit for bit, but draws only tiles under Gaussians that changed since the last call.

        What changed is found by comparing the projected Gaussians, so that any call is safe; it pays where
        the camera stands still and few Gaussians move. Image and alpha must not be written to in between.
        """
        return self._draw(means, quats, scales, opacities, colors, viewmat, changed_only=True)

    @torch.no_grad()
    def _draw(
        self,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        viewmat: Tensor,
        changed_only: bool,
    ) -> tuple[Tensor, Tensor]:
        if not self._native:
            return rasterize(
                means,
                quats,
                scales,
                opacities,
                colors,
                viewmat,
                self.K,
                self.width,
                self.height,
                self.background,
            )
        shape = (self.height, self.width, colors.shape[1])
        if self._image.shape != shape:
            self._image, self._alpha = torch.zeros(shape), torch.zeros(shape[:2])
            changed_only = False
        inputs = [native.array(t) for t in (means, quats, scales, opacities, colors, viewmat)]
        self.tiles_drawn = self._scene.render(
            *inputs, self._K, self._background, self._image.numpy(), self._alpha.numpy(), changed_only
        )
        return self._image, self._alpha
