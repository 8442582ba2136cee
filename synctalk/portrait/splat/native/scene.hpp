// A picture in the making: projection, depth order, tile lists, blending, and the way back. One Scene keeps its
// buffers between pictures, so that a steady stream of frames allocates nothing.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "kernels.hpp"
#include "pool.hpp"

namespace splat {

template <class T>
struct Aligned {  // for std::vector: 64-byte aligned, as vector loads and records want
    using value_type = T;
    Aligned() = default;
    template <class U>
    Aligned(const Aligned<U>&) {}
    T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
    void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
    template <class U>
    void construct(U*) {}  // grown memory is about to be written: not cleared
    template <class U, class... Args>
    void construct(U* p, Args&&... args) {
        ::new (static_cast<void*>(p)) U(static_cast<Args&&>(args)...);
    }
    bool operator==(const Aligned&) const { return true; }
    bool operator!=(const Aligned&) const { return false; }
};
template <class T>
using Buffer = std::vector<T, Aligned<T>>;

struct TileBox {  // first and last tile across and down
    int16_t x0, x1, y0, y1;
};

class Scene {
  public:
    // A pixel is finished once `stop` of the light is left (1e-4, as the way back expects, or more).
    Scene(const Kernels& kernels, int threads, float stop = 1e-4f) : kernels_(kernels), threads_(threads), stop_(stop) {}

    // Draws all tiles, or with `changed_only` those whose Gaussians differ from the last call's (same size,
    // number of Gaussians and background, and the same `image` and `alpha` memory: the caller's duty).
    // Returns the number of tiles drawn.
    int64_t render(const Gaussians&, int64_t count, const Camera&, const float* background, float* image,
                   float* alpha, bool changed_only);

    // Gradients of the last render. grad_colors is [N, D], grad_view [12].
    void backward(const Gaussians&, int64_t count, const Camera&, const float* background, const float* image,
                  const float* alpha, const float* grad_image, const float* grad_alpha, const Gradients&,
                  float* grad_colors, float* grad_view);

    int64_t bytes() const;
    int64_t drawn() const { return static_cast<int64_t>(order_.size()); }
    // Milliseconds of the last render's project, sort, tiles, blend and the last backward's blend, project.
    const double* times_ms() const { return times_ms_; }

  private:
    bool find_changes(const Gaussians&, int64_t count);
    void mark(const Record&);
    void sort_by_depth(int64_t count);
    void fill_tiles();
    TileForward tile(const Gaussians&, const Camera&, const float* background, float* image, float* alpha,
                     int64_t index, int thread);
    float* scratch(int channels, int thread);

    const Kernels& kernels_;
    int threads_;
    float stop_;
    int tile_cols_ = 0, tile_rows_ = 0;
    Buffer<Record> records_, previous_;
    Buffer<float> colors_;  // of the last render, where records do not hold them all
    Buffer<uint8_t> dirty_;
    Buffer<uint64_t> keys_, keys_other_;
    Buffer<uint32_t> order_;  // Gaussians that are drawn, nearest first
    Buffer<TileBox> boxes_;   // of `order_`
    Buffer<uint32_t> starts_;   // [tiles + 1]
    Buffer<uint32_t> entries_;  // Gaussians, tile after tile, nearest first
    Buffer<uint32_t> cursor_;
    Buffer<uint32_t> slots_, first_slot_;
    Buffer<float> sums_, moments_, scratch_;
    double times_ms_[6] = {};
};

}  // namespace splat
