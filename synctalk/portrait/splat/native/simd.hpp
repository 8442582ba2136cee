// One vector type per build of the kernels: 16 floats (x86-64-v4), 8 (v3) or 4 (compiler vector extensions:
// older x86 and aarch64). Everything is in an unnamed namespace and uses no standard templates, so that no
// symbol compiled for a newer processor can be picked by the linker for an older one.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

// Minimax polynomial of 2^f: relative error 2.6e-6, far below the step of an 8-bit picture.
#if defined(__AVX512F__)
constexpr float kExp2[5] = {1.0000026226043701f, 0.6930038332939148f, 0.2414427548646927f, 0.052011460065841675f,
                            0.013534167781472206f};  // f in [0, 1)
#else
constexpr float kExp2[5] = {0.9999992847442627f, 0.6931217908859253f, 0.240247443318367f, 0.05591785907745361f,
                            0.009570102207362652f};  // f in [-0.5, 0.5]
#endif

#if defined(__AVX512F__)

constexpr int W = 16;
struct F { __m512 v; };
struct M { __mmask16 m; };

inline F set1(float x) { return {_mm512_set1_ps(x)}; }
inline F load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F fnma(F a, F b, F c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F sqrt(F a) { return {_mm512_sqrt_ps(a.v)}; }
inline F ceil(F a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }
inline F floor(F a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
inline M operator<(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline M operator<=(F a, F b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline M operator>(F a, F b) { return b < a; }
inline M operator>=(F a, F b) { return b <= a; }
inline M operator&(M a, M b) { return {static_cast<__mmask16>(a.m & b.m)}; }
inline M andnot(M a, M b) { return {static_cast<__mmask16>(~a.m & b.m)}; }
inline bool any(M a) { return a.m != 0; }
inline unsigned bits(M a) { return a.m; }
inline F select(M m, F a, F b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }
inline F keep(M m, F a) { return {_mm512_maskz_mov_ps(m.m, a.v)}; }
inline F make_negative(M m, F a) {
    const __m512i i = _mm512_castps_si512(a.v);
    return {_mm512_castsi512_ps(_mm512_mask_or_epi32(i, m.m, i, _mm512_set1_epi32(INT32_MIN)))};
}
inline bool all_negative(F a) { return _mm512_movepi32_mask(_mm512_castps_si512(a.v)) == 0xFFFF; }
inline F reciprocal(F a) {
    const F r{_mm512_rcp14_ps(a.v)};
    return r * fnma(a, r, set1(2.0f));
}
inline F exp2(F x) {
    const F f{_mm512_reduce_ps(x.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
    F p = fma(set1(kExp2[4]), f, set1(kExp2[3]));
    p = fma(p, f, set1(kExp2[2]));
    p = fma(p, f, set1(kExp2[1]));
    p = fma(p, f, set1(kExp2[0]));
    return {_mm512_scalef_ps(p.v, x.v)};
}
inline void split(F x, F& exponent, F& mantissa) {  // x = mantissa * 2^exponent, mantissa in [1, 2)
    exponent = {_mm512_getexp_ps(x.v)};
    mantissa = {_mm512_getmant_ps(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)};
}
inline float sum(F a) { return _mm512_reduce_add_ps(a.v); }

#elif defined(__AVX2__)

constexpr int W = 8;
struct F { __m256 v; };
struct M { __m256 m; };

inline F set1(float x) { return {_mm256_set1_ps(x)}; }
inline F load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, F a) { _mm256_storeu_ps(p, a.v); }
inline F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F fnma(F a, F b, F c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline F min(F a, F b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F max(F a, F b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F sqrt(F a) { return {_mm256_sqrt_ps(a.v)}; }
inline F ceil(F a) { return {_mm256_ceil_ps(a.v)}; }
inline F floor(F a) { return {_mm256_floor_ps(a.v)}; }
inline M operator<(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline M operator<=(F a, F b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline M operator>(F a, F b) { return b < a; }
inline M operator>=(F a, F b) { return b <= a; }
inline M operator&(M a, M b) { return {_mm256_and_ps(a.m, b.m)}; }
inline M andnot(M a, M b) { return {_mm256_andnot_ps(a.m, b.m)}; }
inline unsigned bits(M a) { return static_cast<unsigned>(_mm256_movemask_ps(a.m)); }
inline bool any(M a) { return bits(a) != 0; }
inline F select(M m, F a, F b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
inline F keep(M m, F a) { return {_mm256_and_ps(m.m, a.v)}; }
inline F make_negative(M m, F a) { return {_mm256_or_ps(a.v, _mm256_and_ps(m.m, _mm256_set1_ps(-0.0f)))}; }
inline bool all_negative(F a) { return _mm256_movemask_ps(a.v) == 0xFF; }
inline F reciprocal(F a) {
    F r{_mm256_rcp_ps(a.v)};
    r = r * fnma(a, r, set1(2.0f));
    return r * fnma(a, r, set1(2.0f));
}
inline F exp2(F x) {
    const F magic = set1(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number in the low bits
    const F shifted = x + magic;
    const F f = x - (shifted - magic);
    F p = fma(set1(kExp2[4]), f, set1(kExp2[3]));
    p = fma(p, f, set1(kExp2[2]));
    p = fma(p, f, set1(kExp2[1]));
    p = fma(p, f, set1(kExp2[0]));
    const __m256i whole = _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23);
    return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p.v), whole))};
}
inline void split(F x, F& exponent, F& mantissa) {
    const __m256i i = _mm256_castps_si256(x.v);
    const __m256i e = _mm256_sub_epi32(_mm256_srli_epi32(i, 23), _mm256_set1_epi32(127));
    const __m256i m = _mm256_or_si256(_mm256_and_si256(i, _mm256_set1_epi32(0x7FFFFF)), _mm256_set1_epi32(0x3F800000));
    exponent = {_mm256_cvtepi32_ps(e)};
    mantissa = {_mm256_castsi256_ps(m)};
}
inline float sum(F a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

#else

constexpr int W = 4;
typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));
typedef uint32_t u4 __attribute__((vector_size(16)));
typedef int64_t l2 __attribute__((vector_size(16)));
struct F { f4 v; };
struct M { i4 m; };

inline F set1(float x) { return {f4{x, x, x, x}}; }
inline F load(const float* p) { F a; std::memcpy(&a.v, p, sizeof(a.v)); return a; }
inline void store(float* p, F a) { std::memcpy(p, &a.v, sizeof(a.v)); }
inline F operator+(F a, F b) { return {a.v + b.v}; }
inline F operator-(F a, F b) { return {a.v - b.v}; }
inline F operator*(F a, F b) { return {a.v * b.v}; }
inline F operator/(F a, F b) { return {a.v / b.v}; }
inline F fma(F a, F b, F c) { return {a.v * b.v + c.v}; }
inline F fnma(F a, F b, F c) { return {c.v - a.v * b.v}; }
inline M operator<(F a, F b) { return {a.v < b.v}; }
inline M operator<=(F a, F b) { return {a.v <= b.v}; }
inline M operator>(F a, F b) { return {a.v > b.v}; }
inline M operator>=(F a, F b) { return {a.v >= b.v}; }
inline M operator&(M a, M b) { return {a.m & b.m}; }
inline M andnot(M a, M b) { return {~a.m & b.m}; }
inline bool any(M a) { const l2 l = reinterpret_cast<l2>(a.m); return (l[0] | l[1]) != 0; }
inline unsigned bits(M a) {
    return (a.m[0] & 1u) | (a.m[1] & 2u) | (a.m[2] & 4u) | (a.m[3] & 8u);
}
inline F keep(M m, F a) { return {reinterpret_cast<f4>(m.m & reinterpret_cast<i4>(a.v))}; }
inline F select(M m, F a, F b) {
    return {reinterpret_cast<f4>((m.m & reinterpret_cast<i4>(a.v)) | (~m.m & reinterpret_cast<i4>(b.v)))};
}
inline F min(F a, F b) { return select(a < b, a, b); }
inline F max(F a, F b) { return select(a > b, a, b); }
inline F sqrt(F a) {
    for (int i = 0; i < W; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
    return a;
}
inline F ceil(F a) {
    for (int i = 0; i < W; ++i) a.v[i] = __builtin_ceilf(a.v[i]);
    return a;
}
inline F floor(F a) {
    for (int i = 0; i < W; ++i) a.v[i] = __builtin_floorf(a.v[i]);
    return a;
}
inline F make_negative(M m, F a) {
    return {reinterpret_cast<f4>(reinterpret_cast<i4>(a.v) | (m.m & i4{INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN}))};
}
inline bool all_negative(F a) {
    const l2 l = reinterpret_cast<l2>(reinterpret_cast<i4>(a.v) >> 31);
    return (l[0] & l[1]) == -1;
}
inline F reciprocal(F a) { return set1(1.0f) / a; }
inline F exp2(F x) {
    const F magic = set1(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number in the low bits
    const F shifted = x + magic;
    const F f = x - (shifted - magic);
    F p = fma(set1(kExp2[4]), f, set1(kExp2[3]));
    p = fma(p, f, set1(kExp2[2]));
    p = fma(p, f, set1(kExp2[1]));
    p = fma(p, f, set1(kExp2[0]));
    const u4 whole = reinterpret_cast<u4>(shifted.v) << 23;
    return {reinterpret_cast<f4>(reinterpret_cast<u4>(p.v) + whole)};
}
inline void split(F x, F& exponent, F& mantissa) {
    const u4 i = reinterpret_cast<u4>(x.v);
    const i4 e = reinterpret_cast<i4>(i >> 23) - 127;
    exponent = {__builtin_convertvector(e, f4)};
    mantissa = {reinterpret_cast<f4>((i & 0x7FFFFFu) | 0x3F800000u)};
}
inline float sum(F a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }

#endif

inline F& operator+=(F& a, F b) { return a = a + b; }
inline F operator-(F a) { return set1(0.0f) - a; }
inline F clamp(F x, F low, F high) { return min(max(x, low), high); }

// log2 of a positive finite number, absolute error about 1e-7.
inline F log2(F x) {
    F exponent, m;
    split(x, exponent, m);
    const M large = m > set1(1.4142135f);
    m = select(large, m * set1(0.5f), m);
    exponent = select(large, exponent + set1(1.0f), exponent);
    const F s = (m - set1(1.0f)) / (m + set1(1.0f));  // log m = 2 atanh(s)
    const F s2 = s * s;
    F p = fma(s2, set1(0.32059888f), set1(0.41219858f));  // 2 / (9 ln 2), 2 / (7 ln 2)
    p = fma(p, s2, set1(0.57707801f));
    p = fma(p, s2, set1(0.96179669f));
    p = fma(p, s2, set1(2.8853900f));
    return fma(p, s, exponent);
}

}  // namespace
