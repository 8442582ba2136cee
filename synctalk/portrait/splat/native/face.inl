// Laying a rendered face over its source frame: which pixels may change and by how much (`face_maps`), and the
// change itself on 4:2:0 planes (`mix_planes`). The plain twin is portrait_sync.py. Masks are 0 or 255.

namespace {

// Rows of bytes. Without `__restrict` a byte written could be anything, and nothing would run in vectors.
using Bytes = const uint8_t* __restrict;

inline void larger(Bytes a, Bytes b, uint8_t* __restrict out, int count) {
    for (int x = 0; x < count; ++x) out[x] = a[x] > b[x] ? a[x] : b[x];
}

// A mask with room around it that is always 0, so that windows may reach over its edge.
struct Plane {
    uint8_t* at;  // pixel (0, 0)
    int64_t stride;
    uint8_t* row(int y) const { return at + y * stride; }
};

struct Planes {  // masks of one size in the caller's scratch
    uint8_t* next;
    int64_t stride;
    int columns, rows, margin;

    Plane make() {
        const int64_t bytes = stride * (rows + 2 * margin);
        std::memset(next, 0, bytes);
        const Plane plane{next + margin * stride + margin, stride};
        next += bytes;
        return plane;
    }
};

// Largest value within `reach` to each side; windows double until they are wide enough. `spare` is overwritten.
inline void grow_across(const Planes& p, Plane in, Plane out, Plane spare, int reach) {
    const int window = 2 * reach + 1, first = -reach, width = p.columns + 2 * reach;
    for (int y = 0; y < p.rows; ++y) {
        const uint8_t* from = in.row(y) + first;
        uint8_t *a = spare.row(y) + first, *b = spare.row(y + 1) + first;  // the row below is free until its turn
        int reached = 1;
        for (; 2 * reached <= window; reached *= 2) {
            larger(from, from + reached, a, width - 2 * reached + 1);
            from = a;
            uint8_t* const other = a;
            a = b, b = other;
        }
        larger(from, from + window - reached, out.row(y), p.columns);
    }
}

inline void grow_down(const Planes& p, Plane in, Plane out, Plane spare, Plane other, int reach) {
    const int window = 2 * reach + 1;
    Plane from = in, to = spare;
    int reached = 1;
    for (; 2 * reached <= window; reached *= 2) {
        for (int y = -reach; y <= p.rows + reach - 2 * reached; ++y) {
            larger(from.row(y), from.row(y + reached), to.row(y), p.columns);
        }
        from = to;
        to = from.at == spare.at ? other : spare;
    }
    for (int y = 0; y < p.rows; ++y)
        larger(from.row(y - reach), from.row(y + reach + 1 - reached), out.row(y), p.columns);
}

struct Spare {
    Plane a, b, c;
};

// Grown by `pixels` along the axes, to an octagon. `out` may be `in`.
inline void widen(const Planes& p, Plane in, Plane out, const Spare& spare, int pixels) {
    const int square = pixels / 2, rest = pixels - square;
    grow_across(p, in, spare.c, spare.a, square);
    grow_down(p, spare.c, out, spare.a, spare.b, square);
    grow_across(p, out, spare.c, spare.a, rest);
    grow_down(p, out, out, spare.a, spare.b, rest);
    for (int y = 0; y < p.rows; ++y) {
        Bytes across = spare.c.row(y);
        uint8_t* __restrict row = out.row(y);
        for (int x = 0; x < p.columns; ++x) row[x] |= across[x];
    }
}

inline int mirrored(int i, int count) {
    if (count == 1) return 0;
    while (i < 0 || i >= count) i = i < 0 ? -i : 2 * count - 2 - i;
    return i;
}

inline void add_bits(Bytes mask, uint8_t* __restrict counts, int count) {
    for (int x = 0; x < count; ++x) counts[x] += mask[x] & 1;
}

inline void add(Bytes come, Bytes gone, uint16_t* __restrict sums, int count) {
    for (int x = 0; x < count; ++x) sums[x] += come[x] - gone[x];
}

inline void scaled(const uint16_t* __restrict sums, float scale, uint8_t* __restrict out, int count) {
    for (int x = 0; x < count; ++x) out[x] = uint8_t(int(sums[x] * scale + 0.5f));
}

// Mean over a square of 2 reach + 1 pixels, edges mirrored. `sums` holds a number per column.
inline void blur(const Planes& p, Plane in, Plane out, Plane spare, uint16_t* sums, int reach) {
    const int window = 2 * reach + 1;
    for (int y = 0; y < p.rows; ++y) {
        uint8_t *row = in.row(y), *counts = spare.row(y);
        for (int k = 1; k <= reach; ++k) {
            row[-k] = row[mirrored(-k, p.columns)];
            row[p.columns - 1 + k] = row[mirrored(p.columns - 1 + k, p.columns)];
        }
        std::memset(counts, 0, p.columns);
        for (int k = -reach; k <= reach; ++k) add_bits(row + k, counts, p.columns);
        for (int k = 1; k <= reach; ++k) row[-k] = row[p.columns - 1 + k] = 0;
    }
    for (int x = 0; x < p.columns; ++x) sums[x] = 0;
    for (int k = -reach; k <= reach; ++k) {
        const uint8_t* counts = spare.row(mirrored(k, p.rows));
        for (int x = 0; x < p.columns; ++x) sums[x] += counts[x];
    }
    const float scale = 255.0f / (window * window);
    for (int y = 0; y < p.rows; ++y) {
        scaled(sums, scale, out.row(y), p.columns);
        add(spare.row(mirrored(y + reach + 1, p.rows)), spare.row(mirrored(y - reach, p.rows)), sums, p.columns);
    }
}

inline bool any(Bytes row, int count) {
    uint8_t found = 0;
    for (int x = 0; x < count; ++x) found |= row[x];
    return found;
}

// x0, y0, x1, y1 of what is set, all 0 where nothing is.
inline void bounds(Plane mask, int columns, int rows, int box[4]) {
    box[0] = columns, box[1] = rows, box[2] = box[3] = 0;
    for (int y = 0; y < rows; ++y) {
        const uint8_t* row = mask.row(y);
        if (!any(row, columns)) continue;
        int left = 0, right = columns;
        while (!row[left]) ++left;
        while (!row[right - 1]) --right;
        box[0] = left < box[0] ? left : box[0], box[2] = right > box[2] ? right : box[2];
        box[1] = y < box[1] ? y : box[1], box[3] = y + 1;
    }
    if (!box[2]) box[0] = box[1] = 0;
}

inline void masks_row(Bytes face_in, Bytes head_in, const float* __restrict alpha, uint8_t* __restrict face,
                      uint8_t* __restrict hair, uint8_t* __restrict grown, int count) {
    for (int x = 0; x < count; ++x) {
        const uint8_t in_face = face_in[x] > 127 ? 255 : 0, in_head = head_in[x] > 127 ? 255 : 0;
        const uint8_t in_hair = in_head & ~in_face, drawn = alpha[x] > 0.5f ? 255 : 0;
        face[x] = in_face, hair[x] = in_hair;
        grown[x] = in_face | (drawn & ~in_hair);
    }
}

inline void masks_of(const FaceMaps& f, const Planes& p, int x0, int y0, Plane face, Plane hair, Plane grown) {
    for (int y = 0; y < p.rows; ++y)
        masks_row(f.face + (y0 + y) * f.face_stride + x0, f.head + (y0 + y) * f.head_stride + x0,
                  f.alpha + int64_t(y0 + y) * f.width + x0, face.row(y), hair.row(y), grown.row(y), p.columns);
}

inline void keep_row(Bytes region, Bytes soft, uint8_t* __restrict keep, int count) {
    for (int x = 0; x < count; ++x) keep[x] = region[x] & ~soft[x];
}

void face_maps(FaceMaps& f) {
    const int margin = face_margin(f.widen, f.blur);
    for (int k = 0; k < 4; ++k) f.box[k] = 0;
    std::memset(f.region, 0, int64_t(f.width) * f.height);
    int box[4];
    {
        Planes whole{f.scratch, f.width + 2 * margin + 32, f.width, f.height, margin};
        const Plane face = whole.make(), hair = whole.make(), grown = whole.make();
        masks_of(f, whole, 0, 0, face, hair, grown);
        bounds(grown, f.width, f.height, box);
    }
    if (!box[2]) return;
    const int room = f.widen + 1;
    const int x0 = box[0] > room ? box[0] - room : 0, y0 = box[1] > room ? box[1] - room : 0;
    f.box[0] = x0, f.box[1] = y0;
    f.box[2] = box[2] + room < f.width ? box[2] + room : f.width;
    f.box[3] = box[3] + room < f.height ? box[3] + room : f.height;

    const int columns = f.box[2] - x0, rows = f.box[3] - y0;
    Planes p{f.scratch, columns + 2 * margin + 32, columns, rows, margin};
    const Plane face = p.make(), hair = p.make(), region = p.make();
    const Spare spare{p.make(), p.make(), p.make()};
    masks_of(f, p, x0, y0, face, hair, region);
    widen(p, region, region, spare, f.widen);

    // Towards hair the render fades out; everywhere else its own alpha is its edge.
    const Plane soft = p.make();
    const int64_t used = (kFacePlanes * p.stride * (rows + 2 * margin) + 63) / 64 * 64;
    uint16_t* sums = reinterpret_cast<uint16_t*>(f.scratch + used);
    widen(p, hair, soft, spare, f.blur);
    blur(p, soft, soft, spare.a, sums, f.blur);
    for (int y = 0; y < rows; ++y) {
        const int64_t at = int64_t(y0 + y) * f.width + x0;
        keep_row(region.row(y), soft.row(y), f.keep + at, columns);
        std::memcpy(f.region + at, region.row(y), columns);
        std::memcpy(f.face_mask + at, face.row(y), columns);
        std::memcpy(f.hair_mask + at, hair.row(y), columns);
    }
}

void mix_planes(const PlaneMix& m) {
    constexpr int kChunk = 64;
    float my[4], mu[4], mv[4];  // copies: bytes written could be anything, the compiler must think
    std::memcpy(my, m.matrix, sizeof(my)), std::memcpy(mu, m.matrix + 4, sizeof(mu)), std::memcpy(mv, m.matrix + 8, sizeof(mv));
    const float unit = 1.0f / 255;
    for (int row = 0; row < m.height; ++row) {
        uint8_t* __restrict y = m.y + (m.y0 + row) * m.y_stride + m.x0;
        const float *__restrict alpha = m.alpha + row * m.map_stride, *__restrict image = m.image + 3 * row * m.map_stride;
        const uint8_t* __restrict keep = m.keep + row * m.map_stride;
        for (int x = 0; x < m.width; ++x) {
            const float luma = my[0] * image[3 * x] + my[1] * image[3 * x + 1] + my[2] * image[3 * x + 2];
            const float k = keep[x] * unit, c = alpha[x] * k;
            y[x] = quantize(y[x] * (1.0f - c) + k * luma + my[3] * c);
        }
    }
    const int first_x = m.x0 & 1, first_y = m.y0 & 1;  // chroma cells that lie inside as a whole
    const int cells = (m.width - first_x) / 2;
    for (int row = first_y; row + 1 < m.height; row += 2) {
        const int64_t at = int64_t((m.y0 + row) / 2), left = (m.x0 + first_x) / 2;
        uint8_t *__restrict u = m.u + at * m.u_stride + left, *__restrict v = m.v + at * m.v_stride + left;
        for (int begin = 0; begin < cells; begin += kChunk) {
            const int count = cells - begin < kChunk ? cells - begin : kChunk;
            float red[kChunk], green[kChunk], blue[kChunk], cover[kChunk];
            for (int line = 0; line < 2; ++line) {
                const int64_t from = (row + line) * m.map_stride + first_x + 2 * begin;
                const float *__restrict image = m.image + 3 * from, *__restrict alpha = m.alpha + from;
                const uint8_t *__restrict keep = m.keep + from, *__restrict facing = line ? keep - m.map_stride : keep + m.map_stride;
                for (int i = 0; i < count; ++i) {  // a cell of which a pixel must stay as it is stays as well
                    const bool inside = keep[2 * i] && keep[2 * i + 1] && facing[2 * i] && facing[2 * i + 1];
                    const float a = inside ? keep[2 * i] * (0.25f * unit) : 0.0f;
                    const float b = inside ? keep[2 * i + 1] * (0.25f * unit) : 0.0f;
                    const float c = a * alpha[2 * i] + b * alpha[2 * i + 1];
                    const float r0 = a * image[6 * i] + b * image[6 * i + 3], r1 = a * image[6 * i + 1] + b * image[6 * i + 4],
                                r2 = a * image[6 * i + 2] + b * image[6 * i + 5];
                    cover[i] = line ? cover[i] + c : c;
                    red[i] = line ? red[i] + r0 : r0, green[i] = line ? green[i] + r1 : r1, blue[i] = line ? blue[i] + r2 : r2;
                }
            }
            for (int i = 0; i < count; ++i) {
                const float r = red[i], g = green[i], b = blue[i], c = cover[i];
                u[begin + i] = quantize(u[begin + i] * (1.0f - c) + mu[0] * r + mu[1] * g + mu[2] * b + mu[3] * c);
                v[begin + i] = quantize(v[begin + i] * (1.0f - c) + mv[0] * r + mv[1] * g + mv[2] * b + mv[3] * c);
            }
        }
    }
}

}  // namespace
