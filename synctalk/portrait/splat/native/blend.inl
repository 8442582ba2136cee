// Blending of one 32 px tile, and its gradient. A tile is kept as blocks of 4 x R pixels, one vector each
// (4x4, 4x2 or 4x1); per block the scratch holds T (negative once the pixel is finished) and D more vectors.
// The loop over Gaussians touches only blocks inside a Gaussian's box that have unfinished pixels, and has no
// branch per pixel.

namespace {

constexpr int kCols = 4, kRows = W / kCols;                       // pixels of a block
constexpr int kBlockCols = kTile / kCols, kBlockRows = kTile / kRows;  // blocks of a tile
constexpr float kAlphaMax = 0.999f, kStop = 1e-4f;
constexpr float kLog2AlphaMin = -kLog2Of255;

struct LaneOffsets {
    alignas(64) float x[W], y[W];
    LaneOffsets() {
        for (int i = 0; i < W; ++i) x[i] = float(i % kCols), y[i] = float(i / kCols);
    }
};

// A Gaussian as seen from a tile: u and w at block (row, col) are  u0 + row * u_row + col * u_col  and
// w0 + row * w_row.
struct View {
    F u0, w0;
    float u_col, u_row, w_row;
    int row_begin, row_end;
    unsigned cols;  // bit per block column
};

inline View view_of(const Record& r, const TileForward& t, F lane_x, F lane_y) {
    const float dx = (t.left + 0.5f) - r.mean_x, dy = (t.top + 0.5f) - r.mean_y;
    View v;
    v.u0 = fma(set1(r.l11), lane_x + set1(dx), set1(r.l21) * (lane_y + set1(dy)));
    v.w0 = set1(r.l22) * (lane_y + set1(dy));
    v.u_col = r.l11 * kCols, v.u_row = r.l21 * kRows, v.w_row = r.l22 * kRows;
    const int x0 = r.x0 > t.left ? (r.x0 - t.left) / kCols : 0;
    const int x1 = r.x1 < t.left + kTile ? (r.x1 - t.left) / kCols : kBlockCols - 1;
    v.cols = (0xFFu << x0) & (0xFFu >> (kBlockCols - 1 - x1));
    v.row_begin = r.y0 > t.top ? (r.y0 - t.top) / kRows : 0;
    v.row_end = (r.y1 < t.top + kTile ? (r.y1 - t.top) / kRows : kBlockRows - 1) + 1;
    return v;
}
static_assert(kBlockCols == 8, "a row of blocks is one byte of flags");

// T = 1 inside the image and -1 outside; returns the number of live blocks and their flags.
inline int start_transmittance(const TileForward& t, float* scratch, int stride, uint8_t* live) {
    const int inside_w = t.width - t.left, inside_h = t.height - t.top;
    int blocks = 0;
    for (int row = 0; row < kBlockRows; ++row) {
        live[row] = 0;
        for (int col = 0; col < kBlockCols; ++col) {
            float* block = scratch + (row * kBlockCols + col) * stride;
            for (int i = 0; i < W; ++i) {
                const bool inside = col * kCols + i % kCols < inside_w && row * kRows + i / kCols < inside_h;
                block[i] = inside ? 1.0f : -1.0f;
            }
            if (col * kCols < inside_w && row * kRows < inside_h) live[row] |= 1u << col, ++blocks;
        }
    }
    return blocks;
}

template <int D>  // 0: as many as the tile says
void blend_tile(const TileForward& t) {
    static const LaneOffsets lanes;
    const int channels = D ? D : t.channels;
    const int stride = (1 + channels) * W;
    uint8_t live[kBlockRows];
    int live_blocks = start_transmittance(t, t.scratch, stride, live);
    const F zero = set1(0.0f);
    for (int block = 0; block < kBlockRows * kBlockCols; ++block)
        for (int k = 0; k < channels; ++k) store(t.scratch + block * stride + (1 + k) * W, zero);

    const F lane_x = load(lanes.x), lane_y = load(lanes.y);
    const F cut = set1(kLog2AlphaMin), alpha_max = set1(kAlphaMax), stop = set1(kStop);
    for (int64_t e = 0; e < t.count && live_blocks; ++e) {
        const uint32_t id = t.entries[e];
        if (e + 4 < t.count) __builtin_prefetch(&t.records[t.entries[e + 4]]);
        const Record& r = t.records[id];
        const float* color = D && D <= 4 ? r.color : t.colors + int64_t(id) * channels;
        const View v = view_of(r, t, lane_x, lane_y);
        const F log2_opacity = set1(r.log2_opacity), u_col = set1(v.u_col);
        F c[D ? D : 1];
        for (int k = 0; k < D; ++k) c[k] = set1(color[k]);
        for (int row = v.row_begin; row < v.row_end; ++row) {
            unsigned todo = live[row] & v.cols;
            if (!todo) continue;
            const F u_start = v.u0 + set1(row * v.u_row), w = v.w0 + set1(row * v.w_row);
            const F top = fnma(w, w, log2_opacity);
            do {
                const int col = __builtin_ctz(todo);
                todo &= todo - 1;
                float* block = t.scratch + (row * kBlockCols + col) * stride;
                const F u = fma(u_col, set1(float(col)), u_start);
                const F q = fnma(u, u, top);
                const M seen = q >= cut;
                const F T = load(block);
                F weight = min(exp2(q), alpha_max) * T;
                const F after = T - weight;
                const M taken = seen & (after > stop);
                const M finished = andnot(taken, seen);
                weight = keep(taken, weight);
                F next = T - weight;
                if (any(finished)) {
                    next = make_negative(finished, next);
                    if (all_negative(next)) live[row] &= ~(1u << col), --live_blocks;
                }
                store(block, next);
                if (D) {
                    for (int k = 0; k < D; ++k)
                        store(block + (1 + k) * W, fma(weight, c[k], load(block + (1 + k) * W)));
                } else {
                    for (int k = 0; k < channels; ++k)
                        store(block + (1 + k) * W, fma(weight, set1(color[k]), load(block + (1 + k) * W)));
                }
            } while (todo);
        }
    }

    const int right = t.width - t.left < kTile ? t.width - t.left : kTile;
    const int bottom = t.height - t.top < kTile ? t.height - t.top : kTile;
    for (int y = 0; y < bottom; ++y) {
        float* image = t.image + (int64_t(t.top + y) * t.width + t.left) * channels;
        float* alpha = t.alpha + int64_t(t.top + y) * t.width + t.left;
        for (int x = 0; x < right; ++x) {
            const float* pixel =
                t.scratch + (y / kRows * kBlockCols + x / kCols) * stride + y % kRows * kCols + x % kCols;
            const float T = pixel[0] < 0 ? -pixel[0] : pixel[0];
            alpha[x] = 1.0f - T;
            for (int k = 0; k < channels; ++k)
                image[x * channels + k] = pixel[(1 + k) * W] + (t.background ? T * t.background[k] : 0.0f);
        }
    }
}

void blend(const TileForward& t) {
    switch (t.channels) {
        case 3: return blend_tile<3>(t);
        case 4: return blend_tile<4>(t);
        default: return blend_tile<0>(t);
    }
}

// Scratch per block: T, rest (what is still to come of dL/dC . C, seen from the front), dL/dC.
template <int D>
void blend_tile_backward(const TileBackward& b) {
    static const LaneOffsets lanes;
    const TileForward& t = b.tile;
    const int channels = D ? D : t.channels;
    const int stride = (2 + channels) * W;
    const int sums = channels + 6;
    uint8_t live[kBlockRows];
    int live_blocks = start_transmittance(t, t.scratch, stride, live);
    const int right = t.width - t.left < kTile ? t.width - t.left : kTile;
    const int bottom = t.height - t.top < kTile ? t.height - t.top : kTile;
    for (int y = 0; y < kTile; ++y) {
        for (int x = 0; x < kTile; ++x) {
            float* pixel = t.scratch + (y / kRows * kBlockCols + x / kCols) * stride + y % kRows * kCols + x % kCols;
            float rest = 0.0f;
            if (y < bottom && x < right) {
                const int64_t at = int64_t(t.top + y) * t.width + t.left + x;
                for (int k = 0; k < channels; ++k) {
                    pixel[(2 + k) * W] = b.grad_image[at * channels + k];
                    rest += pixel[(2 + k) * W] * t.image[at * channels + k];
                }
                if (b.grad_alpha) rest -= (1.0f - t.alpha[at]) * b.grad_alpha[at];
            } else {
                for (int k = 0; k < channels; ++k) pixel[(2 + k) * W] = 0.0f;
            }
            pixel[W] = rest;
        }
    }

    const F zero = set1(0.0f), one = set1(1.0f);
    const F lane_x = load(lanes.x), lane_y = load(lanes.y);
    const F cut = set1(kLog2AlphaMin), alpha_max = set1(kAlphaMax), stop = set1(kStop);
    for (int64_t e = 0; e < t.count; ++e) {
        const uint32_t id = t.entries[e];
        float* out = b.sums + int64_t(b.slots[e]) * sums;
        if (!live_blocks) {
            std::memset(out, 0, sizeof(float) * sums);
            continue;
        }
        if (e + 4 < t.count) __builtin_prefetch(&t.records[t.entries[e + 4]]);
        const Record& r = t.records[id];
        const float* color = D && D <= 4 ? r.color : t.colors + int64_t(id) * channels;
        const View v = view_of(r, t, lane_x, lane_y);
        const F log2_opacity = set1(r.log2_opacity), u_col = set1(v.u_col);
        F c[D ? D : 1], dc[D ? D : 1];
        for (int k = 0; k < D; ++k) c[k] = set1(color[k]), dc[k] = zero;
        if (!D) std::memset(out, 0, sizeof(float) * channels);
        F s1 = zero, su = zero, sw = zero, suu = zero, suw = zero, sww = zero;
        for (int row = v.row_begin; row < v.row_end; ++row) {
            unsigned todo = live[row] & v.cols;
            if (!todo) continue;
            const F u_start = v.u0 + set1(row * v.u_row), w = v.w0 + set1(row * v.w_row);
            const F top = fnma(w, w, log2_opacity);
            F row_1 = zero, row_u = zero;
            do {
                const int col = __builtin_ctz(todo);
                todo &= todo - 1;
                float* block = t.scratch + (row * kBlockCols + col) * stride;
                const F u = fma(u_col, set1(float(col)), u_start);
                const F q = fnma(u, u, top);
                const M seen = q >= cut;
                const F T = load(block);
                const F raw = exp2(q);
                const F alpha = min(raw, alpha_max);
                F weight = alpha * T;
                const F after = T - weight;
                const M taken = seen & (after > stop);
                const M finished = andnot(taken, seen);
                weight = keep(taken, weight);
                F next = T - weight;
                if (any(finished)) {
                    next = make_negative(finished, next);
                    if (all_negative(next)) live[row] &= ~(1u << col), --live_blocks;
                }
                store(block, next);

                F dot = zero;
                if (D) {
                    for (int k = 0; k < D; ++k) {
                        const F g = load(block + (2 + k) * W);
                        dot = k ? fma(c[k], g, dot) : c[k] * g;
                        dc[k] = fma(weight, g, dc[k]);
                    }
                } else {
                    for (int k = 0; k < channels; ++k) {
                        const F g = load(block + (2 + k) * W);
                        dot = fma(set1(color[k]), g, dot);
                        out[k] += sum(weight * g);
                    }
                }
                const F own = dot * weight;
                const F rest = load(block + W) - own;
                store(block + W, rest);
                // dL/d(ln alpha); nothing passes where the opacity is clamped.
                F g = fnma(rest * alpha, reciprocal(one - alpha), own);
                g = keep(taken & (raw <= alpha_max), g);
                row_1 += g;
                const F gu = g * u;
                row_u += gu;
                suu = fma(gu, u, suu);
            } while (todo);
            s1 += row_1;
            su += row_u;
            suw = fma(row_u, w, suw);
            const F row_w = row_1 * w;
            sw += row_w;
            sww = fma(row_w, w, sww);
        }
        for (int k = 0; k < D; ++k) out[k] = sum(dc[k]);
        float* moments = out + channels;
        moments[0] = sum(s1), moments[1] = sum(su), moments[2] = sum(sw);
        moments[3] = sum(suu), moments[4] = sum(suw), moments[5] = sum(sww);
    }
}

void blend_backward(const TileBackward& b) {
    switch (b.tile.channels) {
        case 3: return blend_tile_backward<3>(b);
        case 4: return blend_tile_backward<4>(b);
        default: return blend_tile_backward<0>(b);
    }
}

}  // namespace
