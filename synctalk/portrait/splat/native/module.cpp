// The Python side: arrays in, arrays out, no torch.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "deformer.hpp"
#include "kernels.hpp"
#include "pool.hpp"
#include "scene.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T, class... Shape>
using Array = nb::ndarray<T, Shape..., nb::c_contig, nb::device::cpu>;
template <int... N>
using In = Array<const float, nb::shape<N...>>;
template <int... N>
using Out = Array<float, nb::shape<N...>>;

std::vector<const splat::Kernels*> usable_kernels() {  // best first
    std::vector<const splat::Kernels*> found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    if (v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        found.push_back(&splat::kernels_v4);
    if (v3) found.push_back(&splat::kernels_v3);
#endif
    found.push_back(&splat::kernels_generic);
    return found;
}

const splat::Kernels& kernels_named(const std::string& name) {
    for (const splat::Kernels* kernels : usable_kernels())
        if (name.empty() || name == kernels->name) return *kernels;
    throw std::invalid_argument("instruction set '" + name + "' is not available on this processor");
}

int checked_threads(int threads) {
    if (threads < 1 || threads > 256) throw std::invalid_argument("threads must be from 1 to 256");
    return threads;
}

void require(bool fine, const char* message) {
    if (!fine) throw std::invalid_argument(message);
}

splat::Gaussians gaussians(const In<-1, 3>& means, const In<-1, 4>& quats, const In<-1, 3>& scales,
                           const In<-1>& opacities, const In<-1, -1>& colors) {
    const size_t n = means.shape(0);
    require(quats.shape(0) == n, "quats must have as many rows as means");
    require(scales.shape(0) == n, "scales must have as many rows as means");
    require(opacities.shape(0) == n, "opacities must have as many entries as means");
    require(colors.shape(0) == n && colors.shape(1) >= 1, "colors must have as many rows as means");
    return {means.data(), quats.data(), scales.data(), opacities.data(), colors.data(), int(colors.shape(1))};
}

splat::Camera camera(const In<4, 4>& view, const In<3, 3>& K, size_t width, size_t height) {
    require(width >= 1 && width <= 16384 && height >= 1 && height <= 16384, "the image must have 1 to 16384 px a side");
    splat::Camera c;
    for (int i = 0; i < 12; ++i) c.view[i] = view.data()[i];
    c.fx = K(0, 0), c.fy = K(1, 1), c.cx = K(0, 2), c.cy = K(1, 2);
    c.width = int(width), c.height = int(height);
    return c;
}

const float* background_of(const std::optional<In<-1>>& background, int channels) {
    if (!background) return nullptr;
    require(int(background->shape(0)) == channels, "background must have as many entries as colors have channels");
    return background->data();
}

class PyScene {
  public:
    PyScene(int threads, const std::string& isa, float stop)
        : scene_(kernels_named(isa), checked_threads(threads), stop) {
        require(stop >= 1e-4f && stop < 1, "stop must be from 1e-4 to 1");
    }

    int64_t render(In<-1, 3> means, In<-1, 4> quats, In<-1, 3> scales, In<-1> opacities, In<-1, -1> colors,
                   In<4, 4> view, In<3, 3> K, std::optional<In<-1>> background, Out<-1, -1, -1> image,
                   Out<-1, -1> alpha, bool changed_only) {
        const splat::Gaussians g = gaussians(means, quats, scales, opacities, colors);
        const splat::Camera c = camera(view, K, image.shape(1), image.shape(0));
        require(int(image.shape(2)) == g.channels, "image must have as many channels as colors");
        require(alpha.shape(0) == image.shape(0) && alpha.shape(1) == image.shape(1), "alpha must be as large as image");
        const float* bg = background_of(background, g.channels);
        const bool same_target = image.data() == image_ && g.channels == channels_;
        image_ = image.data(), channels_ = g.channels, count_ = int64_t(means.shape(0));
        size_[0] = c.width, size_[1] = c.height;
        nb::gil_scoped_release release;
        return scene_.render(g, count_, c, bg, image.data(), alpha.data(), changed_only && same_target);
    }

    void backward(In<-1, 3> means, In<-1, 4> quats, In<-1, 3> scales, In<-1> opacities, In<-1, -1> colors,
                  In<4, 4> view, In<3, 3> K, std::optional<In<-1>> background, In<-1, -1, -1> image,
                  In<-1, -1> alpha, In<-1, -1, -1> grad_image, std::optional<In<-1, -1>> grad_alpha,
                  Out<-1, 3> grad_means, Out<-1, 4> grad_quats, Out<-1, 3> grad_scales, Out<-1> grad_opacities,
                  Out<-1, -1> grad_colors, Out<-1, 2> grad_screen, Out<12> grad_view) {
        const splat::Gaussians g = gaussians(means, quats, scales, opacities, colors);
        const splat::Camera c = camera(view, K, image.shape(1), image.shape(0));
        const size_t n = means.shape(0);
        require(int64_t(n) == count_ && g.channels == channels_ && c.width == size_[0] && c.height == size_[1],
                "backward must follow a render of the same scene");
        require(int(image.shape(2)) == g.channels, "image must have as many channels as colors");
        for (int k = 0; k < 3; ++k) require(grad_image.shape(k) == image.shape(k), "grad_image must be as large as image");
        require(alpha.shape(0) == image.shape(0) && alpha.shape(1) == image.shape(1), "alpha must be as large as image");
        if (grad_alpha)
            require(grad_alpha->shape(0) == image.shape(0) && grad_alpha->shape(1) == image.shape(1),
                    "grad_alpha must be as large as image");
        require(grad_means.shape(0) == n && grad_quats.shape(0) == n && grad_scales.shape(0) == n &&
                    grad_opacities.shape(0) == n && grad_screen.shape(0) == n && grad_colors.shape(0) == n &&
                    int(grad_colors.shape(1)) == g.channels,
                "gradients must be as large as what they are of");
        const float* bg = background_of(background, g.channels);
        nb::gil_scoped_release release;
        scene_.backward(g, count_, c, bg, image.data(), alpha.data(), grad_image.data(),
                        grad_alpha ? grad_alpha->data() : nullptr,
                        {grad_means.data(), grad_quats.data(), grad_scales.data(), grad_opacities.data(),
                         grad_screen.data()},
                        grad_colors.data(), grad_view.data());
    }

    int64_t bytes() const { return scene_.bytes(); }
    int64_t drawn() const { return scene_.drawn(); }
    std::vector<double> times_ms() const { return {scene_.times_ms(), scene_.times_ms() + 6}; }

  private:
    splat::Scene scene_;
    const float* image_ = nullptr;
    int channels_ = 0;
    int64_t count_ = -1;
    int size_[2] = {0, 0};
};

constexpr int kBandRows = 64;

double dssim(In<-1, -1, -1> image, In<-1, -1, -1> target, std::optional<Out<-1, -1, -1>> gradient, int threads,
             const std::string& isa) {
    const splat::Kernels& kernels = kernels_named(isa);
    checked_threads(threads);
    const int height = int(image.shape(0)), width = int(image.shape(1)), channels = int(image.shape(2));
    for (int k = 0; k < 3; ++k) {
        require(image.shape(k) >= 1 && image.shape(k) == target.shape(k), "image and target must have the same shape");
        if (gradient) require(gradient->shape(k) == image.shape(k), "gradient must be as large as image");
    }
    nb::gil_scoped_release release;
    const int64_t n = int64_t(width) * channels;
    const int64_t scratch_size = 4 * (n + 10 * channels + 16) + 12 * 4 * (n + 16);
    splat::Buffer<float> maps(3 * n * height), scratch(scratch_size * threads);
    std::vector<double> rows(height);
    const int64_t bands = (height + kBandRows - 1) / kBandRows;
    splat::Pool& pool = splat::Pool::shared();
    pool.run(bands, threads, [&](int64_t band, int thread) {
        kernels.ssim_maps(image.data(), target.data(), width, height, channels, int(band) * kBandRows,
                          std::min(height, int(band + 1) * kBandRows), scratch.data() + scratch_size * thread,
                          maps.data(), rows.data());
    });
    double total = 0;
    for (double row : rows) total += row;
    const double pixels = double(n) * height;
    if (gradient)
        pool.run(bands, threads, [&](int64_t band, int thread) {
            kernels.ssim_gradient(image.data(), target.data(), width, height, channels, int(band) * kBandRows,
                                  std::min(height, int(band + 1) * kBandRows), scratch.data() + scratch_size * thread,
                                  maps.data(), float(-0.5 / pixels), gradient->data());
        });
    return 0.5 - 0.5 * total / pixels;
}

void rgb_to_yuv420(In<-1, -1, 3> rgb, In<3, 4> matrix, Array<uint8_t, nb::shape<-1, -1>> y,
                   Array<uint8_t, nb::shape<-1, -1>> u, Array<uint8_t, nb::shape<-1, -1>> v, int threads,
                   const std::string& isa) {
    const splat::Kernels& kernels = kernels_named(isa);
    checked_threads(threads);
    const int height = int(rgb.shape(0)), width = int(rgb.shape(1));
    require(height % 2 == 0 && width % 2 == 0, "rgb must have an even height and width");
    require(int(y.shape(0)) == height && int(y.shape(1)) == width, "y must be as large as rgb");
    require(int(u.shape(0)) == height / 2 && int(u.shape(1)) == width / 2, "u must be half as large as rgb");
    require(int(v.shape(0)) == height / 2 && int(v.shape(1)) == width / 2, "v must be half as large as rgb");
    nb::gil_scoped_release release;
    constexpr int kPairs = 16;
    const int pairs = height / 2;
    splat::Pool::shared().run((pairs + kPairs - 1) / kPairs, threads, [&](int64_t task, int) {
        kernels.yuv_rows(rgb.data(), width, height, int(task) * kPairs, std::min(pairs, int(task + 1) * kPairs),
                         matrix.data(), y.data(), u.data(), v.data());
    });
}

template <class T, int... N>
using Rows = nb::ndarray<T, nb::shape<N...>, nb::device::cpu>;  // of any stride between rows

template <class A>
int64_t row_stride(const A& array) {
    int64_t inner = 1;
    for (size_t k = array.ndim() - 1; k > 0; --k) {
        require(array.stride(k) == inner, "rows must be contiguous");
        inner *= int64_t(array.shape(k));
    }
    return array.stride(0);
}

std::vector<int> face_maps(In<-1, -1> alpha, Rows<const uint8_t, -1, -1> face, Rows<const uint8_t, -1, -1> head, int widen,
                           int blur, Array<uint8_t, nb::shape<-1, -1>> keep, Array<uint8_t, nb::shape<-1, -1>> region,
                           Array<uint8_t, nb::shape<-1, -1>> face_mask, Array<uint8_t, nb::shape<-1, -1>> hair_mask,
                           const std::string& isa) {
    const splat::Kernels& kernels = kernels_named(isa);
    const size_t height = alpha.shape(0), width = alpha.shape(1);
    const auto fits = [&](const auto& map) { return map.shape(0) == height && map.shape(1) == width; };
    require(width >= 1 && width <= 16384 && height >= 1 && height <= 16384, "the image must have 1 to 16384 px a side");
    require(fits(face) && fits(head) && fits(keep) && fits(region) && fits(face_mask) && fits(hair_mask),
            "maps must be as large as alpha");
    require(widen >= 0 && widen <= 1024 && blur >= 0 && blur <= 120, "widen must be 0 to 1024, blur 0 to 120");
    static thread_local splat::Buffer<uint8_t> scratch;
    splat::FaceMaps maps{};
    maps.alpha = alpha.data(), maps.face = face.data(), maps.head = head.data();
    maps.face_stride = row_stride(face), maps.head_stride = row_stride(head);
    maps.width = int(width), maps.height = int(height);
    maps.widen = widen, maps.blur = blur;
    maps.keep = keep.data(), maps.region = region.data();
    maps.face_mask = face_mask.data(), maps.hair_mask = hair_mask.data();
    {
        nb::gil_scoped_release release;
        const size_t bytes = size_t(splat::face_scratch_bytes(maps.width, maps.height, widen, blur));
        if (scratch.size() < bytes) scratch.resize(bytes);
        maps.scratch = scratch.data();
        kernels.face_maps(maps);
    }
    return {maps.box, maps.box + 4};
}

void mix_planes(Rows<uint8_t, -1, -1> y, Rows<uint8_t, -1, -1> u, Rows<uint8_t, -1, -1> v, int x0, int y0,
                Rows<const float, -1, -1, 3> image, Rows<const float, -1, -1> alpha, Rows<const uint8_t, -1, -1> keep,
                In<3, 4> matrix, const std::string& isa) {
    const splat::Kernels& kernels = kernels_named(isa);
    const size_t height = alpha.shape(0), width = alpha.shape(1);
    require(image.shape(0) == height && image.shape(1) == width && keep.shape(0) == height && keep.shape(1) == width,
            "image, alpha and keep must be of one size");
    require(x0 >= 0 && y0 >= 0 && x0 + width <= y.shape(1) && y0 + height <= y.shape(0), "the maps must lie inside y");
    require(y.shape(0) % 2 == 0 && y.shape(1) % 2 == 0, "y must have an even height and width");
    for (const auto* half : {&u, &v})
        require(2 * half->shape(0) == y.shape(0) && 2 * half->shape(1) == y.shape(1), "u and v must be half as large as y");
    const int64_t stride = row_stride(alpha);
    require(row_stride(image) == 3 * stride && row_stride(keep) == stride, "image, alpha and keep must have one stride");
    const splat::PlaneMix mix{y.data(),      u.data(),     v.data(),    row_stride(y), row_stride(u),
                              row_stride(v), x0,           y0,          int(width),    int(height),
                              image.data(),  alpha.data(), keep.data(), stride,        matrix.data()};
    nb::gil_scoped_release release;
    kernels.mix_planes(mix);
}

class PyDeformer {
  public:
    PyDeformer(In<-1, 64> constant, In<-1, -1> attention, In<-1, 64> first, In<-1, 64, 64> trunk, In<-1, 64> biases,
               In<64, -1> last, In<-1, -1> rest, float low, float high, bool half, const std::string& isa)
        : rows_(checked_rows(constant, attention, first, trunk, biases, last, rest)),
          inputs_(int(first.shape(0))),
          outputs_(int(rest.shape(1))),
          deformer_(kernels_named(isa),
                    {constant.data(), attention.data(), first.data(), trunk.data(), biases.data(), last.data(), rest.data(),
                     rows_, inputs_, int(trunk.shape(0)), outputs_, low, high},
                    half) {}

    void run(In<-1> condition, Out<-1, 3> means, Out<-1, 4> quats, Out<-1, 3> scales, std::optional<Out<-1, 3>> tints,
             int threads) {
        require(int(condition.shape(0)) == inputs_, "condition must have as many entries as first has rows");
        checked_threads(threads);
        const auto fits = [&](const auto& out) { return int64_t(out.shape(0)) == rows_; };
        require(fits(means) && fits(quats) && fits(scales) && (!tints || fits(*tints)), "outputs must have as many rows as rest");
        require(bool(tints) == (outputs_ == 13), "tints go with 13 outputs");
        nb::gil_scoped_release release;
        deformer_.run(condition.data(), means.data(), quats.data(), scales.data(), tints ? tints->data() : nullptr, threads);
    }

  private:
    static int64_t checked_rows(const In<-1, 64>& constant, const In<-1, -1>& attention, const In<-1, 64>& first,
                                const In<-1, 64, 64>& trunk, const In<-1, 64>& biases, const In<64, -1>& last,
                                const In<-1, -1>& rest) {
        const size_t rows = rest.shape(0), outputs = rest.shape(1);
        require(constant.shape(0) == rows && attention.shape(0) == rows, "every input must have as many rows as rest");
        require(attention.shape(1) == first.shape(0), "attention must have as many columns as first has rows");
        require(trunk.shape(0) == biases.shape(0), "biases must fit trunk");
        require((outputs == 10 || outputs == 13) && last.shape(1) == outputs, "last must have 10 or 13 columns, like rest");
        return int64_t(rows);
    }

    int64_t rows_;
    int inputs_, outputs_;
    splat::Deformer deformer_;
};

void seen_colors(In<-1, 3> means, In<-1, 3> base, std::optional<In<-1, 3, 3>> slopes, std::optional<In<-1, 3>> tints,
                 In<3> camera, Out<-1, 3> colors, int threads, const std::string& isa) {
    const splat::Kernels& kernels = kernels_named(isa);
    checked_threads(threads);
    const size_t n = means.shape(0);
    require(base.shape(0) == n && colors.shape(0) == n && (!slopes || slopes->shape(0) == n) && (!tints || tints->shape(0) == n),
            "every input must have as many rows as means");
    const splat::ColorTask task{means.data(),
                                base.data(),
                                slopes ? slopes->data() : nullptr,
                                tints ? tints->data() : nullptr,
                                {camera(0), camera(1), camera(2)},
                                colors.data()};
    nb::gil_scoped_release release;
    constexpr int64_t kRows = 4096;
    splat::Pool::shared().run((int64_t(n) + kRows - 1) / kRows, threads, [&](int64_t chunk, int) {
        kernels.colors(task, chunk * kRows, std::min(int64_t(n), (chunk + 1) * kRows));
    });
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // an autograd graph alive at exit is no leak worth a user's worry
    m.doc() = "Gaussian splatting on the CPU: see synctalk.portrait.splat.native.";
    m.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (const splat::Kernels* kernels : usable_kernels()) names.emplace_back(kernels->name);
        return names;
    });
    nb::class_<PyScene>(m, "Scene")
        .def(nb::init<int, const std::string&, float>(), "threads"_a, "isa"_a = "", "stop"_a = 1e-4f)
        .def("render", &PyScene::render, "means"_a, "quats"_a, "scales"_a, "opacities"_a, "colors"_a, "viewmat"_a,
             "K"_a, "background"_a.none(), "image"_a, "alpha"_a, "changed_only"_a)
        .def("backward", &PyScene::backward, "means"_a, "quats"_a, "scales"_a, "opacities"_a, "colors"_a,
             "viewmat"_a, "K"_a, "background"_a.none(), "image"_a, "alpha"_a, "grad_image"_a, "grad_alpha"_a.none(),
             "grad_means"_a, "grad_quats"_a, "grad_scales"_a, "grad_opacities"_a, "grad_colors"_a, "grad_screen"_a,
             "grad_view"_a)
        .def_prop_ro("bytes", &PyScene::bytes)
        .def_prop_ro("drawn", &PyScene::drawn)
        .def_prop_ro("times_ms", &PyScene::times_ms);
    m.def("dssim", &dssim, "image"_a, "target"_a, "gradient"_a.none(), "threads"_a, "isa"_a = "");
    m.def("has_bfloat16", [] { return kernels_named("").has_bfloat16(); });
    nb::class_<PyDeformer>(m, "Deformer")
        .def(nb::init<In<-1, 64>, In<-1, -1>, In<-1, 64>, In<-1, 64, 64>, In<-1, 64>, In<64, -1>, In<-1, -1>, float, float,
                      bool, const std::string&>(),
             "constant"_a, "attention"_a, "first"_a, "trunk"_a, "biases"_a, "last"_a, "rest"_a, "low"_a, "high"_a, "half"_a,
             "isa"_a = "")
        .def("run", &PyDeformer::run, "condition"_a, "means"_a, "quats"_a, "scales"_a, "tints"_a.none(), "threads"_a);
    m.def("seen_colors", &seen_colors, "means"_a, "base"_a, "slopes"_a.none(), "tints"_a.none(), "camera"_a, "colors"_a,
          "threads"_a, "isa"_a = "");
    m.def("face_maps", &face_maps, "alpha"_a, "face"_a, "head"_a, "widen"_a, "blur"_a, "keep"_a, "region"_a,
          "face_mask"_a, "hair_mask"_a, "isa"_a = "");
    m.def("mix_planes", &mix_planes, "y"_a, "u"_a, "v"_a, "x0"_a, "y0"_a, "image"_a, "alpha"_a, "keep"_a, "matrix"_a,
          "isa"_a = "");
    m.def("rgb_to_yuv420", &rgb_to_yuv420, "rgb"_a, "matrix"_a, "y"_a, "u"_a, "v"_a, "threads"_a, "isa"_a = "");
}
