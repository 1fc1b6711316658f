// One level of the membrane on the CPU: bring a coarse fill up, and relax it where nothing is known
// (csrc/README.md, "The membrane").
//
// Planes are cut into bands of rows. A band is relaxed in a buffer of its own that reaches as many rows
// beyond it as there are sweeps, so all sweeps run near the core, no band waits for another, and results are
// the same bits for any number of threads. Only runs of columns with a hole in them are visited.
#include "../operators.h"
#include "vector.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

namespace inpaint::cpu {
namespace {

constexpr int64_t kBandRows = 48;
constexpr int64_t kGrain = 32768; // pixels below which another thread is not worth its start
constexpr int64_t kGap = 16;      // known pixels between two holes that are cheaper visited than skipped
constexpr double kSpectralRadius = 0.98; // the same as in inpaint/ops/fused_reference.py

struct Run {
  int64_t first, last; // columns, the end excluded
};

// The runs of columns in which a row has unknown pixels, with what little is known between them.
void find_runs(const float* known, int64_t width, std::vector<Run>& runs) {
  runs.clear();
  for (int64_t x = 0; x < width; ++x) {
    if (known[x] > 0) continue;
    const int64_t first = x;
    while (x < width && !(known[x] > 0)) ++x;
    if (!runs.empty() && first - runs.back().last < kGap)
      runs.back().last = x;
    else
      runs.push_back({first, x});
  }
}

// Where bilinear interpolation reads for each place of a line, as torch does with align_corners=False.
struct Taps {
  std::vector<int64_t> near, far;
  std::vector<float> share; // of the far one

  Taps(int64_t from, int64_t to) : near(to), far(to), share(to) {
    const float scale = static_cast<float>(from) / static_cast<float>(to);
    for (int64_t i = 0; i < to; ++i) {
      const float place = std::max(scale * (static_cast<float>(i) + 0.5f) - 0.5f, 0.0f);
      near[i] = std::min(static_cast<int64_t>(place), from - 1);
      far[i] = std::min(near[i] + 1, from - 1);
      share[i] = std::min(place - static_cast<float>(near[i]), 1.0f);
    }
  }
};

// The least and the largest number of a row, NaN left out, joined to what was found so far.
struct Range {
  float least = INFINITY, most = -INFINITY;

  void add(float value) {
    least = value < least ? value : least;
    most = value > most ? value : most;
  }
  void add(const float* row, int64_t count) {
    using Vec = Vector<float>;
    Vec::type low = Vec::type{} + least, high = Vec::type{} + most;
    int64_t x = 0;
    for (; x + Vec::lanes <= count; x += Vec::lanes) {
      const Vec::type value = Vec::load(row + x);
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    for (int lane = 0; lane < Vec::lanes; ++lane) {
      least = low[lane] < least ? low[lane] : least;
      most = high[lane] > most ? high[lane] : most;
    }
    for (; x < count; ++x) add(row[x]);
  }
  void add(const Range& other) {
    least = std::min(least, other.least);
    most = std::max(most, other.most);
  }
};

struct Level {
  int64_t channels, height, width, coarse_height, coarse_width, sweeps;
  const float *fill, *colour, *known; // contiguous [N, C, h, w], [N, C, H, W], [N, 1, H, W]
  Taps down, across;

  const float* known_row(int64_t plane, int64_t y) const {
    return known + (plane / channels * height + y) * width;
  }
  int64_t bands() const { return (height + kBandRows - 1) / kBandRows; }
};

// A band before the sweeps: the colour where it is known, the interpolated fill elsewhere.
Range start_band(const Level& level, int64_t plane, int64_t top, int64_t bottom, float* start) {
  const int64_t w = level.width;
  const float* coarse = level.fill + plane * level.coarse_height * level.coarse_width;
  const int64_t *near = level.across.near.data(), *far = level.across.far.data();
  const float* shares = level.across.share.data();
  std::vector<float> line(level.coarse_width);
  std::vector<Run> runs;
  Range range;
  for (int64_t y = top; y < bottom; ++y) {
    const float* known = level.known_row(plane, y);
    float* row = start + (plane * level.height + y) * w;
    std::memcpy(row, level.colour + (plane * level.height + y) * w, w * sizeof(float));
    find_runs(known, w, runs);
    if (!runs.empty()) {
      const float* upper = coarse + level.down.near[y] * level.coarse_width;
      const float* lower = coarse + level.down.far[y] * level.coarse_width;
      const float share = level.down.share[y];
      for (int64_t x = near[runs.front().first]; x <= far[runs.back().last - 1]; ++x)
        line[x] = (1 - share) * upper[x] + share * lower[x];
    }
    for (const Run& run : runs)
      for (int64_t x = run.first; x < run.last; ++x) {
        const float value = (1 - shares[x]) * line[near[x]] + shares[x] * line[far[x]];
        row[x] = known[x] > 0 ? row[x] : value;
      }
    range.add(row, w);
  }
  return range;
}

// A sweep over one run: before ← mean − (mean − before)·(1 − ω) where unknown. `above`, `here` and `below`
// are rows of the fill, `inverse` holds 1 over the number of columns that each mean reaches.
void sweep_run(
    const Run& run,
    const float* above,
    const float* here,
    const float* below,
    const float* known,
    const float* inverse,
    float inverse_rows,
    float kept,
    float* __restrict column,
    float* __restrict before) {
  for (int64_t x = run.first - 1; x <= run.last; ++x) column[x] = above[x] + here[x] + below[x];
  for (int64_t x = run.first; x < run.last; ++x) {
    const float mean = (column[x - 1] + column[x] + column[x + 1]) * (inverse[x] * inverse_rows);
    const float moved = mean - (mean - before[x]) * kept;
    before[x] = known[x] > 0 ? before[x] : moved;
  }
}

// What a thread keeps from band to band.
struct Buffers {
  std::vector<float> fill, before, column, inverse;
  std::vector<std::vector<Run>> runs;
};

// All sweeps of rows top to bottom, from `start` into `output`.
void relax_band(
    const Level& level,
    int64_t plane,
    int64_t top,
    int64_t bottom,
    const Range& range,
    const float* start,
    float* output,
    Buffers& buffers) {
  const int64_t w = level.width, stride = w + 2, sweeps = level.sweeps;
  const int64_t first = std::max<int64_t>(top - sweeps, 0), last = std::min(bottom + sweeps, level.height);
  start += plane * level.height * w;
  output += plane * level.height * w;

  buffers.runs.resize(last - first);
  bool whole = true;
  for (int64_t y = first; y < last; ++y) {
    find_runs(level.known_row(plane, y), w, buffers.runs[y - first]);
    if (y >= top && y < bottom) whole &= buffers.runs[y - first].empty();
  }
  if (whole) {
    std::memcpy(output + top * w, start + top * w, (bottom - top) * w * sizeof(float));
    return;
  }
  // A row and a column of zeros around the picture; the counts leave them out of the means.
  buffers.fill.assign((last - first + 2) * stride, 0.0f);
  for (int64_t y = first; y < last; ++y)
    std::memcpy(buffers.fill.data() + (y - first + 1) * stride + 1, start + y * w, w * sizeof(float));
  buffers.before = buffers.fill;
  buffers.column.resize(stride);
  buffers.inverse.assign(w, 1.0f / 3);
  buffers.inverse.front() = buffers.inverse.back() = w == 1 ? 1.0f : 1.0f / 2;

  float *fill = buffers.fill.data(), *before = buffers.before.data();
  double omega = 1;
  for (int64_t sweep = 0; sweep < sweeps; ++sweep) {
    if (sweep > 0) omega = 1 / (1 - kSpectralRadius * kSpectralRadius * (sweep == 1 ? 0.5 : omega / 4));
    const float kept = 1 - static_cast<float>(omega);
    const int64_t beyond = sweeps - 1 - sweep; // rows outside the band that later sweeps still read
    for (int64_t y = std::max(top - beyond, first); y < std::min(bottom + beyond, last); ++y) {
      const float* here = fill + (y - first + 1) * stride + 1;
      float* moved = before + (y - first + 1) * stride + 1;
      const int rows = 1 + (y > 0) + (y + 1 < level.height);
      for (const Run& run : buffers.runs[y - first])
        sweep_run(
            run,
            here - stride,
            here,
            here + stride,
            level.known_row(plane, y),
            buffers.inverse.data(),
            1.0f / static_cast<float>(rows),
            kept,
            buffers.column.data() + 1,
            moved);
    }
    std::swap(fill, before);
  }
  for (int64_t y = top; y < bottom; ++y) {
    const float* row = fill + (y - first + 1) * stride + 1;
    for (int64_t x = 0; x < w; ++x) { // NaN stays NaN
      const float value = row[x] < range.least ? range.least : row[x];
      output[y * w + x] = value > range.most ? range.most : value;
    }
  }
}

Tensor membrane_raised(const Tensor& fill, const Tensor& colour, const Tensor& known, int64_t sweeps) {
  const char* op = "membrane_raised";
  const std::pair<const char*, const Tensor*> operands[] = {
      {"fill", &fill}, {"colour", &colour}, {"known", &known}};
  for (const auto& [name, tensor] : operands) {
    if (tensor->scalar_type() != ScalarType::Float) fail(op, ": ", name, " must be float32");
    if (!tensor->is_contiguous()) fail(op, ": ", name, " must be contiguous");
    if (tensor->dim() != 4) fail(op, ": ", name, " must have four dimensions, got ", shape_of(*tensor));
  }
  const int64_t n = colour.size(0), c = colour.size(1), h = colour.size(2), w = colour.size(3);
  check_shape(op, "fill", fill, n, c, fill.size(2), fill.size(3));
  check_shape(op, "known", known, n, 1, h, w);
  if (sweeps < 1) fail(op, ": sweeps must be at least 1, got ", sweeps);
  Tensor output = torch::stable::empty_like(colour);
  if (n * c * h * w == 0) return output;
  if (fill.size(2) * fill.size(3) == 0) fail(op, ": fill must not be empty, got ", shape_of(fill));

  Tensor start = torch::stable::empty_like(colour);
  const auto data = [](const Tensor& tensor) { return static_cast<float*>(tensor.data_ptr()); };
  const Level level{
      c,
      h,
      w,
      fill.size(2),
      fill.size(3),
      sweeps,
      data(fill),
      data(colour),
      data(known),
      Taps(fill.size(2), h),
      Taps(fill.size(3), w)};
  const int64_t bands = level.bands(), items = n * c * bands;
  const int64_t grain = std::max<int64_t>(kGrain / (std::min(kBandRows, h) * w), 1);
  std::vector<Range> ranges(items);
  torch::stable::parallel_for(0, items, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t top = item % bands * kBandRows;
      ranges[item] = start_band(level, item / bands, top, std::min(top + kBandRows, h), data(start));
    }
  });
  for (int64_t plane = 0; plane < n * c; ++plane) { // the planes' ranges, each in its first band's place
    Range& whole = ranges[plane * bands];
    for (int64_t band = 1; band < bands; ++band) whole.add(ranges[plane * bands + band]);
  }
  torch::stable::parallel_for(0, items, grain, [&](int64_t begin, int64_t end) {
    Buffers buffers;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t plane = item / bands, top = item % bands * kBandRows;
      const int64_t bottom = std::min(top + kBandRows, h);
      relax_band(level, plane, top, bottom, ranges[plane * bands], data(start), data(output), buffers);
    }
  });
  return output;
}

} // namespace
} // namespace inpaint::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(inpaint, m) {
  m.def("membrane_raised(Tensor fill, Tensor colour, Tensor known, int sweeps) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(inpaint, CPU, m) {
  m.impl("membrane_raised", TORCH_BOX(&inpaint::cpu::membrane_raised));
}
