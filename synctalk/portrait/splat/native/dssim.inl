// SSIM of interleaved images (11x11 Gaussian window, sigma 1.5, zero padding, data range 1) and its gradient.
// A row of pixels is one long row of floats whose horizontal neighbours lie `channels` apart, so no channel is
// ever moved. Filtering is separable: rows are filtered along x once and kept in a ring for the y direction.

namespace {

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1;
constexpr float kWindow[kRadius + 1] = {0.26601171f, 0.21300554f, 0.10936069f, 0.03600078f,
                                        0.00759876f, 0.00102838f};  // centre first
constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;

// For each row y of [begin, end): use(y, Q filtered rows). make(y, Q rows) writes the rows to be filtered.
template <int Q, class Make, class Use>
void filter(int width, int height, int channels, int begin, int end, float* scratch, const Make& make,
            const Use& use) {
    const int n = width * channels, pad = kRadius * channels;
    const int64_t padded = n + 2 * pad + W, row = n + W;
    float* raw = scratch;                  // [Q, padded]
    float* ring = raw + Q * padded;        // [kTaps, Q, row]
    float* out = ring + kTaps * Q * row;   // [Q, row]
    std::memset(raw, 0, sizeof(float) * Q * padded);
    float* raw_rows[Q];
    for (int k = 0; k < Q; ++k) raw_rows[k] = raw + k * padded + pad;
    const float* out_rows[Q];
    for (int k = 0; k < Q; ++k) out_rows[k] = out + k * row;
    F taps[kRadius + 1];
    for (int t = 0; t <= kRadius; ++t) taps[t] = set1(kWindow[t]);

    for (int y = begin - kRadius; y < end + kRadius; ++y) {
        float* slot = ring + int64_t(((y % kTaps) + kTaps) % kTaps) * Q * row;
        if (y < 0 || y >= height) {
            std::memset(slot, 0, sizeof(float) * Q * row);
        } else {
            make(y, raw_rows);
            for (int k = 0; k < Q; ++k) {
                for (int i = 0; i < n; i += W) {
                    const float* p = raw_rows[k] + i;
                    F total = taps[0] * load(p);
                    for (int t = 1; t <= kRadius; ++t)
                        total = fma(taps[t], load(p - t * channels) + load(p + t * channels), total);
                    store(slot + k * row + i, total);
                }
            }
        }
        const int centre = y - kRadius;
        if (centre < begin) continue;
        const float* rows[kTaps];
        for (int t = 0; t < kTaps; ++t)
            rows[t] = ring + int64_t((((centre - kRadius + t) % kTaps) + kTaps) % kTaps) * Q * row;
        for (int k = 0; k < Q; ++k) {
            for (int i = 0; i < n; i += W) {
                const int64_t at = k * row + i;
                F total = taps[0] * load(rows[kRadius] + at);
                for (int t = 1; t <= kRadius; ++t)
                    total = fma(taps[t], load(rows[kRadius - t] + at) + load(rows[kRadius + t] + at), total);
                store(out + at, total);
            }
        }
        use(centre, out_rows);
    }
}

// Writes dSSIM/d(mean), dSSIM/d(mean square) and dSSIM/d(mean product) to maps [3, H, W * C] and the sum of
// SSIM of each row to total [H].
void ssim_maps(const float* image, const float* target, int width, int height, int channels, int begin, int end,
               float* scratch, float* maps, double* total) {
    const int n = width * channels;
    const int64_t plane = int64_t(n) * height;
    const auto make = [&](int y, float* const* rows) {
        const float *a = image + int64_t(y) * n, *b = target + int64_t(y) * n;
        for (int i = 0; i < n; ++i) {
            rows[0][i] = a[i];
            rows[1][i] = b[i];
            rows[2][i] = a[i] * a[i] + b[i] * b[i];
            rows[3][i] = a[i] * b[i];
        }
    };
    const auto use = [&](int y, const float* const* rows) {
        float* d_mean = maps + int64_t(y) * n;
        float *d_square = d_mean + plane, *d_product = d_square + plane;
        double row_sum = 0;
        const F one = set1(1.0f), two = set1(2.0f);
        alignas(64) float tail[4][W];
        for (int i = 0; i < n; i += W) {
            const F m1 = load(rows[0] + i), m2 = load(rows[1] + i);
            const F m12 = m1 * m2, squares = fma(m1, m1, m2 * m2);
            const F a1 = fma(two, m12, set1(kC1));
            const F a2 = fma(two, load(rows[3] + i) - m12, set1(kC2));
            const F b1 = squares + set1(kC1);
            const F b2 = load(rows[2] + i) - squares + set1(kC2);
            const F inv1 = one / b1, inv2 = one / b2;
            const F inv = inv1 * inv2;
            const F ssim = a1 * a2 * inv;
            const F mean = fma(two * m2 * inv, a2 - a1, two * m1 * ssim * (inv2 - inv1));
            const F square = -(ssim * inv2);
            const F product = two * a1 * inv;
            if (i + W <= n) {
                store(d_mean + i, mean), store(d_square + i, square), store(d_product + i, product);
                row_sum += sum(ssim);
            } else {
                store(tail[0], mean), store(tail[1], square), store(tail[2], product), store(tail[3], ssim);
                for (int j = 0; j < n - i; ++j) {
                    d_mean[i + j] = tail[0][j], d_square[i + j] = tail[1][j], d_product[i + j] = tail[2][j];
                    row_sum += tail[3][j];
                }
            }
        }
        total[y] = row_sum;
    };
    filter<4>(width, height, channels, begin, end, scratch, make, use);
}

// gradient = scale * d(sum of SSIM)/d(image)
void ssim_gradient(const float* image, const float* target, int width, int height, int channels, int begin, int end,
                   float* scratch, const float* maps, float scale, float* gradient) {
    const int n = width * channels;
    const int64_t plane = int64_t(n) * height;
    const auto make = [&](int y, float* const* rows) {
        for (int k = 0; k < 3; ++k)
            std::memcpy(rows[k], maps + k * plane + int64_t(y) * n, sizeof(float) * n);
    };
    const auto use = [&](int y, const float* const* rows) {
        const float *a = image + int64_t(y) * n, *b = target + int64_t(y) * n;
        float* g = gradient + int64_t(y) * n;
        for (int i = 0; i < n; ++i) g[i] = scale * (rows[0][i] + 2.0f * a[i] * rows[1][i] + b[i] * rows[2][i]);
    };
    filter<3>(width, height, channels, begin, end, scratch, make, use);
}

}  // namespace
