// Projection of W Gaussians at a time, and its gradient.

namespace {

struct Lanes {  // W Gaussians, one vector per component
    F mean[3], quat[4], scale[3], opacity;
    F finite_color;  // 0 where all channels are finite, else NaN
};

inline F gather(const float* source, int stride, int64_t count) {
    alignas(64) float lane[W] = {};
    for (int64_t i = 0; i < count; ++i) lane[i] = source[i * stride];
    return load(lane);
}

inline Lanes load_lanes(const Gaussians& g, int64_t begin, int64_t count) {
    Lanes l;
    for (int k = 0; k < 3; ++k) l.mean[k] = gather(g.means + begin * 3 + k, 3, count);
    for (int k = 0; k < 4; ++k) l.quat[k] = gather(g.quats + begin * 4 + k, 4, count);
    for (int k = 0; k < 3; ++k) l.scale[k] = gather(g.scales + begin * 3 + k, 3, count);
    l.opacity = gather(g.opacities + begin, 1, count);
    l.finite_color = set1(0.0f);
    for (int k = 0; k < g.channels; ++k)
        l.finite_color += set1(0.0f) * gather(g.colors + begin * g.channels + k, g.channels, count);
    return l;
}

// Everything of the projection that both directions need.
struct Projection {
    F x, y, z, inv_z;
    F slope_x, slope_y;    // x/z and y/z, held near the frustum
    M free_x, free_y;      // where they are not held
    F rotation[9];         // of the quaternion, row major
    F unit[4], inv_norm;   // normalized quaternion
    F view_rotation[9];    // view * rotation
    F spread[6];           // [2, 3]: J * view * rotation * scale; its square is the covariance
    F j00, j02, j11, j12;
};

inline Projection project_lanes(const Lanes& l, const Camera& c) {
    Projection p;
    const float* v = c.view;
    F camera[3];
    for (int i = 0; i < 3; ++i)
        camera[i] = fma(set1(v[4 * i]), l.mean[0],
                        fma(set1(v[4 * i + 1]), l.mean[1], fma(set1(v[4 * i + 2]), l.mean[2], set1(v[4 * i + 3]))));
    p.x = camera[0], p.y = camera[1], p.z = camera[2];
    p.inv_z = set1(1.0f) / p.z;
    const float margin_x = 0.15f * c.width / c.fx, margin_y = 0.15f * c.height / c.fy;
    const F low_x = set1(-c.cx / c.fx - margin_x), high_x = set1((c.width - c.cx) / c.fx + margin_x);
    const F low_y = set1(-c.cy / c.fy - margin_y), high_y = set1((c.height - c.cy) / c.fy + margin_y);
    const F raw_x = p.x * p.inv_z, raw_y = p.y * p.inv_z;
    p.free_x = (raw_x >= low_x) & (raw_x <= high_x);
    p.free_y = (raw_y >= low_y) & (raw_y <= high_y);
    p.slope_x = clamp(raw_x, low_x, high_x);
    p.slope_y = clamp(raw_y, low_y, high_y);

    F norm2 = l.quat[0] * l.quat[0];
    for (int k = 1; k < 4; ++k) norm2 = fma(l.quat[k], l.quat[k], norm2);
    p.inv_norm = set1(1.0f) / sqrt(max(norm2, set1(1e-24f)));
    for (int k = 0; k < 4; ++k) p.unit[k] = l.quat[k] * p.inv_norm;
    const F two = set1(2.0f), one = set1(1.0f);
    const F w = p.unit[0], x = p.unit[1], y = p.unit[2], z = p.unit[3];
    F* r = p.rotation;
    r[0] = one - two * (y * y + z * z), r[1] = two * (x * y - w * z), r[2] = two * (x * z + w * y);
    r[3] = two * (x * y + w * z), r[4] = one - two * (x * x + z * z), r[5] = two * (y * z - w * x);
    r[6] = two * (x * z - w * y), r[7] = two * (y * z + w * x), r[8] = one - two * (x * x + y * y);
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
            p.view_rotation[3 * i + j] =
                fma(set1(v[4 * i]), r[j], fma(set1(v[4 * i + 1]), r[3 + j], set1(v[4 * i + 2]) * r[6 + j]));

    p.j00 = set1(c.fx) * p.inv_z, p.j02 = -(p.j00 * p.slope_x);
    p.j11 = set1(c.fy) * p.inv_z, p.j12 = -(p.j11 * p.slope_y);
    for (int j = 0; j < 3; ++j) {
        p.spread[j] = fma(p.j00, p.view_rotation[j], p.j02 * p.view_rotation[6 + j]) * l.scale[j];
        p.spread[3 + j] = fma(p.j11, p.view_rotation[3 + j], p.j12 * p.view_rotation[6 + j]) * l.scale[j];
    }
    return p;
}

constexpr float kEps2d = 0.3f, kNear = 0.01f, kFar = 1e10f;
constexpr float kHuge = 1e30f;
constexpr float kLog2Of255 = 7.994353436858858f;
constexpr float kScale = 0.8493218002880191f;     // sqrt(log2(e) / 2)
constexpr float kInvScale2 = 1.3862943611198906f; // 1 / kScale^2 = 2 ln 2

void project(const Gaussians& g, const Camera& c, Record* records, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += W) {
        const int64_t count = end - i < W ? end - i : W;
        const Lanes l = load_lanes(g, i, count);
        const Projection p = project_lanes(l, c);
        const F* s = p.spread;
        const F xx = fma(s[0], s[0], fma(s[1], s[1], s[2] * s[2]));
        const F yy = fma(s[3], s[3], fma(s[4], s[4], s[5] * s[5]));
        const F xy = fma(s[0], s[3], fma(s[1], s[4], s[2] * s[5]));
        // |s0 x s1|^2 is xx yy - xy^2 without its cancellation: needles stay needles.
        const F n0 = s[1] * s[5] - s[2] * s[4], n1 = s[2] * s[3] - s[0] * s[5], n2 = s[0] * s[4] - s[1] * s[3];
        const F eps = set1(kEps2d);
        const F det = fma(n0, n0, fma(n1, n1, fma(n2, n2, fma(eps, xx + yy, eps * eps))));
        const F a = xx + eps, cc = yy + eps;
        const F mean_x = fma(set1(c.fx), p.x * p.inv_z, set1(c.cx));
        const F mean_y = fma(set1(c.fy), p.y * p.inv_z, set1(c.cy));
        const F log2_opacity = log2(l.opacity);
        const F inv_sd_y = set1(1.0f) / sqrt(cc), inv_sd_det = set1(1.0f) / sqrt(det);
        const F scaled = set1(kScale) * inv_sd_y;
        const F l11 = scaled * cc * inv_sd_det, l21 = -(scaled * xy * inv_sd_det), l22 = scaled;

        const F sigma = min(set1(3.33f), sqrt(max(set1(kInvScale2) * (log2_opacity + set1(kLog2Of255)), set1(0.0f))));
        // Any pixel of a 4x4 block is within 1.5 px of its centre on each axis.
        const F step_u = set1(1.5f) * (l11 + max(l21, -l21)), step_w = set1(1.5f) * l22;
        const F reach = sqrt(max(log2_opacity + set1(kLog2Of255), set1(0.0f))) + sqrt(fma(step_u, step_u, step_w * step_w));
        const F reach2 = reach * reach * set1(1.00001f);

        const F slack = set1(0.501f);  // half a pixel to its centre, and room for rounding
        const F radius_x = sigma * sqrt(a), radius_y = sigma * sqrt(cc);
        const F x0 = max(ceil(mean_x - radius_x - slack), set1(0.0f));
        const F y0 = max(ceil(mean_y - radius_y - slack), set1(0.0f));
        const F x1 = min(floor(mean_x + radius_x - set1(0.499f)), set1(c.width - 1.0f));
        const F y1 = min(floor(mean_y + radius_y - set1(0.499f)), set1(c.height - 1.0f));
        const F huge = set1(kHuge);
        const M keep = (p.z > set1(kNear)) & (p.z < set1(kFar)) & (l.opacity >= set1(1.0f / 255.0f)) &
                       (l.opacity < huge) & (det > set1(0.0f)) & (det < huge) & (a < huge) & (cc < huge) &
                       (l.finite_color <= set1(0.0f)) & (x0 <= x1) & (y0 <= y1) & (l22 > set1(0.0f));
        const unsigned kept = bits(keep);

        alignas(64) float out[12][W];
        const F rows[12] = {mean_x, mean_y, l11, l21, l22, log2_opacity, x0, x1, y0, y1, p.z, reach2};
        for (int k = 0; k < 12; ++k) store(out[k], rows[k]);
        for (int64_t j = 0; j < count; ++j) {
            Record r = {};
            if (kept >> j & 1u) {
                r.mean_x = out[0][j], r.mean_y = out[1][j];
                r.l11 = out[2][j], r.l21 = out[3][j], r.l22 = out[4][j], r.log2_opacity = out[5][j];
                r.x0 = static_cast<int16_t>(out[6][j]), r.x1 = static_cast<int16_t>(out[7][j]);
                r.y0 = static_cast<int16_t>(out[8][j]), r.y1 = static_cast<int16_t>(out[9][j]);
                r.depth = out[10][j], r.reach2 = out[11][j];
                const float* color = g.colors + (i + j) * g.channels;
                for (int k = 0; k < 4 && k < g.channels; ++k) r.color[k] = color[k];
            } else {
                r.x1 = -1;
            }
            records[i + j] = r;
        }
    }
}

inline void scatter(F value, float* target, int stride, int64_t count) {
    alignas(64) float lane[W];
    store(lane, value);
    for (int64_t i = 0; i < count; ++i) target[i * stride] = lane[i];
}

void project_backward(const Gaussians& g, const Camera& c, const Record* records, const float* moments,
                      const Gradients& grads, float* grad_view, int64_t begin, int64_t end) {
    F view[12];
    for (F& v : view) v = set1(0.0f);
    const float* cv = c.view;
    for (int64_t i = begin; i < end; i += W) {
        const int64_t count = end - i < W ? end - i : W;
        const Lanes l = load_lanes(g, i, count);
        const Projection p = project_lanes(l, c);
        F m[6];
        for (int k = 0; k < 6; ++k) m[k] = gather(moments + i * 6 + k, 6, count);
        alignas(64) float factor[3][W] = {};
        unsigned drawn_bits = 0;
        for (int64_t j = 0; j < count; ++j) {
            const Record& r = records[i + j];
            factor[0][j] = r.l11, factor[1][j] = r.l21, factor[2][j] = r.l22;
            drawn_bits |= unsigned(r.drawn()) << j;
        }
        alignas(64) float lane_drawn[W];
        for (int j = 0; j < W; ++j) lane_drawn[j] = drawn_bits >> j & 1u ? 1.0f : 0.0f;
        const M drawn = load(lane_drawn) > set1(0.5f);
        const F l11 = load(factor[0]), l21 = load(factor[1]), l22 = load(factor[2]);

        // With y = (u, w): dL/dmean = L' sum(v y), dL/dcov = L' sum(v y y') L / 2. No inverse is taken.
        const F k2 = set1(kInvScale2);
        const F gm_x = k2 * l11 * m[1];
        const F gm_y = k2 * fma(l21, m[1], l22 * m[2]);
        const F half = set1(0.5f * kInvScale2 * kInvScale2);
        const F t0 = fma(l11, m[3], set1(0.0f)), t1 = l11 * m[4];            // row 1 of L' M
        const F t2 = fma(l21, m[3], l22 * m[4]), t3 = fma(l21, m[4], l22 * m[5]);  // row 2
        const F g11 = half * t0 * l11, g12 = half * fma(t0, l21, t1 * l22), g22 = half * fma(t2, l21, t3 * l22);

        const F two = set1(2.0f);
        F d_spread[6];
        for (int j = 0; j < 3; ++j) {
            d_spread[j] = two * fma(g11, p.spread[j], g12 * p.spread[3 + j]);
            d_spread[3 + j] = two * fma(g12, p.spread[j], g22 * p.spread[3 + j]);
        }
        // spread = J * VR * diag(scale), VR = view rotation times quaternion rotation.
        F d_vr[9], d_scale[3];
        F dj00 = set1(0.0f), dj02 = dj00, dj11 = dj00, dj12 = dj00;
        for (int j = 0; j < 3; ++j) {
            const F a = d_spread[j] * l.scale[j], b = d_spread[3 + j] * l.scale[j];
            d_vr[j] = p.j00 * a;
            d_vr[3 + j] = p.j11 * b;
            d_vr[6 + j] = fma(p.j02, a, p.j12 * b);
            dj00 = fma(a, p.view_rotation[j], dj00), dj02 = fma(a, p.view_rotation[6 + j], dj02);
            dj11 = fma(b, p.view_rotation[3 + j], dj11), dj12 = fma(b, p.view_rotation[6 + j], dj12);
            const F row0 = fma(p.j00, p.view_rotation[j], p.j02 * p.view_rotation[6 + j]);
            const F row1 = fma(p.j11, p.view_rotation[3 + j], p.j12 * p.view_rotation[6 + j]);
            d_scale[j] = fma(d_spread[j], row0, d_spread[3 + j] * row1);
        }
        F d_r[9];  // V' d_vr
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b)
                d_r[3 * a + b] =
                    fma(set1(cv[a]), d_vr[b], fma(set1(cv[4 + a]), d_vr[3 + b], set1(cv[8 + a]) * d_vr[6 + b]));

        // Camera-space mean: through the projected mean, and through J.
        const F d_slope_x = keep(p.free_x, -(dj02 * p.j00)), d_slope_y = keep(p.free_y, -(dj12 * p.j11));
        F d_mc[3];
        d_mc[0] = fma(gm_x, p.j00, d_slope_x * p.inv_z);
        d_mc[1] = fma(gm_y, p.j11, d_slope_y * p.inv_z);
        F dz = fma(gm_x, p.j00 * p.x, gm_y * p.j11 * p.y);
        dz = fma(d_slope_x, p.x * p.inv_z, fma(d_slope_y, p.y * p.inv_z, dz));
        dz = fma(dj00, p.j00, fma(dj02, p.j02, fma(dj11, p.j11, fma(dj12, p.j12, dz))));
        d_mc[2] = -(dz * p.inv_z);

        F d_mean[3];
        for (int k = 0; k < 3; ++k)
            d_mean[k] = fma(set1(cv[k]), d_mc[0], fma(set1(cv[4 + k]), d_mc[1], set1(cv[8 + k]) * d_mc[2]));

        const F w = p.unit[0], x = p.unit[1], y = p.unit[2], z = p.unit[3];
        F d_unit[4];
        d_unit[0] = two * (x * (d_r[7] - d_r[5]) + y * (d_r[2] - d_r[6]) + z * (d_r[3] - d_r[1]));
        d_unit[1] = two * (y * (d_r[1] + d_r[3]) + z * (d_r[2] + d_r[6]) + w * (d_r[7] - d_r[5]) -
                           two * x * (d_r[4] + d_r[8]));
        d_unit[2] = two * (x * (d_r[1] + d_r[3]) + z * (d_r[5] + d_r[7]) + w * (d_r[2] - d_r[6]) -
                           two * y * (d_r[0] + d_r[8]));
        d_unit[3] = two * (x * (d_r[2] + d_r[6]) + y * (d_r[5] + d_r[7]) + w * (d_r[3] - d_r[1]) -
                           two * z * (d_r[0] + d_r[4]));
        F along = w * d_unit[0] + x * d_unit[1] + y * d_unit[2] + z * d_unit[3];
        for (int k = 0; k < 4; ++k)
            scatter(keep(drawn, p.inv_norm * fnma(along, p.unit[k], d_unit[k])), grads.quats + i * 4 + k, 4, count);
        for (int k = 0; k < 3; ++k) scatter(keep(drawn, d_mean[k]), grads.means + i * 3 + k, 3, count);
        for (int k = 0; k < 3; ++k) scatter(keep(drawn, d_scale[k]), grads.scales + i * 3 + k, 3, count);
        scatter(keep(drawn, m[0] / l.opacity), grads.opacities + i, 1, count);
        scatter(keep(drawn, gm_x), grads.screen + i * 2, 2, count);
        scatter(keep(drawn, gm_y), grads.screen + i * 2 + 1, 2, count);

        for (int a = 0; a < 3; ++a) {
            for (int b = 0; b < 3; ++b) {
                F d = d_mc[a] * l.mean[b];
                for (int j = 0; j < 3; ++j) d = fma(d_vr[3 * a + j], p.rotation[3 * b + j], d);
                view[4 * a + b] += keep(drawn, d);
            }
            view[4 * a + 3] += keep(drawn, d_mc[a]);
        }
    }
    for (int k = 0; k < 12; ++k) grad_view[k] += sum(view[k]);
}

}  // namespace
