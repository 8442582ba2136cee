// What the kernels compute, once per instruction set. The caller owns all memory; nothing here allocates.
#pragma once

#include <cstdint>

namespace splat {

constexpr int kTile = 32;  // px

// One Gaussian on the screen. Its log2 alpha at a pixel is  log2_opacity - u^2 - w^2  with
// u = l11 dx + l21 dy and w = l22 dy: a Cholesky factor of the inverse covariance scaled by sqrt(log2(e) / 2),
// so that the exponent can never be positive by rounding. An undrawn Gaussian is all zeros with x1 < x0.
struct alignas(64) Record {
    float mean_x, mean_y;
    float l11, l21, l22;
    float log2_opacity;
    int16_t x0, x1, y0, y1;  // px, first and last column and row that can reach alpha 1/255
    float color[4];          // the first four channels
    float depth;
    float reach2;  // u^2 + w^2 at a 4x4 px block's centre, above which none of its pixels reaches 1/255
    float pad[2];
    bool drawn() const { return x1 >= x0; }
};
static_assert(sizeof(Record) == 64, "a record fills one cache line");

struct Camera {
    float view[12];  // world to camera, rows of [R | t]
    float fx, fy, cx, cy;
    int width, height;
};

struct Gaussians {
    const float* means;      // [N, 3]
    const float* quats;      // [N, 4]
    const float* scales;     // [N, 3]
    const float* opacities;  // [N]
    const float* colors;     // [N, D]
    int channels;
};

// One tile, front to back.
struct TileForward {
    const Record* records;
    const float* colors;  // [N, D]
    int channels;
    const uint32_t* entries;  // Gaussians of this tile, nearest first
    int64_t count;
    int left, top, width, height;  // px: tile corner and image size
    const float* background;       // [D] or null
    float* image;                  // [H, W, D]
    float* alpha;                  // [H, W]
    float* scratch;                // tile_scratch_floats(D), 64-byte aligned
};

struct TileBackward {
    TileForward tile;           // image and alpha hold the forward result
    const float* grad_image;    // [H, W, D]
    const float* grad_alpha;    // [H, W] or null
    const float* background;    // [D] or null
    const uint32_t* slots;      // where each entry's sums go
    float* sums;                // [entries, D + 6]: color gradients, then moments of dL/d(ln alpha): 1 u w uu uw ww
};

struct Gradients {
    float* means;      // [N, 3]
    float* quats;      // [N, 4]
    float* scales;     // [N, 3]
    float* opacities;  // [N]
    float* screen;     // [N, 2]
};

inline int64_t tile_scratch_floats(int channels) { return int64_t(kTile) * kTile * (2 + channels) + 64; }

struct Kernels {
    const char* name;
    // Records of Gaussians [begin, end).
    void (*project)(const Gaussians&, const Camera&, Record* records, int64_t begin, int64_t end);
    void (*blend)(const TileForward&);
    void (*blend_backward)(const TileBackward&);
    // Moments [N, 6] of Gaussians [begin, end) to gradients; adds the 12 of the view matrix to grad_view.
    void (*project_backward)(const Gaussians&, const Camera&, const Record* records, const float* moments,
                             const Gradients&, float* grad_view, int64_t begin, int64_t end);
    // Rows [begin, end) of D-SSIM: see dssim.inl.
    void (*ssim_maps)(const float* image, const float* target, int width, int height, int channels, int begin,
                      int end, float* scratch, float* maps, double* total);
    void (*ssim_gradient)(const float* image, const float* target, int width, int height, int channels, int begin,
                          int end, float* scratch, const float* maps, float scale, float* gradient);
    // Rows [begin, end) of pairs of image rows to limited-range planes.
    void (*yuv_rows)(const float* rgb, int width, int height, int begin, int end, const float* matrix, uint8_t* y,
                     uint8_t* u, uint8_t* v);
};

extern const Kernels kernels_generic;
#if defined(__x86_64__)
extern const Kernels kernels_v3;
extern const Kernels kernels_v4;
#endif

}  // namespace splat
