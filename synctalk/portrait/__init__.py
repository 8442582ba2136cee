"""Dynamic Portrait Renderer (Section III-D): triplane Gaussians, deformation, Portrait-Sync Generator."""
