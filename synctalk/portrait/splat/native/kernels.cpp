// Compiled once per instruction set, with SPLAT_ISA its name.
#include "kernels.hpp"
#include "simd.hpp"

namespace splat {
#include "project.inl"
#include "blend.inl"
#include "dssim.inl"
#include "yuv.inl"
#include "face.inl"
#include "deform.inl"

#define SPLAT_JOIN(a, b) a##b
#define SPLAT_NAME(isa) SPLAT_JOIN(kernels_, isa)
#define SPLAT_TEXT_OF(isa) #isa
#define SPLAT_TEXT(isa) SPLAT_TEXT_OF(isa)

extern const Kernels SPLAT_NAME(SPLAT_ISA) = {
    SPLAT_TEXT(SPLAT_ISA), project,       blend,    blend_backward, project_backward, ssim_maps,
    ssim_gradient,         yuv_rows,      face_maps, mix_planes,     has_bfloat16,     deform,
    colors,
};

}  // namespace splat
