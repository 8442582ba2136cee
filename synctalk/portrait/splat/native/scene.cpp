#include "scene.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace splat {

namespace {

constexpr int64_t kChunk = 1024;  // Gaussians of one projection task; a fixed size keeps sums reproducible

int64_t chunks_of(int64_t count) { return (count + kChunk - 1) / kChunk; }

TileBox tiles_of(const Record& r) {
    const auto tile = [](int16_t px) { return static_cast<int16_t>(px / kTile); };
    return {tile(r.x0), tile(r.x1), tile(r.y0), tile(r.y1)};
}

class Stopwatch {
  public:
    double lap_ms() {
        const auto now = std::chrono::steady_clock::now();
        const double ms = std::chrono::duration<double, std::milli>(now - last_).count();
        last_ = now;
        return ms;
    }

  private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace

int64_t Scene::render(const Gaussians& g, int64_t count, const Camera& camera, const float* background, float* image,
                      float* alpha, bool changed_only) {
    Stopwatch watch;
    const int cols = (camera.width + kTile - 1) / kTile, rows = (camera.height + kTile - 1) / kTile;
    const int64_t tiles = int64_t(cols) * rows;
    const bool comparable = changed_only && cols == tile_cols_ && rows == tile_rows_ &&
                            static_cast<int64_t>(records_.size()) == count;
    tile_cols_ = cols, tile_rows_ = rows;
    records_.swap(previous_);
    records_.resize(count);
    Pool& pool = Pool::shared();
    pool.run(chunks_of(count), threads_, [&](int64_t chunk, int) {
        kernels_.project(g, camera, records_.data(), chunk * kChunk, std::min(count, (chunk + 1) * kChunk));
    });
    times_ms_[0] = watch.lap_ms();
    dirty_.assign(tiles, comparable ? 0 : 1);
    if (comparable && !find_changes(g, count)) return 0;
    if (g.channels > 4) colors_.assign(g.colors, g.colors + count * g.channels);

    sort_by_depth(count);
    times_ms_[1] = watch.lap_ms();
    fill_tiles();
    times_ms_[2] = watch.lap_ms();
    scratch(g.channels, threads_);
    int64_t drawn = 0;
    for (uint8_t d : dirty_) drawn += d;
    pool.run(tiles, threads_, [&](int64_t index, int thread) {
        if (dirty_[index]) kernels_.blend(tile(g, camera, background, image, alpha, index, thread));
    });
    times_ms_[3] = watch.lap_ms();
    return drawn;
}

bool Scene::find_changes(const Gaussians& g, int64_t count) {
    bool changed = false;
    const bool outside = g.channels > 4;  // colours that records do not hold
    for (int64_t i = 0; i < count; ++i) {
        const bool same = !std::memcmp(&records_[i], &previous_[i], sizeof(Record)) &&
                          (!outside || !std::memcmp(&colors_[i * g.channels], g.colors + i * g.channels,
                                                    sizeof(float) * g.channels));
        if (same) continue;
        changed = true;
        mark(records_[i]);
        mark(previous_[i]);
    }
    return changed;
}

void Scene::mark(const Record& r) {
    if (!r.drawn()) return;
    const TileBox b = tiles_of(r);
    for (int y = b.y0; y <= b.y1; ++y)
        for (int x = b.x0; x <= b.x1; ++x) dirty_[y * tile_cols_ + x] = 1;
}

// Depths are positive floats: their bits sort like the numbers. Only the bits in which the depths differ are
// sorted on, in two or three passes. Equal depths keep their order.
void Scene::sort_by_depth(int64_t count) {
    keys_.resize(count);
    keys_other_.resize(count);
    int64_t n = 0;
    uint32_t low = UINT32_MAX, high = 0;
    for (int64_t i = 0; i < count; ++i) {
        if (!records_[i].drawn()) continue;
        uint32_t bits;
        std::memcpy(&bits, &records_[i].depth, sizeof(bits));
        low = std::min(low, bits), high = std::max(high, bits);
        keys_[n++] = uint64_t(bits) << 32 | uint64_t(i);
    }
    int width = 0;
    while (n && width < 32 && (uint64_t(high) - low) >> width) ++width;
    const int passes = (width + 11) / 12, digit = passes ? (width + passes - 1) / passes : 0;
    uint32_t counts[4096];
    for (int pass = 0; pass < passes; ++pass) {
        const int shift = pass * digit;
        const uint32_t mask = (1u << digit) - 1;
        std::memset(counts, 0, sizeof(uint32_t) * (mask + 1));
        for (int64_t i = 0; i < n; ++i) ++counts[(uint32_t(keys_[i] >> 32) - low) >> shift & mask];
        uint32_t total = 0;
        for (uint32_t d = 0; d <= mask; ++d) {
            const uint32_t here = counts[d];
            counts[d] = total;
            total += here;
        }
        for (int64_t i = 0; i < n; ++i)
            keys_other_[counts[(uint32_t(keys_[i] >> 32) - low) >> shift & mask]++] = keys_[i];
        keys_.swap(keys_other_);
    }
    order_.resize(n);
    for (int64_t i = 0; i < n; ++i) order_[i] = uint32_t(keys_[i]);
}

// Every thread owns a band of tile rows and walks all Gaussians, nearest first: lists come out sorted, and no two
// threads meet.
void Scene::fill_tiles() {
    const int64_t count = static_cast<int64_t>(order_.size());
    boxes_.resize(count);
    Pool& pool = Pool::shared();
    pool.run(chunks_of(count), threads_, [&](int64_t chunk, int) {
        for (int64_t i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i)
            boxes_[i] = tiles_of(records_[order_[i]]);
    });
    starts_.assign(int64_t(tile_cols_) * tile_rows_ + 1, 0);
    const int bands = std::min(threads_, tile_rows_);
    const auto first_row = [&](int64_t band) { return static_cast<int>(tile_rows_ * band / bands); };
    pool.run(bands, threads_, [&](int64_t band, int) {
        const int top = first_row(band), bottom = first_row(band + 1) - 1;
        for (const TileBox& b : boxes_)
            for (int y = std::max<int>(b.y0, top); y <= std::min<int>(b.y1, bottom); ++y)
                for (int x = b.x0; x <= b.x1; ++x) ++starts_[int64_t(y) * tile_cols_ + x + 1];
    });
    for (size_t t = 1; t < starts_.size(); ++t) starts_[t] += starts_[t - 1];
    entries_.resize(starts_.back());
    cursor_.assign(starts_.begin(), starts_.end());
    pool.run(bands, threads_, [&](int64_t band, int) {
        const int top = first_row(band), bottom = first_row(band + 1) - 1;
        for (int64_t i = 0; i < count; ++i) {
            const TileBox& b = boxes_[i];
            for (int y = std::max<int>(b.y0, top); y <= std::min<int>(b.y1, bottom); ++y)
                for (int x = b.x0; x <= b.x1; ++x) entries_[cursor_[int64_t(y) * tile_cols_ + x]++] = order_[i];
        }
    });
}

float* Scene::scratch(int channels, int thread) {
    const int64_t each = (tile_scratch_floats(channels) + 15) / 16 * 16;
    if (static_cast<int64_t>(scratch_.size()) < each * threads_) scratch_.resize(each * threads_);
    return scratch_.data() + each * thread;
}

TileForward Scene::tile(const Gaussians& g, const Camera& camera, const float* background, float* image,
                        float* alpha, int64_t index, int thread) {
    TileForward t;
    t.records = records_.data();
    t.colors = g.colors;
    t.channels = g.channels;
    t.entries = entries_.data() + starts_[index];
    t.count = starts_[index + 1] - starts_[index];
    t.left = static_cast<int>(index % tile_cols_) * kTile;
    t.top = static_cast<int>(index / tile_cols_) * kTile;
    t.width = camera.width, t.height = camera.height;
    t.stop = stop_;
    t.background = background;
    t.image = image, t.alpha = alpha;
    t.scratch = scratch(g.channels, thread);
    return t;
}

void Scene::backward(const Gaussians& g, int64_t count, const Camera& camera, const float* background,
                     const float* image, const float* alpha, const float* grad_image, const float* grad_alpha,
                     const Gradients& grads, float* grad_colors, float* grad_view) {
    const int64_t tiles = int64_t(tile_cols_) * tile_rows_;
    const int width = g.channels + 6;
    Stopwatch watch;
    Pool& pool = Pool::shared();

    // Each Gaussian owns one slot per tile it touches, in a row: tiles write there without meeting, and the
    // sum over them is taken in one order, whatever the number of threads.
    first_slot_.resize(count + 1);
    first_slot_[0] = 0;
    for (int64_t i = 0; i < count; ++i) {
        const Record& r = records_[i];
        const TileBox b = tiles_of(r);
        first_slot_[i + 1] = first_slot_[i] + (r.drawn() ? (b.x1 - b.x0 + 1) * (b.y1 - b.y0 + 1) : 0);
    }
    slots_.resize(entries_.size());
    sums_.resize(entries_.size() * width);
    scratch(g.channels, threads_);
    pool.run(tiles, threads_, [&](int64_t index, int thread) {
        TileBackward b;
        b.tile = tile(g, camera, background, const_cast<float*>(image), const_cast<float*>(alpha), index, thread);
        b.grad_image = grad_image, b.grad_alpha = grad_alpha, b.background = background;
        const int row = static_cast<int>(index / tile_cols_), col = static_cast<int>(index % tile_cols_);
        for (uint32_t e = starts_[index]; e < starts_[index + 1]; ++e) {
            const TileBox box = tiles_of(records_[entries_[e]]);
            slots_[e] = first_slot_[entries_[e]] + (row - box.y0) * (box.x1 - box.x0 + 1) + (col - box.x0);
        }
        b.slots = slots_.data() + starts_[index];
        b.sums = sums_.data();
        kernels_.blend_backward(b);
    });

    times_ms_[4] = watch.lap_ms();
    const int64_t chunks = chunks_of(count);
    moments_.resize(count * 6 + chunks * 12);
    float* views = moments_.data() + count * 6;
    pool.run(chunks, threads_, [&](int64_t chunk, int) {
        const int64_t begin = chunk * kChunk, end = std::min(count, begin + kChunk);
        for (int64_t i = begin; i < end; ++i) {
            float* color = grad_colors + i * g.channels;
            float* moment = moments_.data() + i * 6;
            std::memset(color, 0, sizeof(float) * g.channels);
            std::memset(moment, 0, sizeof(float) * 6);
            for (uint32_t s = first_slot_[i]; s < first_slot_[i + 1]; ++s) {
                const float* sum = sums_.data() + int64_t(s) * width;
                for (int k = 0; k < g.channels; ++k) color[k] += sum[k];
                for (int k = 0; k < 6; ++k) moment[k] += sum[g.channels + k];
            }
        }
        float* view = views + chunk * 12;
        std::memset(view, 0, sizeof(float) * 12);
        kernels_.project_backward(g, camera, records_.data(), moments_.data(), grads, view, begin, end);
    });
    std::memset(grad_view, 0, sizeof(float) * 12);
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
        for (int k = 0; k < 12; ++k) grad_view[k] += views[chunk * 12 + k];
    times_ms_[5] = watch.lap_ms();
}

int64_t Scene::bytes() const {
    return (records_.capacity() + previous_.capacity()) * sizeof(Record) + colors_.capacity() * sizeof(float) +
           dirty_.capacity() + boxes_.capacity() * sizeof(TileBox) + (keys_.capacity() + keys_other_.capacity()) * sizeof(uint64_t) +
           (order_.capacity() + starts_.capacity() + entries_.capacity() + cursor_.capacity() + slots_.capacity() +
            first_slot_.capacity()) * sizeof(uint32_t) +
           (sums_.capacity() + moments_.capacity() + scratch_.capacity()) * sizeof(float);
}

}  // namespace splat
