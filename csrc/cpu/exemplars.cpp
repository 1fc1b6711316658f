// Exemplar synthesis on the CPU: the search for the source patch that is most like a target patch, and the
// vote of overlapping patches for a pixel (csrc/README.md, "Exemplars").
//
// Every target pixel reads the field as it was before the sweep and writes a place of its own, and costs are
// whole numbers: results are the same bits in any order and on any number of threads.
#include "../operators.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace inpaint::cpu {
namespace {

constexpr int32_t kNone = -1;
constexpr int32_t kWorst = std::numeric_limits<int32_t>::max();
constexpr int64_t kGrain = 256; // positions below which another thread is not worth its start

void check_bytes(const char* op, const char* name, const Tensor& t, int64_t height, int64_t width) {
  if (t.scalar_type() != ScalarType::Byte || t.dim() != 3 || !t.is_contiguous() || t.size(0) != height ||
      t.size(1) != width || t.size(2) < 1)
    fail(op, ": ", name, " must be contiguous uint8 [", height, ", ", width, ", C], got ", shape_of(t));
}

void check_plane(const char* op, const char* name, const Tensor& t, ScalarType dtype, int64_t h, int64_t w) {
  if (t.scalar_type() != dtype || t.dim() != 2 || !t.is_contiguous() || t.size(0) != h || t.size(1) != w)
    fail(op, ": ", name, " must be contiguous [", h, ", ", w, "] of its type, got ", shape_of(t));
}

// Positions and fields are indices into memory, so none may be out of range.
void check_indices(const char* op, const char* name, const Tensor& t, int64_t lowest, int64_t end) {
  if (t.scalar_type() != ScalarType::Int || !t.is_contiguous()) fail(op, ": ", name, " must be int32");
  const int32_t* values = t.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < t.numel(); ++i)
    if (values[i] < lowest || values[i] >= end)
      fail(op, ": ", name, " must lie in [", lowest, ", ", end, "), got ", values[i]);
}

// The sum of squared differences of two rows of bytes. The common lengths are known to the compiler.
template <int64_t N>
int32_t row_cost(const uint8_t* a, const uint8_t* b, int64_t length) {
  const int64_t n = N > 0 ? N : length;
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int16_t difference = static_cast<int16_t>(a[i]) - static_cast<int16_t>(b[i]);
    sum += static_cast<int32_t>(difference) * difference;
  }
  return sum;
}

// A picture of bytes [H + 2·radius, W + 2·radius, C]: a patch begins at its centre's place in [H, W].
struct Patches {
  const uint8_t* data;
  int64_t pitch, channels, rows, row;

  static Patches of(const Tensor& t, int64_t radius) {
    const int64_t side = 2 * radius + 1;
    return {t.const_data_ptr<uint8_t>(), t.size(1) * t.size(2), t.size(2), side, side * t.size(2)};
  }
  const uint8_t* at(int64_t y, int64_t x) const { return data + y * pitch + x * channels; }
};

// Adds up rows until the sum is no longer below `limit`, and returns the sum.
template <int64_t N>
int32_t patch_cost(
    const Patches& a, const uint8_t* at, const Patches& b, const uint8_t* bt, int64_t sum, int64_t limit) {
  for (int64_t i = 0; i < a.rows && sum < limit; ++i)
    sum += row_cost<N>(at + i * a.pitch, bt + i * b.pitch, a.row);
  return static_cast<int32_t>(std::min<int64_t>(sum, kWorst));
}

int32_t patch_cost_of(
    const Patches& a, const uint8_t* at, const Patches& b, const uint8_t* bt, int64_t sum, int64_t limit) {
  if (a.row == 28) return patch_cost<28>(a, at, b, bt, sum, limit); // 7×7 pixels of four channels
  if (a.row == 21) return patch_cost<21>(a, at, b, bt, sum, limit);
  return patch_cost<0>(a, at, b, bt, sum, limit);
}

struct Place {
  int64_t y, x;
};

// All that a sweep reads.
struct Search {
  int64_t height, width, source_height, source_width, refinements;
  Patches target, source, guide_target, guide_source;
  const int32_t *penalty, *guide_weight, *field; // guide_weight is null without a guide
  std::vector<Place> steps, offsets;

  int32_t cost(Place p, Place s, int32_t limit) const {
    int32_t sum = penalty[s.y * source_width + s.x];
    if (sum >= limit) return kWorst;
    sum = patch_cost_of(target, target.at(p.y, p.x), source, source.at(s.y, s.x), sum, limit);
    const int32_t weight = guide_weight ? guide_weight[p.y * width + p.x] : 0;
    if (sum >= limit || weight == 0) return sum;
    const int64_t guided = patch_cost_of(
        guide_target, guide_target.at(p.y, p.x), guide_source, guide_source.at(s.y, s.x), 0, kWorst);
    return static_cast<int32_t>(std::min<int64_t>(sum + ((guided * weight) >> 8), kWorst));
  }
};

// The best source for one target, candidate after candidate in a fixed order; the first of equals stays.
struct Best {
  const Search& search;
  Place target;
  int32_t cost = kWorst, source = kNone;

  void consider(int64_t y, int64_t x) {
    if (y < 0 || x < 0 || y >= search.source_height || x >= search.source_width) return;
    const int32_t index = static_cast<int32_t>(y * search.source_width + x);
    if (index == source) return;
    const int32_t found = search.cost(target, {y, x}, cost);
    if (found < cost) {
      cost = found;
      source = index;
    }
  }
  void consider_neighbour(Place step) {
    const int64_t y = target.y + step.y, x = target.x + step.x;
    if (y < 0 || x < 0 || y >= search.height || x >= search.width) return;
    const int32_t theirs = search.field[y * search.width + x];
    if (theirs >= 0) consider(theirs / search.source_width - step.y, theirs % search.source_width - step.x);
  }
  void refine() {
    if (source < 0) return;
    const int32_t centre = source;
    const int64_t y = centre / search.source_width, x = centre % search.source_width;
    for (int64_t dy = -1; dy <= 1; ++dy)
      for (int64_t dx = -1; dx <= 1; ++dx)
        if (dy || dx) consider(y + dy, x + dx);
  }
};

Best find(const Search& search, int32_t position) {
  Best best{search, {position / search.width, position % search.width}};
  best.consider_neighbour({0, 0});
  for (const Place& step : search.steps) best.consider_neighbour(step);
  for (const Place& offset : search.offsets)
    best.consider(best.target.y + offset.y, best.target.x + offset.x);
  for (int64_t i = 0; i < search.refinements; ++i) best.refine();
  return best;
}

std::vector<Place> places(const char* op, const char* name, const Tensor& t) {
  if (t.scalar_type() != ScalarType::Int || t.dim() != 2 || t.size(1) != 2 || !t.is_contiguous())
    fail(op, ": ", name, " must be contiguous int32 [K, 2], got ", shape_of(t));
  const int32_t* values = t.const_data_ptr<int32_t>();
  std::vector<Place> result(t.size(0));
  for (int64_t i = 0; i < t.size(0); ++i) result[i] = {values[2 * i], values[2 * i + 1]};
  return result;
}

Tensor filled_plane(const Tensor& like, int64_t height, int64_t width, int32_t value) {
  const int64_t sizes[] = {height, width};
  Tensor plane = torch::stable::empty({sizes, 2}, ScalarType::Int, std::nullopt, like.device());
  std::fill_n(plane.mutable_data_ptr<int32_t>(), height * width, value);
  return plane;
}

std::tuple<Tensor, Tensor> exemplar_search(
    Tensor target,
    Tensor source,
    std::optional<Tensor> guide_target,
    std::optional<Tensor> guide_source,
    std::optional<Tensor> guide_weight,
    Tensor penalty,
    Tensor positions,
    Tensor field,
    Tensor steps,
    Tensor offsets,
    int64_t radius,
    int64_t refinements) {
  const char* op = "exemplar_search";
  if (radius < 0 || radius > 15) fail(op, ": radius must lie between 0 and 15, got ", radius);
  if (field.dim() != 2 || penalty.dim() != 2) fail(op, ": field and penalty must have two dimensions");
  const int64_t h = field.size(0), w = field.size(1), sh = penalty.size(0), sw = penalty.size(1);
  if (h * w >= kWorst || sh * sw >= kWorst) fail(op, ": pictures must have fewer than 2^31 pixels");
  check_bytes(op, "target", target, h + 2 * radius, w + 2 * radius);
  check_bytes(op, "source", source, sh + 2 * radius, sw + 2 * radius);
  if (target.size(2) != source.size(2)) fail(op, ": target and source must have the same channels");
  check_plane(op, "penalty", penalty, ScalarType::Int, sh, sw);
  check_plane(op, "field", field, ScalarType::Int, h, w);
  check_indices(op, "positions", positions, 0, h * w);
  check_indices(op, "field", field, kNone, sh * sw);
  Search search{h, w, sh, sw, refinements};
  search.target = Patches::of(target, radius);
  search.source = Patches::of(source, radius);
  search.penalty = penalty.const_data_ptr<int32_t>();
  search.field = field.const_data_ptr<int32_t>();
  search.guide_weight = nullptr;
  search.steps = places(op, "steps", steps);
  search.offsets = places(op, "offsets", offsets);
  if (guide_weight) {
    if (!guide_target || !guide_source) fail(op, ": guide_weight needs guide_target and guide_source");
    check_bytes(op, "guide_target", *guide_target, h + 2 * radius, w + 2 * radius);
    check_bytes(op, "guide_source", *guide_source, sh + 2 * radius, sw + 2 * radius);
    if (guide_target->size(2) != guide_source->size(2)) fail(op, ": the guides must have the same channels");
    check_plane(op, "guide_weight", *guide_weight, ScalarType::Int, h, w);
    search.guide_target = Patches::of(*guide_target, radius);
    search.guide_source = Patches::of(*guide_source, radius);
    search.guide_weight = guide_weight->const_data_ptr<int32_t>();
  }

  Tensor found = filled_plane(field, h, w, kNone), costs = filled_plane(field, h, w, kWorst);
  const int32_t* wanted = positions.const_data_ptr<int32_t>();
  int32_t *sources = found.mutable_data_ptr<int32_t>(), *cost = costs.mutable_data_ptr<int32_t>();
  torch::stable::parallel_for(0, positions.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Best best = find(search, wanted[i]);
      sources[wanted[i]] = best.source;
      cost[wanted[i]] = best.cost;
    }
  });
  return {found, costs};
}

// All that a vote reads.
struct Vote {
  int64_t height, width, source_height, source_width, radius;
  const uint8_t* colours;
  const bool* known;
  const int32_t* field;
  const float* weights;

  // Calls f(weight, colour) for every patch over `position` that has a known pixel to say there.
  template <class F>
  void for_each(int32_t position, const F& f) const {
    const int64_t y = position / width, x = position % width;
    for (int64_t ty = std::max<int64_t>(y - radius, 0); ty <= std::min(y + radius, height - 1); ++ty)
      for (int64_t tx = std::max<int64_t>(x - radius, 0); tx <= std::min(x + radius, width - 1); ++tx) {
        const int32_t source = field[ty * width + tx];
        if (source < 0) continue;
        const int64_t sy = source / source_width + y - ty, sx = source % source_width + x - tx;
        if (sy < 0 || sx < 0 || sy >= source_height || sx >= source_width) continue;
        const int64_t pixel = sy * source_width + sx;
        if (known[pixel]) f(weights[ty * width + tx], colours + 3 * pixel);
      }
  }
};

// The mean of the votes; -1 where there is none.
std::array<float, 3> mean_vote(const Vote& vote, int32_t position) {
  double sums[3] = {0, 0, 0}, total = 0;
  vote.for_each(position, [&](float weight, const uint8_t* colour) {
    for (int c = 0; c < 3; ++c) sums[c] += static_cast<double>(weight) * colour[c];
    total += weight;
  });
  if (!(total > 0)) return {-1, -1, -1};
  return {
      static_cast<float>(sums[0] / total),
      static_cast<float>(sums[1] / total),
      static_cast<float>(sums[2] / total)};
}

// The vote of most weight, the first of equals; -1 where there is none.
std::array<float, 3> best_vote(const Vote& vote, int32_t position) {
  const uint8_t* best = nullptr;
  float most = 0;
  vote.for_each(position, [&](float weight, const uint8_t* colour) {
    if (best && !(weight > most)) return;
    most = weight;
    best = colour;
  });
  if (!best) return {-1, -1, -1};
  return {static_cast<float>(best[0]), static_cast<float>(best[1]), static_cast<float>(best[2])};
}

Tensor exemplar_vote(
    Tensor colours, Tensor known, Tensor field, Tensor weights, Tensor positions, int64_t radius, bool best) {
  const char* op = "exemplar_vote";
  if (radius < 0) fail(op, ": radius must be at least 0, got ", radius);
  if (field.dim() != 2 || known.dim() != 2) fail(op, ": field and known must have two dimensions");
  const int64_t h = field.size(0), w = field.size(1), sh = known.size(0), sw = known.size(1);
  check_bytes(op, "colours", colours, sh, sw);
  if (colours.size(2) != 3) fail(op, ": colours must have three channels, got ", colours.size(2));
  check_plane(op, "known", known, ScalarType::Bool, sh, sw);
  check_plane(op, "field", field, ScalarType::Int, h, w);
  check_plane(op, "weights", weights, ScalarType::Float, h, w);
  check_indices(op, "positions", positions, 0, h * w);
  check_indices(op, "field", field, kNone, sh * sw);
  const Vote vote{
      h,
      w,
      sh,
      sw,
      radius,
      colours.const_data_ptr<uint8_t>(),
      known.const_data_ptr<bool>(),
      field.const_data_ptr<int32_t>(),
      weights.const_data_ptr<float>()};
  const int64_t sizes[] = {positions.numel(), 3};
  Tensor output = torch::stable::empty({sizes, 2}, ScalarType::Float, std::nullopt, field.device());
  const int32_t* wanted = positions.const_data_ptr<int32_t>();
  float* values = output.mutable_data_ptr<float>();
  torch::stable::parallel_for(0, positions.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto value = best ? best_vote(vote, wanted[i]) : mean_vote(vote, wanted[i]);
      std::copy(value.begin(), value.end(), values + 3 * i);
    }
  });
  return output;
}

} // namespace
} // namespace inpaint::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(inpaint, m) {
  m.def(
      "exemplar_search(Tensor target, Tensor source, Tensor? guide_target, Tensor? guide_source, "
      "Tensor? guide_weight, Tensor penalty, Tensor positions, Tensor field, Tensor steps, Tensor offsets, "
      "int radius, int refinements) -> (Tensor, Tensor)");
  m.def(
      "exemplar_vote(Tensor colours, Tensor known, Tensor field, Tensor weights, Tensor positions, "
      "int radius, bool best) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(inpaint, CPU, m) {
  m.impl("exemplar_search", TORCH_BOX(&inpaint::cpu::exemplar_search));
  m.impl("exemplar_vote", TORCH_BOX(&inpaint::cpu::exemplar_vote));
}
