#include "deformer.hpp"

#include <algorithm>
#include <cstring>

namespace splat {

namespace {

uint16_t bfloat16(float value) {  // to the nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// [rows, columns] to [rows, wide], filled up with zeros.
void pad(const float* from, int64_t rows, int columns, int wide, float* to) {
    for (int64_t i = 0; i < rows; ++i) {
        std::memcpy(to + i * wide, from + i * columns, sizeof(float) * columns);
        std::fill(to + i * wide + columns, to + (i + 1) * wide, 0.0f);
    }
}

// [inputs, outputs] to pairs of inputs, [inputs / 2, outputs, 2].
void pair_up(const float* from, int inputs, int outputs, uint16_t* to) {
    for (int k = 0; k < inputs; ++k)
        for (int i = 0; i < outputs; ++i) to[(k / 2 * outputs + i) * 2 + k % 2] = bfloat16(from[k * outputs + i]);
}

template <class T>
void convert(const Buffer<float>& from, Buffer<T>& to) {
    to.resize(from.size());
    std::transform(from.begin(), from.end(), to.begin(), bfloat16);
}

}  // namespace

Deformer::Deformer(const Kernels& kernels, const DeformNetwork& n, bool half)
    : kernels_(kernels), half_(half && kernels.has_bfloat16()), rows_(n.rows), inputs_(n.inputs), padded_(n.inputs + n.inputs % 2) {
    constexpr int kSquare = kHidden * kHidden;
    constant_.resize(n.rows * kHidden), attention_.resize(n.rows * padded_), rest_.resize(n.rows * kOutputs);
    first_.resize(padded_ * kHidden), biases_.resize(n.layers * kHidden);
    weights_.resize(int64_t(n.layers) * kSquare + kHidden * kOutputs);
    std::copy_n(n.constant, n.rows * kHidden, constant_.begin());
    pad(n.attention, n.rows, n.inputs, padded_, attention_.data());
    pad(n.rest, n.rows, n.outputs, kOutputs, rest_.data());
    std::fill(first_.begin(), first_.end(), 0.0f);
    std::copy_n(n.first, n.inputs * kHidden, first_.begin());
    std::copy_n(n.biases, n.layers * kHidden, biases_.begin());
    std::copy_n(n.trunk, int64_t(n.layers) * kSquare, weights_.begin());
    pad(n.last, kHidden, n.outputs, kOutputs, weights_.data() + int64_t(n.layers) * kSquare);
    if (half_) {
        half_weights_.resize(weights_.size());
        for (int layer = 0; layer < n.layers; ++layer)
            pair_up(weights_.data() + layer * kSquare, kHidden, kHidden, half_weights_.data() + layer * kSquare);
        const int64_t at = int64_t(n.layers) * kSquare;
        pair_up(weights_.data() + at, kHidden, kOutputs, half_weights_.data() + at);
        convert(constant_, half_constant_);
        convert(attention_, half_attention_);
        for (Buffer<float>* done : {&constant_, &attention_, &weights_}) Buffer<float>().swap(*done);
        task_.constant = half_constant_.data(), task_.attention = half_attention_.data(), task_.weights = half_weights_.data();
    } else {
        task_.constant = constant_.data(), task_.attention = attention_.data(), task_.weights = weights_.data();
    }
    task_.inputs = padded_, task_.trunk = n.layers, task_.outputs = n.outputs;
    task_.biases = biases_.data(), task_.rest = rest_.data();
    task_.low = n.low, task_.high = n.high;
}

void Deformer::run(const float* condition, float* means, float* quats, float* scales, float* tints, int threads) const {
    // Attention times condition times weight: the condition may as well scale the (small) weight.
    Buffer<float> first(padded_ * kHidden);
    for (int k = 0; k < padded_; ++k)
        for (int i = 0; i < kHidden; ++i) first[k * kHidden + i] = k < inputs_ ? condition[k] * first_[k * kHidden + i] : 0.0f;
    Buffer<uint16_t> half_first(half_ ? first.size() : 0);
    if (half_) pair_up(first.data(), padded_, kHidden, half_first.data());
    DeformTask task = task_;
    task.first = half_ ? static_cast<const void*>(half_first.data()) : first.data();
    task.means = means, task.quats = quats, task.scales = scales, task.tints = tints;
    constexpr int64_t kRows = 480;  // of one task; a multiple of what the kernels take at once
    Pool::shared().run((rows_ + kRows - 1) / kRows, threads, [&](int64_t chunk, int) {
        kernels_.deform(task, half_, chunk * kRows, std::min(rows_, (chunk + 1) * kRows));
    });
}

}  // namespace splat
