// Blending of one 32 px tile, and its gradient. A tile is 64 blocks of 4x4 pixels; per block the scratch holds
// 16 transmittances (negative once the pixel is finished) and 16 of every other quantity. For each Gaussian one
// 64-bit mask says which blocks it can reach and still have unfinished pixels; only those are touched, and
// within them nothing branches.

namespace {

constexpr int kBlockSide = 4, kBlock = kBlockSide * kBlockSide;  // px
constexpr int kBlocksAcross = kTile / kBlockSide, kBlocks = kBlocksAcross * kBlocksAcross;
constexpr int kBatch = 32;  // Gaussians between two looks for finished blocks
constexpr int kParts = kBlock / W;  // vectors per block
constexpr float kAlphaMax = 0.999f, kStop = 1e-4f;
constexpr float kLog2AlphaMin = -kLog2Of255;
static_assert(kBlocks == 64, "the blocks of a tile are one 64-bit mask");

struct Offsets {  // px
    alignas(64) float pixel_x[kBlock], pixel_y[kBlock];    // of a pixel from its block's centre
    alignas(64) float centre_x[kBlocks], centre_y[kBlocks];  // of a block's centre from the tile's corner
    Offsets() {
        for (int i = 0; i < kBlock; ++i)
            pixel_x[i] = float(i % kBlockSide) - 1.5f, pixel_y[i] = float(i / kBlockSide) - 1.5f;
        for (int i = 0; i < kBlocks; ++i)
            centre_x[i] = float(i % kBlocksAcross * kBlockSide + 2), centre_y[i] = float(i / kBlocksAcross * kBlockSide + 2);
    }
};

// A Gaussian as seen from a tile: u = pixel_u + centre_u[block], and w likewise.
struct View {
    F pixel_u[kParts], pixel_w[kParts];
    alignas(64) float centre_u[kBlocks], centre_w[kBlocks];
    uint64_t reach;  // blocks that may hold a pixel above alpha 1/255
};

inline void look(const Record& r, const TileForward& t, const Offsets& o, View& v) {
    const F l11 = set1(r.l11), l21 = set1(r.l21), l22 = set1(r.l22);
    for (int p = 0; p < kParts; ++p) {
        const F y = load(o.pixel_y + p * W);
        v.pixel_u[p] = fma(l11, load(o.pixel_x + p * W), l21 * y);
        v.pixel_w[p] = l22 * y;
    }
    const F dx = set1(t.left - r.mean_x), dy = set1(t.top - r.mean_y), reach2 = set1(r.reach2);
    v.reach = 0;
    for (int i = 0; i < kBlocks; i += W) {
        const F y = load(o.centre_y + i) + dy;
        const F u = fma(l11, load(o.centre_x + i) + dx, l21 * y), w = l22 * y;
        store(v.centre_u + i, u);
        store(v.centre_w + i, w);
        v.reach |= uint64_t(bits(fma(u, u, w * w) <= reach2)) << i;
    }
}

inline float* pixel_at(float* scratch, int stride, int x, int y) {
    return scratch + (y / kBlockSide * kBlocksAcross + x / kBlockSide) * stride + y % kBlockSide * kBlockSide +
           x % kBlockSide;
}

// T = 1 inside the image and -1 outside; returns the blocks that have pixels inside.
inline uint64_t start_transmittance(const TileForward& t, float* scratch, int stride) {
    const int inside_w = t.width - t.left, inside_h = t.height - t.top;
    uint64_t live = 0;
    for (int block = 0; block < kBlocks; ++block) {
        const int x = block % kBlocksAcross * kBlockSide, y = block / kBlocksAcross * kBlockSide;
        float* T = scratch + block * stride;
        for (int i = 0; i < kBlock; ++i)
            T[i] = x + i % kBlockSide < inside_w && y + i / kBlockSide < inside_h ? 1.0f : -1.0f;
        if (x < inside_w && y < inside_h) live |= uint64_t(1) << block;
    }
    return live;
}

// Which of the blocks in `todo` have no unfinished pixel.
inline uint64_t finished_blocks(uint64_t todo, const float* scratch, int stride) {
    uint64_t finished = 0;
    for (; todo; todo &= todo - 1) {
        const int at = __builtin_ctzll(todo);
        bool all = true;
        for (int p = 0; p < kParts; ++p) all &= all_negative(load(scratch + at * stride + p * W));
        finished |= uint64_t(all) << at;
    }
    return finished;
}

// Adds one Gaussian to the blocks in `todo`. D = 0: as many channels as given.
template <int D>
inline void add(const Record& r, const View& v, const float* color, int channels, uint64_t todo, float enough,
                float* scratch) {
    const int stride = (1 + channels) * kBlock;
    const F cut = set1(kLog2AlphaMin), alpha_max = set1(kAlphaMax), stop = set1(kStop), last = set1(enough);
    const F log2_opacity = set1(r.log2_opacity);
    F c[D ? D : 1];
    for (int k = 0; k < D; ++k) c[k] = set1(color[k]);
    for (; todo; todo &= todo - 1) {
        const int at = __builtin_ctzll(todo);
        float* block = scratch + at * stride;
        const F centre_u = set1(v.centre_u[at]), centre_w = set1(v.centre_w[at]);
        for (int p = 0; p < kParts; ++p, block += W) {
            const F u = v.pixel_u[p] + centre_u, w = v.pixel_w[p] + centre_w;
            const F q = fnma(u, u, fnma(w, w, log2_opacity));
            const M seen = q >= cut;
            const F T = load(block);
            F weight = min(exp2(q), alpha_max) * T;
            const F left = T - weight;
            const M taken = seen & (left > stop);
            weight = keep(taken, weight);
            store(block, make_negative(andnot(left > last, seen), T - weight));
            for (int k = 0; k < channels; ++k) {
                float* total = block + (1 + k) * kBlock;
                store(total, fma(weight, D ? c[D ? k : 0] : set1(color[k]), load(total)));
            }
        }
    }
}

inline const float* color_of(const TileForward& t, uint32_t id, bool in_record) {
    return in_record ? t.records[id].color : t.colors + int64_t(id) * t.channels;
}

template <int D>
inline void write_tile(const TileForward& t, int stride) {
    const int channels = D ? D : t.channels;
    const int right = t.width - t.left < kTile ? t.width - t.left : kTile;
    const int bottom = t.height - t.top < kTile ? t.height - t.top : kTile;
    for (int y = 0; y < bottom; ++y) {
        float* image = t.image + (int64_t(t.top + y) * t.width + t.left) * channels;
        float* alpha = t.alpha + int64_t(t.top + y) * t.width + t.left;
        for (int x = 0; x < right; ++x) {
            const float* pixel = pixel_at(t.scratch, stride, x, y);
            const float T = pixel[0] < 0 ? -pixel[0] : pixel[0];
            alpha[x] = 1.0f - T;
            for (int k = 0; k < channels; ++k)
                image[x * channels + k] = pixel[(1 + k) * kBlock] + (t.background ? T * t.background[k] : 0.0f);
        }
    }
}

template <int D>
void blend_tile(const TileForward& t) {
    static const Offsets offsets;
    const int channels = D ? D : t.channels;
    const int stride = (1 + channels) * kBlock;
    uint64_t live = start_transmittance(t, t.scratch, stride);
    for (int block = 0; block < kBlocks; ++block)
        std::memset(t.scratch + block * stride + kBlock, 0, sizeof(float) * channels * kBlock);
    View views[kBatch];
    for (int64_t first = 0; first < t.count && live; first += kBatch) {
        const int batch = t.count - first < kBatch ? int(t.count - first) : kBatch;
        for (int i = 0; i < batch; ++i) look(t.records[t.entries[first + i]], t, offsets, views[i]);
        uint64_t touched = 0;
        for (int i = 0; i < batch; ++i) {
            const uint32_t id = t.entries[first + i];
            const uint64_t todo = views[i].reach & live;
            add<D>(t.records[id], views[i], color_of(t, id, D != 0), channels, todo, t.stop, t.scratch);
            touched |= todo;
        }
        live &= ~finished_blocks(touched, t.scratch, stride);
    }
    write_tile<D>(t, stride);
}

void blend(const TileForward& t) {
    switch (t.channels) {
        case 3: return blend_tile<3>(t);
        case 4: return blend_tile<4>(t);
        default: return blend_tile<0>(t);
    }
}

// The way back also runs front to back: what lies behind a Gaussian is the whole less what came before. Per
// block: T, rest (dL/dC . C of all that is still to come, and dL/dT of what is left), dL/dC.
template <int D>
inline void load_tile_gradients(const TileBackward& b, int stride) {
    const TileForward& t = b.tile;
    const int channels = D ? D : t.channels;
    for (int y = 0; y < kTile; ++y) {
        for (int x = 0; x < kTile; ++x) {
            float* pixel = pixel_at(t.scratch, stride, x, y);
            const bool inside = t.left + x < t.width && t.top + y < t.height;
            const int64_t at = int64_t(t.top + y) * t.width + t.left + x;
            float rest = inside && b.grad_alpha ? (t.alpha[at] - 1.0f) * b.grad_alpha[at] : 0.0f;
            for (int k = 0; k < channels; ++k) {
                const float g = inside ? b.grad_image[at * channels + k] : 0.0f;
                pixel[(2 + k) * kBlock] = g;
                if (inside) rest += g * t.image[at * channels + k];
            }
            pixel[kBlock] = rest;
        }
    }
}

// Sums of one Gaussian over the blocks in `todo`, to out [channels + 6].
template <int D>
inline void add_backward(const Record& r, const View& v, const float* color, int channels, uint64_t todo,
                         float* scratch, float* out) {
    const int stride = (2 + channels) * kBlock;
    const F zero = set1(0.0f), one = set1(1.0f);
    const F cut = set1(kLog2AlphaMin), alpha_max = set1(kAlphaMax), stop = set1(kStop);
    const F log2_opacity = set1(r.log2_opacity);
    F c[D ? D : 1], dc[D ? D : 1];
    for (int k = 0; k < D; ++k) c[k] = set1(color[k]), dc[k] = zero;
    if (!D) std::memset(out, 0, sizeof(float) * channels);
    F s1 = zero, su = zero, sw = zero, suu = zero, suw = zero, sww = zero;
    for (; todo; todo &= todo - 1) {
        const int at = __builtin_ctzll(todo);
        float* block = scratch + at * stride;
        const F centre_u = set1(v.centre_u[at]), centre_w = set1(v.centre_w[at]);
        for (int p = 0; p < kParts; ++p, block += W) {
            const F u = v.pixel_u[p] + centre_u, w = v.pixel_w[p] + centre_w;
            const F q = fnma(u, u, fnma(w, w, log2_opacity));
            const M seen = q >= cut;
            const F T = load(block);
            const F raw = exp2(q);
            const F alpha = min(raw, alpha_max);
            F weight = alpha * T;
            const M taken = seen & (T - weight > stop);
            weight = keep(taken, weight);
            store(block, make_negative(andnot(taken, seen), T - weight));

            F dot = zero;
            for (int k = 0; k < channels; ++k) {
                const F g = load(block + (2 + k) * kBlock);
                dot = fma(D ? c[D ? k : 0] : set1(color[k]), g, dot);
                if (D)
                    dc[D ? k : 0] = fma(weight, g, dc[D ? k : 0]);
                else
                    out[k] += sum(weight * g);
            }
            const F own = dot * weight;
            const F rest = load(block + kBlock) - own;
            store(block + kBlock, rest);
            // dL/d(ln alpha); nothing passes where the opacity is clamped.
            F g = fnma(rest * alpha, reciprocal(one - alpha), own);
            g = keep(taken & (raw <= alpha_max), g);
            s1 += g;
            const F gu = g * u, gw = g * w;
            su += gu;
            sw += gw;
            suu = fma(gu, u, suu);
            suw = fma(gu, w, suw);
            sww = fma(gw, w, sww);
        }
    }
    for (int k = 0; k < D; ++k) out[k] = sum(dc[k]);
    const F moments[6] = {s1, su, sw, suu, suw, sww};
    for (int k = 0; k < 6; ++k) out[channels + k] = sum(moments[k]);
}

template <int D>
void blend_tile_backward(const TileBackward& b) {
    static const Offsets offsets;
    const TileForward& t = b.tile;
    const int channels = D ? D : t.channels;
    const int stride = (2 + channels) * kBlock, sums = channels + 6;
    uint64_t live = start_transmittance(t, t.scratch, stride);
    load_tile_gradients<D>(b, stride);
    View views[kBatch];
    for (int64_t first = 0; first < t.count; first += kBatch) {
        const int batch = t.count - first < kBatch ? int(t.count - first) : kBatch;
        if (live)
            for (int i = 0; i < batch; ++i) look(t.records[t.entries[first + i]], t, offsets, views[i]);
        uint64_t touched = 0;
        for (int i = 0; i < batch; ++i) {
            const uint32_t id = t.entries[first + i];
            const uint64_t todo = live ? views[i].reach & live : 0;
            float* out = b.sums + int64_t(b.slots[first + i]) * sums;
            if (todo)
                add_backward<D>(t.records[id], views[i], color_of(t, id, D != 0), channels, todo, t.scratch, out);
            else
                std::memset(out, 0, sizeof(float) * sums);
            touched |= todo;
        }
        live &= ~finished_blocks(touched, t.scratch, stride);
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
