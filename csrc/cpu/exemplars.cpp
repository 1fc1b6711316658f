// Exemplar synthesis on the CPU: the search for the source patch that is most like a target patch, and the
// vote of overlapping patches for a pixel (csrc/README.md, "Exemplars").
//
// Every target pixel reads the field as it was before the sweep and writes a place of its own, and costs are
// whole numbers: results are the same bits in any order and on any number of threads.
#include "../operators.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace inpaint::cpu {
namespace {

constexpr int32_t kNone = -1;
constexpr int32_t kWorst = std::numeric_limits<int32_t>::max();
constexpr int64_t kGrain = 256; // positions: for fewer, another thread costs more than it saves
constexpr int64_t kMostRadius = 15;
// Bytes of a patch: the sum of so many squared differences is below 2^30, the cost that forbids a source.
constexpr int64_t kMostBytes = (int64_t{1} << 30) / (255 * 255);
constexpr int64_t kAny = -1; // a size that is not asked for

const char* name_of(ScalarType dtype) {
  if (dtype == ScalarType::Byte) return "uint8";
  if (dtype == ScalarType::Int) return "int32";
  return dtype == ScalarType::Bool ? "bool" : "float32";
}

void check_tensor(
    const char* op,
    const char* name,
    const Tensor& t,
    ScalarType dtype,
    std::initializer_list<int64_t> sizes) {
  bool fits = t.scalar_type() == dtype && t.is_contiguous() && t.dim() == static_cast<int64_t>(sizes.size());
  std::ostringstream wanted;
  int64_t d = 0;
  for (const int64_t size : sizes) {
    wanted << (d ? ", " : "") << (size == kAny ? "*" : std::to_string(size));
    fits = fits && (size == kAny || t.size(d) == size);
    ++d;
  }
  if (fits) return;
  const char* flaw = t.scalar_type() != dtype ? " of another type" : t.is_contiguous() ? "" : " with gaps";
  fail(
      op,
      ": ",
      name,
      " must be contiguous ",
      name_of(dtype),
      " [",
      wanted.str(),
      "], got ",
      shape_of(t),
      flaw);
}

// Positions and fields are indices into memory, and a negative cost would pass for a good one: none may be
// out of range.
void check_range(const char* op, const char* name, const Tensor& t, int64_t lowest, int64_t end) {
  const int32_t* values = t.const_data_ptr<int32_t>();
  int32_t least = kWorst, most = std::numeric_limits<int32_t>::min();
  for (int64_t i = 0, n = t.numel(); i < n; ++i) {
    least = std::min(least, values[i]);
    most = std::max(most, values[i]);
  }
  if (t.numel() > 0 && (least < lowest || most >= end))
    fail(op, ": ", name, " must lie in [", lowest, ", ", end, "), got ", least < lowest ? least : most);
}

void check_radius(const char* op, int64_t radius) {
  if (radius < 0 || radius > kMostRadius)
    fail(op, ": radius must lie between 0 and ", kMostRadius, ", got ", radius);
}

void check_pixels(const char* op, int64_t height, int64_t width) {
  if (height * width >= kWorst) fail(op, ": pictures must have fewer than 2^31 - 1 pixels");
}

// Checks a target picture and the source picture that its patches are compared with.
void check_pictures(
    const char* op,
    const char* name,
    const Tensor& target,
    const char* source_name,
    const Tensor& source,
    const Tensor& field,
    const Tensor& penalty,
    int64_t radius) {
  const int64_t side = 2 * radius + 1, margin = 2 * radius, most = kMostBytes / (side * side);
  check_tensor(op, name, target, ScalarType::Byte, {field.size(0) + margin, field.size(1) + margin, kAny});
  const int64_t channels = target.size(2);
  if (channels < 1 || channels > most)
    fail(op, ": ", name, " must have 1 to ", most, " channels at radius ", radius, ", got ", channels);
  check_tensor(
      op,
      source_name,
      source,
      ScalarType::Byte,
      {penalty.size(0) + margin, penalty.size(1) + margin, channels});
}

// The sum of squared differences of two rows of bytes, below 2^30 by `kMostBytes`. The common lengths are
// known to the compiler.
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

// Adds rows to `sum` until it is no longer below `limit`, and returns it; all that is 2^31 - 1 or more is
// one, a cost that is never taken.
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
  // Returns whether there was a better one: where not, another time finds none either.
  bool refine() {
    if (source < 0) return false;
    const int32_t before = source;
    const int64_t y = source / search.source_width, x = source % search.source_width;
    for (int64_t dy = -1; dy <= 1; ++dy)
      for (int64_t dx = -1; dx <= 1; ++dx)
        if (dy || dx) consider(y + dy, x + dx);
    return source != before;
  }
};

Best find(const Search& search, int32_t position) {
  Best best{search, {position / search.width, position % search.width}};
  best.consider_neighbour({0, 0});
  for (const Place& step : search.steps) best.consider_neighbour(step);
  for (const Place& offset : search.offsets)
    best.consider(best.target.y + offset.y, best.target.x + offset.x);
  for (int64_t i = 0; i < search.refinements && best.refine(); ++i) {
  }
  return best;
}

std::vector<Place> places(const char* op, const char* name, const Tensor& t) {
  check_tensor(op, name, t, ScalarType::Int, {kAny, 2});
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
  check_radius(op, radius);
  if (refinements < 0) fail(op, ": refinements must be at least 0, got ", refinements);
  check_tensor(op, "field", field, ScalarType::Int, {kAny, kAny});
  check_tensor(op, "penalty", penalty, ScalarType::Int, {kAny, kAny});
  const int64_t h = field.size(0), w = field.size(1), sh = penalty.size(0), sw = penalty.size(1);
  check_pixels(op, h, w);
  check_pixels(op, sh, sw);
  check_pictures(op, "target", target, "source", source, field, penalty, radius);
  check_tensor(op, "positions", positions, ScalarType::Int, {kAny});
  check_range(op, "positions", positions, 0, h * w);
  check_range(op, "field", field, kNone, sh * sw);
  check_range(op, "penalty", penalty, 0, int64_t{kWorst} + 1);
  Search search{h, w, sh, sw, refinements};
  search.target = Patches::of(target, radius);
  search.source = Patches::of(source, radius);
  search.penalty = penalty.const_data_ptr<int32_t>();
  search.field = field.const_data_ptr<int32_t>();
  search.guide_weight = nullptr;
  search.steps = places(op, "steps", steps);
  search.offsets = places(op, "offsets", offsets);
  if (guide_target || guide_source || guide_weight) {
    if (!guide_target || !guide_source || !guide_weight)
      fail(op, ": guide_target, guide_source and guide_weight go together");
    check_pictures(op, "guide_target", *guide_target, "guide_source", *guide_source, field, penalty, radius);
    check_tensor(op, "guide_weight", *guide_weight, ScalarType::Int, {h, w});
    check_range(op, "guide_weight", *guide_weight, 0, int64_t{kWorst} + 1);
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
  check_radius(op, radius);
  check_tensor(op, "field", field, ScalarType::Int, {kAny, kAny});
  check_tensor(op, "known", known, ScalarType::Bool, {kAny, kAny});
  const int64_t h = field.size(0), w = field.size(1), sh = known.size(0), sw = known.size(1);
  check_pixels(op, h, w);
  check_pixels(op, sh, sw);
  check_tensor(op, "colours", colours, ScalarType::Byte, {sh, sw, 3});
  check_tensor(op, "weights", weights, ScalarType::Float, {h, w});
  check_tensor(op, "positions", positions, ScalarType::Int, {kAny});
  check_range(op, "positions", positions, 0, h * w);
  check_range(op, "field", field, kNone, sh * sw);
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
