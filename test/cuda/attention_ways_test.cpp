// Every way to compute attention and its gradients in bfloat16 and float16, whichever a device
// would choose, against double precision on the host: blocks, groups and tiles that are not full,
// more parts than a device has multiprocessors, keys of another length, heads apart and side by
// side, and scores so large that one key takes all. What they round, alone or beside the floats,
// against these floats, rounded on the host.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "attention_heads.h"
#include "check.h"
#include "core/ops/attention.h"
#include "cuda/half_attention.h"
#include "on_device.h"
#include "parity.h"

using namespace tandem;
using namespace tandem::cuda;
using tandem::check::HeadSizes;
using tandem::check::HostHeads;

namespace {

/// Numbers in the device's memory with some around them that nothing may write.
template <typename T>
class Guarded {
 public:
  explicit Guarded(const std::vector<T>& inside) : memory_(surrounded(inside)) {}
  [[nodiscard]] T* data() const { return memory_.data() + kAround; }
  /// What is inside now; checks what is around.
  [[nodiscard]] std::vector<T> read() const {
    const std::vector<T> all = memory_.read();
    const auto untouched = [](auto begin) {
      return std::all_of(begin, begin + kAround, [](T x) { return x == kUntouched; });
    };
    CHECK(untouched(all.begin()) && untouched(all.end() - kAround));
    return {all.begin() + kAround, all.end() - kAround};
  }

 private:
  static constexpr int64_t kAround = 256;
  static constexpr T kUntouched = 12345;

  static std::vector<T> surrounded(const std::vector<T>& inside) {
    std::vector<T> all(inside.size() + 2 * kAround, kUntouched);
    std::copy(inside.begin(), inside.end(), all.begin() + kAround);
    return all;
  }

  OnDevice<T> memory_;
};

/// An operand or result on the host.
struct Part {
  Shape shape;
  std::vector<float> numbers;
};

/// Numbers for each query, heads apart or side by side.
template <typename From>
Part by_query(const HostHeads& h, const std::vector<From>& from) {
  const HeadSizes& s = h.s;
  if (!s.joined) return {{s.batch, s.heads, s.time, s.depth}, {from.begin(), from.end()}};
  Part part{{s.batch, s.time, s.heads * s.depth}, std::vector<float>(from.size())};
  h.join(from, s.time, part.numbers, s.heads * s.depth, 0);
  return part;
}

/// Queries, keys and values, or their gradients, as the op has them.
template <typename From>
std::vector<Part> operands(const HostHeads& h, const std::vector<From>& q,
                           const std::vector<From>& k, const std::vector<From>& v) {
  const HeadSizes& s = h.s;
  const int64_t width = s.heads * s.depth;
  if (!s.joined) {
    const Shape keys{s.batch, s.heads, s.keys, s.depth};
    return {by_query(h, q), {keys, {k.begin(), k.end()}}, {keys, {v.begin(), v.end()}}};
  }
  if (s.time == s.keys) {
    Part all{{s.batch, s.time, 3 * width}, std::vector<float>(3 * q.size())};
    h.join(q, s.time, all.numbers, 3 * width, 0);
    h.join(k, s.time, all.numbers, 3 * width, width);
    h.join(v, s.time, all.numbers, 3 * width, 2 * width);
    return {all};
  }
  Part others{{s.batch, s.keys, 2 * width}, std::vector<float>(2 * k.size())};
  h.join(k, s.keys, others.numbers, 2 * width, 0);
  h.join(v, s.keys, others.numbers, 2 * width, width);
  return {by_query(h, q), others};
}

/// How a node gives its result: what Launch::result() says of it.
enum class Form : uint8_t { kFloats, kRounded, kBoth };

/// What a node gives: its outputs, none of a result that is only rounded, and the rounded result.
struct Given {
  std::vector<std::vector<float>> floats;
  std::vector<uint16_t> rounded;
};

/// A node of attention or its gradients, its inputs in the device's memory.
class Node {
 public:
  Node(Op op, const HeadSizes& s, bool float16)
      : rounded_type_(float16 ? DType::kFloat16 : DType::kBFloat16) {
    // those of the gradients are the same
    storage_ = make_attributes(
        Op::attention,
        {{"causal", s.causal}, {"heads", s.joined ? static_cast<double>(s.heads) : 0.0}});
    auto* const attributes = reinterpret_cast<ops::AttentionAttributes*>(storage_.bytes.data());
    attributes->bf16 = !float16;
    attributes->fp16 = float16;
    view_.op = op;
    view_.attributes = storage_.bytes.data();
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void add_input(const Part& part) {
    memory_.emplace_back(part.numbers);
    view_.inputs.push_back(&tensor(part.shape));
    inputs_.push_back(memory_.back().data());
  }
  void leave_out_input() {
    view_.inputs.push_back(nullptr);
    inputs_.push_back(nullptr);
  }
  void add_output(const Shape& shape) { view_.outputs.push_back(&tensor(shape)); }
  [[nodiscard]] size_t input_count() const { return inputs_.size(); }

  [[nodiscard]] std::vector<AttentionWay> ways() const {
    const Launch measuring(view_, device().products());
    return view_.op == Op::attention ? attention_ways(measuring) : gradient_ways(measuring);
  }
  /// What it gives, NaN before.
  [[nodiscard]] Given by(AttentionWay way, Form form = Form::kFloats) const {
    NodeView view = view_;
    const Tensor rounded = make_tensor(shape_of(*view_.outputs[0]), rounded_type_);
    view.rounds_too = form == Form::kBoth;
    if (form == Form::kRounded) view.outputs[0] = &rounded;
    if (form == Form::kBoth) view.outputs.push_back(&rounded);
    Launch measuring(view, device().products());
    run(measuring, way);
    const Memory workspace = device().allocate(measuring.workspace_bytes() + 256);
    std::deque<Guarded<float>> floats;
    std::deque<Guarded<uint16_t>> halves;
    Operands all{inputs_, {}, workspace.data.get(), nullptr};
    for (const Tensor* output : view.outputs) {
      const auto n = static_cast<size_t>(output->numel);
      if (is_half(output->dtype)) {
        all.outputs.push_back(halves.emplace_back(std::vector<uint16_t>(n, kHalfNan)).data());
      } else {
        all.outputs.push_back(floats.emplace_back(std::vector<float>(n, NAN)).data());
      }
    }
    Launch launch(view, device().products(), all, nullptr);
    run(launch, way);
    cuda::check(cudaDeviceSynchronize(), "attention");
    Given given;
    if (form == Form::kRounded) given.floats.emplace_back();
    for (const auto& output : floats) given.floats.push_back(output.read());
    if (form != Form::kFloats) given.rounded = halves.front().read();
    return given;
  }
  /// Numbers, rounded as its products round them.
  [[nodiscard]] std::vector<uint16_t> rounded(const std::vector<float>& numbers) const {
    std::vector<uint16_t> all;
    for (const float x : numbers) {
      all.push_back(rounded_type_ == DType::kFloat16
                        ? __half_as_ushort(__float2half_rn(x))
                        : __bfloat16_as_ushort(__float2bfloat16_rn(x)));
    }
    return all;
  }

 private:
  static constexpr uint16_t kHalfNan = 0x7FFF;  // of either type

  static void run(Launch& launch, AttentionWay way) {
    if (launch.op() == Op::attention) {
      launch_attention_by(launch, way);
    } else {
      launch_gradients_by(launch, way);
    }
  }
  const Tensor& tensor(const Shape& shape) {
    return tensors_.emplace_back(make_tensor(shape, DType::kFloat32));
  }

  AttributeStorage storage_;
  DType rounded_type_;
  std::deque<Tensor> tensors_;
  std::vector<Guarded<float>> memory_;
  std::vector<void*> inputs_;
  NodeView view_{};
};

double far(const std::vector<float>& a, const std::vector<float>& b) {
  return check::distance(a.data(), b.data(), static_cast<int64_t>(b.size()));
}

/// How far results may be from the host's, by their norms: factors are rounded to 8 or 11 bits.
double tolerance(bool float16) { return float16 ? 5e-4 : 4e-3; }

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), b.size() * sizeof(float)) == 0;
}

/// Checks that a way gives the same bits in every form, and again in that which `want` has.
void check_forms(const Node& node, AttentionWay way, const std::vector<std::vector<float>>& want) {
  const std::vector<uint16_t> rounded = node.rounded(want[0]);
  for (const Form form : {Form::kFloats, Form::kRounded, Form::kBoth}) {
    const Given got = node.by(way, form);
    CHECK(got.floats.size() == want.size());
    for (size_t i = form == Form::kRounded ? 1 : 0; i < want.size(); ++i)
      CHECK(same_bits(got.floats[i], want[i]));
    if (form != Form::kFloats) CHECK(got.rounded == rounded);
  }
}

/// Compares each way's outputs with `want`, and the forms of its result with each other.
void compare_ways(const Node& node, const std::string& name,
                  const std::vector<std::vector<float>>& want,
                  const std::vector<double>& tolerances) {
  for (const AttentionWay way : node.ways()) {
    const std::vector<std::vector<float>> got = node.by(way).floats;
    for (size_t i = 0; i < want.size(); ++i) {
      const double distance = far(got[i], want[i]);
      const bool near = distance < tolerances[i];
      if (!near) {
        std::printf("  %s by way %d, output %zu: %g\n", name.c_str(), static_cast<int>(way), i,
                    distance);
      }
      CHECK(near);
    }
    check_forms(node, way, got);
  }
}

void compare_attention(const HostHeads& h, bool float16) {
  const HeadSizes& s = h.s;
  Node node(Op::attention, s, float16);
  for (const Part& part : operands(h, h.q, h.k, h.v)) node.add_input(part);
  const Part y = by_query(h, h.y);
  node.add_output(y.shape);
  node.add_output({s.batch, s.heads, s.time, 2});
  compare_ways(node, "attention " + text(s), {y.numbers, {h.log_sums.begin(), h.log_sums.end()}},
               {tolerance(float16), 1e-5});
}

void compare_gradients(const HostHeads& h, bool float16) {
  const HeadSizes& s = h.s;
  Node node(Op::attentionGrad, s, float16);
  for (const Part& part : operands(h, h.q, h.k, h.v)) node.add_input(part);
  while (node.input_count() < 4) node.leave_out_input();
  node.add_input(by_query(h, h.y));
  node.add_input({{s.batch, s.heads, s.time, 2}, {h.log_sums.begin(), h.log_sums.end()}});
  node.add_input(by_query(h, h.dy));
  std::vector<std::vector<float>> want;
  for (const Part& part : operands(h, h.dq, h.dk, h.dv)) {
    node.add_output(part.shape);
    want.push_back(part.numbers);
  }
  compare_ways(node, "gradients of attention " + text(s), want,
               std::vector<double>(want.size(), tolerance(float16)));
}

using Compare = void (*)(const HostHeads&, bool float16);

void compare_kinds(const HeadSizes& s, Compare compare) {
  const HostHeads heads(s);
  for (const bool float16 : {false, true}) compare(heads, float16);
}

void compare_sizes(Compare compare) {
  for (const bool causal : {false, true}) {
    for (const int64_t depth : {64, 128}) {
      for (const bool joined : {false, true}) {
        compare_kinds({1, 1, 1, 1, depth, causal, joined}, compare);
        compare_kinds({2, 3, 191, 193, depth, causal, joined}, compare);
        compare_kinds({1, 2, 385, 385, depth, causal, joined}, compare);
        compare_kinds({1, 2, 130, 700, depth, causal, joined}, compare);
        compare_kinds({2, 1, 700, 70, depth, causal, joined}, compare);
      }
    }
  }
}

/// More parts than multiprocessors, several times and not a multiple.
void compare_many_parts(Compare compare) {
  for (const bool causal : {false, true}) {
    compare_kinds({3, 37, 257, 257, 64, causal, true}, compare);
    compare_kinds({5, 29, 200, 70, 128, causal, false}, compare);
  }
}

}  // namespace

TEST(gpu_every_way_attends) { compare_sizes(compare_attention); }

TEST(gpu_every_way_attends_in_many_parts) { compare_many_parts(compare_attention); }

TEST(gpu_every_way_keeps_large_scores) {
  for (const int64_t depth : {64, 128}) {
    for (const bool causal : {false, true})
      compare_kinds({1, 2, 300, 300, depth, causal, true, 16.0F}, compare_attention);
  }
}

TEST(gpu_every_way_differentiates_attention) { compare_sizes(compare_gradients); }

/// The scores of keys that are not there, zeros, lie above all others, and the row sums of the
/// gradients beyond what float16 holds, though no gradient of a score does.
TEST(gpu_every_way_differentiates_attention_beside_missing_keys) {
  for (const bool causal : {false, true}) {
    for (const bool joined : {false, true}) {
      for (const auto& [time, keys] : {std::pair{65, 65}, {191, 193}, {130, 70}}) {
        compare_kinds({1, 2, time, keys, 64, causal, joined, 4.0F, 8192.0F, true},
                      compare_gradients);
      }
    }
  }
}

TEST(gpu_every_way_differentiates_attention_in_many_parts) {
  compare_many_parts(compare_gradients);
}
