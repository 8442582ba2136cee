// The Python side: arrays in, arrays out, no torch.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

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
    PyScene(int threads, const std::string& isa) : scene_(kernels_named(isa), checked_threads(threads)) {}

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
        .def(nb::init<int, const std::string&>(), "threads"_a, "isa"_a = "")
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
    m.def("rgb_to_yuv420", &rgb_to_yuv420, "rgb"_a, "matrix"_a, "y"_a, "u"_a, "v"_a, "threads"_a, "isa"_a = "");
}
