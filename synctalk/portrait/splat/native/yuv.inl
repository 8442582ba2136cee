// Float RGB in [0, 1] to limited-range YUV 4:2:0 planes; chroma is the mean of 2x2 pixels.

namespace {

inline uint8_t quantize(float value) {
    value = value > 0.0f ? value : 0.0f;  // also takes NaN to 0
    value = value < 255.0f ? value : 255.0f;
    return static_cast<uint8_t>(static_cast<int>(value + 0.5f));
}

inline float unit(float value) {
    value = value > 0.0f ? value : 0.0f;
    return value < 1.0f ? value : 1.0f;
}

// matrix: three rows (Y, U, V) of r, g, b weights and an offset. Rows are pairs of image rows.
void yuv_rows(const float* rgb, int width, int height, int begin, int end, const float* matrix, uint8_t* y,
              uint8_t* u, uint8_t* v) {
    (void)height;
    constexpr int kChunk = 64;  // pixels, kept in registers and L1
    const float *my = matrix, *mu = matrix + 4, *mv = matrix + 8;
    for (int pair = begin; pair < end; ++pair) {
        for (int left = 0; left < width; left += kChunk) {
            const int count = width - left < kChunk ? width - left : kChunk;
            float sums[3][kChunk];
            for (int line = 0; line < 2; ++line) {
                const int64_t at = int64_t(2 * pair + line) * width + left;
                const float* p = rgb + at * 3;
                float plane[3][kChunk];
                for (int i = 0; i < count; ++i)
                    for (int k = 0; k < 3; ++k) plane[k][i] = unit(p[3 * i + k]);
                for (int i = 0; i < count; ++i)
                    y[at + i] = quantize(my[0] * plane[0][i] + my[1] * plane[1][i] + my[2] * plane[2][i] + my[3]);
                for (int k = 0; k < 3; ++k)
                    for (int i = 0; i < count; ++i) sums[k][i] = line ? sums[k][i] + plane[k][i] : plane[k][i];
            }
            const int64_t at = int64_t(pair) * (width / 2) + left / 2;
            float half[3][kChunk / 2];
            for (int k = 0; k < 3; ++k)
                for (int i = 0; i < count / 2; ++i) half[k][i] = 0.25f * (sums[k][2 * i] + sums[k][2 * i + 1]);
            for (int i = 0; i < count / 2; ++i) {
                u[at + i] = quantize(mu[0] * half[0][i] + mu[1] * half[1][i] + mu[2] * half[2][i] + mu[3]);
                v[at + i] = quantize(mv[0] * half[0][i] + mv[1] * half[1][i] + mv[2] * half[2][i] + mv[3]);
            }
        }
    }
}

}  // namespace
