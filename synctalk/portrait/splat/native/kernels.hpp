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
    float stop;                    // a pixel is finished once this little light is left; at least 1e-4
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

// Everything needed to lay a rendered face over its source frame; see face.inl. Maps are [H, W], or [H, W, 3].
struct FaceMaps {
    const float* alpha;                 // of the render
    const uint8_t *face, *head;  // mattes, in from 128
    int64_t face_stride, head_stride;
    int width, height;
    int widen, blur;  // px
    uint8_t* region;  // out: where pixels may change, 0 or 255
    uint8_t* keep;    // out, inside `box`: how much of the render is shown, 0 to 255
    uint8_t *face_mask, *hair_mask;  // out, inside `box`: the source's, 0 or 255
    uint8_t* scratch;        // face_scratch_bytes(width, height, widen, blur)
    int box[4];  // out: x0, y0, x1, y1; all 0 where there is no face
};

constexpr int kFacePlanes = 7;
inline int face_margin(int widen, int blur) { return 2 * (widen > blur ? widen : blur) + 2; }
inline int64_t face_scratch_bytes(int width, int height, int widen, int blur) {
    const int64_t margin = face_margin(widen, blur), stride = width + 2 * margin + 64;
    return kFacePlanes * stride * (height + 2 * margin) + 64 + 4 * (width + 64);
}

// Colours to be laid over 4:2:0 planes at luma row `y0`, column `x0`.
struct PlaneMix {
    uint8_t *y, *u, *v;  // in place
    int64_t y_stride, u_stride, v_stride;
    int x0, y0, width, height;
    const float *image, *alpha;  // premultiplied; rows `map_stride` pixels apart
    const uint8_t* keep;         // how much of it is shown; where 0 the planes stay as they are
    int64_t map_stride;
    const float* matrix;  // [3, 4] rows Y, U, V: weights of r, g, b and an offset
};

// Deformation of Gaussians [begin, end) of one half of the face: see deform.inl. Rows hold one Gaussian.
struct DeformTask {
    int inputs, trunk, outputs;      // conditions (even), hidden layers after the first, 10 or 13
    const void *constant, *attention;  // [M, 64], [M, inputs]
    const void* first;               // [inputs, 64], this frame's
    const void* weights;             // trunk * [64, 64], then [64, 16]
    const float* biases;             // [trunk, 64]
    const float* rest;               // [M, 16]
    float low, high;                 // limits of the logarithm of a scale
    float *means, *quats, *scales, *tints;  // out; tints null without colours
};
constexpr int kHidden = 64, kOutputs = 16;

struct ColorTask {
    const float *means;          // [N, 3] at rest
    const float *base, *slopes;  // [N, 3], [N, 3 (x, y, z), 3 (r, g, b)] or null
    const float* tints;          // [N, 3] or null
    float camera[3];
    float* colors;  // out, [N, 3]
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
    void (*face_maps)(FaceMaps&);
    void (*mix_planes)(const PlaneMix&);
    // `half`: weights, constants and attention are bfloat16, weights in pairs of inputs; see deform.inl.
    bool (*has_bfloat16)();
    void (*deform)(const DeformTask&, bool half, int64_t begin, int64_t end);
    void (*colors)(const ColorTask&, int64_t begin, int64_t end);
};

extern const Kernels kernels_generic;
#if defined(__x86_64__)
extern const Kernels kernels_v3;
extern const Kernels kernels_v4;
#endif

}  // namespace splat
