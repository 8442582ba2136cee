// The per-pixel GPU algorithm, ported to the CPU line by line: the peer that `synctalk bench splat` measures the
// native backend against. Gaussians are projected, paired with the 16 px tiles they touch, sorted by (tile, depth)
// in one 64-bit key, and every pixel walks its tile's list from front to back. Scalar, compiled with -O3.
//
//   g++ -O3 -std=c++17 -shared -fPIC -pthread scalar_port.cpp -o scalar_port.so

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr int kTile = 16;
constexpr float kAlphaMin = 1.0f / 255.0f;

struct Splat {
    float x, y, depth;
    float conic_a, conic_b, conic_c;
    float opacity;
    int radius_x, radius_y;  // 0: not drawn
};

struct Scene {
    const float *means, *quats, *scales, *opacities, *colors, *view, *K;
    int count, width, height;
};

Splat project(const Scene& s, int i) {
    Splat out = {};
    const float* m = s.means + 3 * i;
    float camera[3];
    for (int r = 0; r < 3; ++r)
        camera[r] = s.view[4 * r] * m[0] + s.view[4 * r + 1] * m[1] + s.view[4 * r + 2] * m[2] + s.view[4 * r + 3];
    const float z = camera[2];
    if (!(z > 0.01f)) return out;

    const float* q = s.quats + 4 * i;
    const float inv = 1.0f / std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    const float w = q[0] * inv, x = q[1] * inv, y = q[2] * inv, k = q[3] * inv;
    const float rotation[9] = {1 - 2 * (y * y + k * k), 2 * (x * y - w * k),     2 * (x * k + w * y),
                               2 * (x * y + w * k),     1 - 2 * (x * x + k * k), 2 * (y * k - w * x),
                               2 * (x * k - w * y),     2 * (y * k + w * x),     1 - 2 * (x * x + y * y)};
    float covariance[9] = {};
    for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b)
            for (int c = 0; c < 3; ++c)
                covariance[3 * a + b] += rotation[3 * a + c] * s.scales[3 * i + c] * s.scales[3 * i + c] * rotation[3 * b + c];

    const float fx = s.K[0], fy = s.K[4], cx = s.K[2], cy = s.K[5];
    const float margin_x = 0.15f * s.width / fx, margin_y = 0.15f * s.height / fy;
    const float slope_x = std::min((s.width - cx) / fx + margin_x, std::max(-cx / fx - margin_x, camera[0] / z));
    const float slope_y = std::min((s.height - cy) / fy + margin_y, std::max(-cy / fy - margin_y, camera[1] / z));
    const float jacobian[6] = {fx / z, 0, -fx * slope_x / z, 0, fy / z, -fy * slope_y / z};
    float to_screen[6] = {};
    for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 3; ++b)
            for (int c = 0; c < 3; ++c) to_screen[3 * a + b] += jacobian[3 * a + c] * s.view[4 * c + b];
    float covariance2d[4] = {};
    for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 2; ++b)
            for (int c = 0; c < 3; ++c)
                for (int d = 0; d < 3; ++d)
                    covariance2d[2 * a + b] += to_screen[3 * a + c] * covariance[3 * c + d] * to_screen[3 * b + d];
    const float xx = covariance2d[0] + 0.3f, xy = covariance2d[1], yy = covariance2d[3] + 0.3f;
    const float det = xx * yy - xy * xy, opacity = s.opacities[i];
    if (!(det > 0) || !(opacity >= kAlphaMin)) return out;

    const float extent = std::min(3.33f, std::sqrt(2.0f * std::log(opacity / kAlphaMin)));
    const float radius_x = std::ceil(extent * std::sqrt(xx)), radius_y = std::ceil(extent * std::sqrt(yy));
    out.x = fx * camera[0] / z + cx, out.y = fy * camera[1] / z + cy, out.depth = z;
    if (out.x + radius_x <= 0 || out.x - radius_x >= s.width || out.y + radius_y <= 0 || out.y - radius_y >= s.height)
        return out;
    out.conic_a = yy / det, out.conic_b = -xy / det, out.conic_c = xx / det;
    out.opacity = opacity;
    out.radius_x = static_cast<int>(radius_x), out.radius_y = static_cast<int>(radius_y);
    return out;
}

template <class Task>
void parallel(int count, int threads, const Task& task) {
    std::atomic<int> next{0};
    const auto work = [&] {
        for (int i; (i = next.fetch_add(1)) < count;) task(i);
    };
    std::vector<std::thread> helpers;
    for (int t = 1; t < threads; ++t) helpers.emplace_back(work);
    work();
    for (auto& helper : helpers) helper.join();
}

}  // namespace

extern "C" void scalar_port_render(const float* means, const float* quats, const float* scales, const float* opacities,
                                   const float* colors, const float* view, const float* K, int count, int width,
                                   int height, int threads, float* image, float* alpha_out) {
    const Scene s{means, quats, scales, opacities, colors, view, K, count, width, height};
    const int cols = (width + kTile - 1) / kTile, rows = (height + kTile - 1) / kTile;
    std::vector<Splat> splats(count);
    parallel((count + 255) / 256, threads, [&](int chunk) {
        for (int i = chunk * 256; i < std::min(count, (chunk + 1) * 256); ++i) splats[i] = project(s, i);
    });

    std::vector<std::pair<uint64_t, int>> pairs;  // (tile, depth bits), Gaussian
    for (int i = 0; i < count; ++i) {
        const Splat& p = splats[i];
        if (!p.radius_x) continue;
        const int x0 = std::max(0, int((p.x - p.radius_x) / kTile)), y0 = std::max(0, int((p.y - p.radius_y) / kTile));
        const int x1 = std::min(cols - 1, int((p.x + p.radius_x) / kTile));
        const int y1 = std::min(rows - 1, int((p.y + p.radius_y) / kTile));
        uint32_t depth;
        std::memcpy(&depth, &p.depth, sizeof(depth));
        for (int y = y0; y <= y1; ++y)
            for (int x = x0; x <= x1; ++x) pairs.emplace_back(uint64_t(y * cols + x) << 32 | depth, i);
    }
    std::sort(pairs.begin(), pairs.end());
    std::vector<int> starts(cols * rows + 1, 0);
    for (const auto& pair : pairs) ++starts[(pair.first >> 32) + 1];
    for (int t = 0; t < cols * rows; ++t) starts[t + 1] += starts[t];

    parallel(cols * rows, threads, [&](int tile) {
        const int left = tile % cols * kTile, top = tile / cols * kTile;
        for (int row = top; row < std::min(height, top + kTile); ++row) {
            for (int col = left; col < std::min(width, left + kTile); ++col) {
                const float px = col + 0.5f, py = row + 0.5f;
                float transmittance = 1.0f, out[3] = {0, 0, 0};
                for (int e = starts[tile]; e < starts[tile + 1]; ++e) {
                    const Splat& p = splats[pairs[e].second];
                    const float dx = p.x - px, dy = p.y - py;
                    const float sigma = 0.5f * (p.conic_a * dx * dx + p.conic_c * dy * dy) + p.conic_b * dx * dy;
                    const float alpha = std::min(0.999f, p.opacity * std::exp(-sigma));
                    if (sigma < 0.0f || alpha < kAlphaMin) continue;
                    const float next = transmittance * (1.0f - alpha);
                    if (next <= 1e-4f) break;
                    const float* color = colors + 3 * pairs[e].second;
                    for (int k = 0; k < 3; ++k) out[k] += color[k] * alpha * transmittance;
                    transmittance = next;
                }
                const int64_t at = int64_t(row) * width + col;
                for (int k = 0; k < 3; ++k) image[3 * at + k] = out[k];
                alpha_out[at] = 1.0f - transmittance;
            }
        }
    });
}
