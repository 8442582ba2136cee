// The deformation network of one half of the face, weights packed once for the kernel that runs it.
#pragma once

#include <cstdint>

#include "kernels.hpp"
#include "scene.hpp"

namespace splat {

struct DeformNetwork {           // float32, rows of inputs
    const float* constant;       // [M, 64] the first layer's part that never changes, with its bias
    const float* attention;      // [M, C]
    const float* first;          // [C, 64] the first layer's part from the conditions
    const float* trunk;          // [L, 64, 64]
    const float* biases;         // [L, 64]
    const float* last;           // [64, outputs]
    const float* rest;           // [M, outputs] attributes at rest plus the last layer's bias
    int64_t rows;                // M
    int inputs, layers, outputs;  // C, L, 10 or 13
    float low, high;             // limits of the logarithm of a scale
};

class Deformer {
  public:
    // `half`: multiply in bfloat16 where the processor does it natively.
    Deformer(const Kernels& kernels, const DeformNetwork& network, bool half);

    // Attributes [M, ...] under `condition` [C]. Safe to call from several threads at once.
    void run(const float* condition, float* means, float* quats, float* scales, float* tints, int threads) const;

  private:
    const Kernels& kernels_;
    bool half_;
    int64_t rows_;
    int inputs_, padded_;  // conditions, and their number made even
    DeformTask task_{};
    Buffer<float> first_, biases_, rest_;
    Buffer<float> constant_, attention_, weights_;              // float32
    Buffer<uint16_t> half_constant_, half_attention_, half_weights_;  // or bfloat16
};

}  // namespace splat
