// The deformation network of Eq. 19 for Gaussians that share conditions, and colours seen from a camera.
//
// A row holds one Gaussian. The first layer adds a constant (from the triplane) and attention times conditions,
// the conditions multiplied into its weights beforehand; then come layers of 64, and 16 outputs of which the first
// 10 or 13 count: position, rotation, logarithm of the scale, colour.
//
// With bfloat16 (processors that multiply it) weights lie in pairs of inputs: [inputs / 2, outputs, 2]. Sums are
// float32 either way.

namespace {

constexpr float kLog2E = 1.4426950408889634f;

inline void write_row(const DeformTask& t, int64_t row, const float* out) {
    const float* rest = t.rest + row * kOutputs;
    alignas(64) float sum[kOutputs], spread[kOutputs];
    for (int i = 0; i < kOutputs; i += W) {
        const F value = load(out + i) + load(rest + i);
        store(sum + i, value);
        store(spread + i, exp2(set1(kLog2E) * clamp(value, set1(t.low), set1(t.high))));
    }
    std::memcpy(t.means + 3 * row, sum, 3 * sizeof(float));
    std::memcpy(t.quats + 4 * row, sum + 3, 4 * sizeof(float));
    std::memcpy(t.scales + 3 * row, spread + 7, 3 * sizeof(float));
    if (t.tints) std::memcpy(t.tints + 3 * row, sum + 10, 3 * sizeof(float));
}

// out[g] = in[g] * weights + start[g], `Vectors` vectors of outputs from column `column` of `width`.
template <int Rows, int Vectors>
inline void dense(const float* in, int64_t in_stride, int inputs, const float* weights, int width, int column,
                  F out[Rows][Vectors]) {
    weights += column;
    for (int k = 0; k < inputs; ++k, weights += width) {
        F w[Vectors];
        for (int v = 0; v < Vectors; ++v) w[v] = load(weights + v * W);
        for (int g = 0; g < Rows; ++g) {
            const F x = set1(in[g * in_stride + k]);
            for (int v = 0; v < Vectors; ++v) out[g][v] = fma(x, w[v], out[g][v]);
        }
    }
}

template <int Rows>
inline void deform_rows(const DeformTask& t, int64_t row) {
    constexpr int kVectors = W == 16 ? 4 : 4, kColumns = kVectors * W;
    alignas(64) float hidden[2][Rows][kHidden];
    const float* constant = static_cast<const float*>(t.constant) + row * kHidden;
    const float* weights = static_cast<const float*>(t.weights);
    for (int layer = 0; layer <= t.trunk; ++layer) {
        const bool first = layer == 0;
        const float* in = first ? static_cast<const float*>(t.attention) + row * t.inputs : hidden[(layer + 1) & 1][0];
        const float* w = first ? static_cast<const float*>(t.first) : weights + int64_t(layer - 1) * kHidden * kHidden;
        for (int column = 0; column < kHidden; column += kColumns) {
            F out[Rows][kVectors];
            for (int g = 0; g < Rows; ++g)
                for (int v = 0; v < kVectors; ++v)
                    out[g][v] = load((first ? constant + g * kHidden : t.biases + (layer - 1) * kHidden) + column + v * W);
            dense<Rows, kVectors>(in, first ? t.inputs : kHidden, first ? t.inputs : kHidden, w, kHidden, column, out);
            for (int g = 0; g < Rows; ++g)
                for (int v = 0; v < kVectors; ++v)
                    store(hidden[layer & 1][g] + column + v * W, max(out[g][v], set1(0.0f)));
        }
    }
    constexpr int kLast = kOutputs / W;
    F out[Rows][kLast];
    for (int g = 0; g < Rows; ++g)
        for (int v = 0; v < kLast; ++v) out[g][v] = set1(0.0f);
    dense<Rows, kLast>(hidden[t.trunk & 1][0], kHidden, kHidden, weights + int64_t(t.trunk) * kHidden * kHidden, kOutputs,
                       0, out);
    for (int g = 0; g < Rows; ++g) {
        alignas(64) float made[kOutputs];
        for (int v = 0; v < kLast; ++v) store(made + v * W, out[g][v]);
        write_row(t, row + g, made);
    }
}

#if defined(__AVX512F__)

#define SPLAT_BF16 __attribute__((target("avx512bf16")))

template <int Rows, int Vectors>
SPLAT_BF16 inline void dense_half(const uint16_t* in, int64_t in_stride, int inputs, const uint16_t* weights, int width,
                                  __m512 out[Rows][Vectors]) {
    for (int k = 0; k < inputs; k += 2, weights += 2 * width) {
        __m512bh w[Vectors];
        for (int v = 0; v < Vectors; ++v) w[v] = (__m512bh)_mm512_loadu_si512(weights + 32 * v);
        for (int g = 0; g < Rows; ++g) {
            int32_t pair;
            std::memcpy(&pair, in + g * in_stride + k, sizeof(pair));
            const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
            for (int v = 0; v < Vectors; ++v) out[g][v] = _mm512_dpbf16_ps(out[g][v], x, w[v]);
        }
    }
}

template <int Rows>
SPLAT_BF16 inline void deform_rows_half(const DeformTask& t, int64_t row) {
    alignas(64) uint16_t hidden[2][Rows][kHidden];
    const uint16_t* constant = static_cast<const uint16_t*>(t.constant) + row * kHidden;
    const uint16_t* attention = static_cast<const uint16_t*>(t.attention) + row * t.inputs;
    const uint16_t* weights = static_cast<const uint16_t*>(t.weights);
    for (int layer = 0; layer <= t.trunk; ++layer) {
        __m512 out[Rows][4];
        for (int g = 0; g < Rows; ++g)
            for (int v = 0; v < 4; ++v)
                out[g][v] = layer ? _mm512_loadu_ps(t.biases + (layer - 1) * kHidden + 16 * v)
                                  : _mm512_castsi512_ps(_mm512_slli_epi32(
                                        _mm512_cvtepu16_epi32(_mm256_loadu_si256(
                                            reinterpret_cast<const __m256i*>(constant + g * kHidden + 16 * v))),
                                        16));
        if (layer == 0)
            dense_half<Rows, 4>(attention, t.inputs, t.inputs, static_cast<const uint16_t*>(t.first), kHidden, out);
        else
            dense_half<Rows, 4>(hidden[(layer + 1) & 1][0], kHidden, kHidden,
                                weights + int64_t(layer - 1) * kHidden * kHidden, kHidden, out);
        const __m512 zero = _mm512_setzero_ps();
        for (int g = 0; g < Rows; ++g)
            for (int v = 0; v < 4; v += 2)
                _mm512_store_si512(hidden[layer & 1][g] + 16 * v,
                                   (__m512i)_mm512_cvtne2ps_pbh(_mm512_max_ps(out[g][v + 1], zero),
                                                                _mm512_max_ps(out[g][v], zero)));
    }
    __m512 out[Rows][1];
    for (int g = 0; g < Rows; ++g) out[g][0] = _mm512_setzero_ps();
    dense_half<Rows, 1>(hidden[t.trunk & 1][0], kHidden, kHidden, weights + int64_t(t.trunk) * kHidden * kHidden,
                        kOutputs, out);
    for (int g = 0; g < Rows; ++g) {
        alignas(64) float made[kOutputs];
        _mm512_store_ps(made, out[g][0]);
        write_row(t, row + g, made);
    }
}

SPLAT_BF16 void deform_half(const DeformTask& t, int64_t begin, int64_t end) {
    for (; begin + 6 <= end; begin += 6) deform_rows_half<6>(t, begin);
    for (; begin < end; ++begin) deform_rows_half<1>(t, begin);
}

bool has_bfloat16() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16");
}

#else

void deform_half(const DeformTask&, int64_t, int64_t) {}  // never called: has_bfloat16 says no
bool has_bfloat16() { return false; }

#endif

void deform(const DeformTask& t, bool half, int64_t begin, int64_t end) {
    if (half) return deform_half(t, begin, end);
    constexpr int kRows = W == 16 ? 6 : 2;
    for (; begin + kRows <= end; begin += kRows) deform_rows<kRows>(t, begin);
    for (; begin < end; ++begin) deform_rows<1>(t, begin);
}

// Spherical harmonics of degree 1 seen from the camera, plus what the deformation adds.
void colors(const ColorTask& t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
        float d[3], length = 0;
        for (int k = 0; k < 3; ++k) d[k] = t.means[3 * i + k] - t.camera[k], length += d[k] * d[k];
        const float scale = 1.0f / __builtin_sqrtf(length);
        for (int k = 0; k < 3; ++k) {
            float color = t.base[3 * i + k];
            if (t.slopes)
                for (int axis = 0; axis < 3; ++axis) color += scale * d[axis] * t.slopes[9 * i + 3 * axis + k];
            if (t.tints) color += t.tints[3 * i + k];
            t.colors[3 * i + k] = color;
        }
    }
}

}  // namespace
