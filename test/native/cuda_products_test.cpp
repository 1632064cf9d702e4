// Products as cuBLASLt is told of them, and the choice of its algorithms, with a table of functions
// that the tests make. That the library computes what is asked of it is for a device to show.
#include "cuda/host/products.h"

#include <cstring>
#include <limits>

#include "check.h"
#include "core/error.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

/// What the functions below were called with.
struct Calls {
  int created = 0, destroyed = 0;
  int heuristics = 0;
  std::vector<std::pair<uint64_t, uint64_t>> layouts;  ///< rows and columns
  std::vector<int64_t> leading;
  int32_t trans_a = -1, trans_b = -1;
  uint32_t epilogue = 0;
  uint32_t reductions = 0;
  uint32_t alignments[4] = {};  ///< of A, B, C and D
  std::vector<lt::HeuristicResult> results;
  lt::Status matmul = lt::kSuccess;
  const void *a = nullptr, *b = nullptr, *bias = nullptr;
};
Calls calls;

lt::Status create(void** object) {
  *object = &calls;
  ++calls.created;
  return lt::kSuccess;
}
lt::Status destroy(void* /*object*/) {
  ++calls.destroyed;
  return lt::kSuccess;
}

template <typename T>
T read(const void* value, size_t bytes) {
  T result{};
  CHECK(bytes == sizeof result);
  std::memcpy(&result, value, sizeof result);
  return result;
}

lt::Status set_descriptor(lt::Descriptor /*descriptor*/, lt::DescAttribute attribute,
                          const void* value, size_t bytes) {
  if (attribute == lt::kTransA) calls.trans_a = read<int32_t>(value, bytes);
  if (attribute == lt::kTransB) calls.trans_b = read<int32_t>(value, bytes);
  if (attribute == lt::kEpilogue) calls.epilogue = read<uint32_t>(value, bytes);
  if (attribute == lt::kBiasPointer) calls.bias = read<const void*>(value, bytes);
  return lt::kSuccess;
}

lt::Functions fake_functions() {
  lt::Functions f{};
  f.MatmulDescCreate = [](lt::Descriptor* d, lt::ComputeType, lt::DataType) { return create(d); };
  f.MatmulDescDestroy = destroy;
  f.MatmulDescSetAttribute = set_descriptor;
  f.MatrixLayoutCreate = [](lt::Layout* layout, lt::DataType, uint64_t rows, uint64_t columns,
                            int64_t ld) {
    calls.layouts.emplace_back(rows, columns);
    calls.leading.push_back(ld);
    return create(layout);
  };
  f.MatrixLayoutDestroy = destroy;
  f.MatrixLayoutSetAttribute = [](lt::Layout, lt::LayoutAttribute, const void*, size_t) {
    return lt::kSuccess;
  };
  f.MatmulPreferenceCreate = create;
  f.MatmulPreferenceDestroy = destroy;
  f.MatmulPreferenceSetAttribute = [](lt::Preference, lt::PreferenceAttribute attribute,
                                      const void* value, size_t bytes) {
    if (attribute == lt::kReductionSchemeMask) calls.reductions = read<uint32_t>(value, bytes);
    if (attribute >= lt::kMinAlignmentA && attribute < lt::kMinAlignmentA + 4)
      calls.alignments[attribute - lt::kMinAlignmentA] = read<uint32_t>(value, bytes);
    return lt::kSuccess;
  };
  f.MatmulAlgoGetHeuristic = [](lt::Handle, lt::Descriptor, lt::Layout, lt::Layout, lt::Layout,
                                lt::Layout, lt::Preference, int requested,
                                lt::HeuristicResult* results, int* returned) {
    ++calls.heuristics;
    *returned = static_cast<int>(calls.results.size());
    CHECK(*returned <= requested);
    for (size_t i = 0; i < calls.results.size(); ++i) results[i] = calls.results[i];
    return calls.results.empty() ? lt::kNotSupported : lt::kSuccess;
  };
  f.Matmul = [](lt::Handle, lt::Descriptor, const void*, const void* a, lt::Layout, const void* b,
                lt::Layout, const void*, const void*, lt::Layout, void*, lt::Layout,
                const lt::Algorithm*, void*, size_t, lt::Stream) {
    calls.a = a;
    calls.b = b;
    return calls.matmul;
  };
  return f;
}

lt::HeuristicResult candidate(uint64_t id, size_t workspace, lt::Status state = lt::kSuccess) {
  lt::HeuristicResult result{};
  result.algorithm.data[0] = id;
  result.workspace_bytes = workspace;
  result.state = state;
  return result;
}

Product product(int64_t m, int64_t n, int64_t k) {
  Product p;
  p.m = m;
  p.n = n;
  p.k = k;
  return p;
}

double by_id(ProductDescription& /*description*/, const Product& /*product*/,
             const lt::HeuristicResult& candidate) {
  const uint64_t id = candidate.algorithm.data[0];
  return id == 9 ? -1 : static_cast<double>(id);  // 9 fails
}

}  // namespace

TEST(cuda_product_is_described_in_columns) {
  calls = {};
  const lt::Functions lt = fake_functions();
  Product linear = product(3, 5, 7);  // [3, 7] by the transpose of [5, 7]
  linear.trans_b = true;
  linear.bias = true;
  linear.epilogue = ProductEpilogue::kGelu;
  {
    ProductDescription description(lt, linear);
    const float bias[5] = {};
    const float a[21] = {};
    const float b[35] = {};
    float y[15] = {};
    CHECK(description.run(nullptr, {a, b, y, bias, nullptr, nullptr}, {}, 0, nullptr) ==
          lt::kSuccess);
    // the library's A is the weight, transposed; its B is x; its D is y, all column by column
    CHECK(calls.trans_a == lt::kOpT && calls.trans_b == lt::kOpN);
    CHECK(calls.layouts[0] == std::pair(uint64_t{7}, uint64_t{5}));
    CHECK(calls.layouts[1] == std::pair(uint64_t{7}, uint64_t{3}));
    CHECK(calls.layouts[2] == std::pair(uint64_t{5}, uint64_t{3}));
    CHECK(calls.leading == std::vector<int64_t>({7, 7, 5}));
    CHECK(calls.epilogue == lt::kGeluBias);
    CHECK(calls.a == b && calls.b == a && calls.bias == bias);
  }
  CHECK(calls.created == 4 && calls.destroyed == 4);
}

TEST(cuda_product_of_transposed_operands) {
  calls = {};
  const lt::Functions lt = fake_functions();
  Product p = product(3, 5, 7);  // the transpose of [7, 3] by [7, 5]
  p.trans_a = true;
  const ProductDescription description(lt, p);
  CHECK(calls.trans_a == lt::kOpN && calls.trans_b == lt::kOpT);
  CHECK(calls.layouts[0] == std::pair(uint64_t{5}, uint64_t{7}));
  CHECK(calls.layouts[1] == std::pair(uint64_t{3}, uint64_t{7}));
  CHECK(calls.epilogue == lt::kDefault);
}

TEST(cuda_product_of_more_matrices_than_the_library_counts_is_refused) {
  calls = {};
  const lt::Functions lt = fake_functions();
  Product p = product(1, 1, 1);
  p.batch = (int64_t{1} << 32) + 1;  // of which 32 bits would keep one
  ErrorCode code = ErrorCode::kDevice;
  try {
    const ProductDescription description(lt, p);
  } catch (const Error& error) {
    code = error.code();
  }
  CHECK(code == ErrorCode::kShape && calls.created == 0);
}

TEST(cuda_products_choose_the_fastest_and_remember_it) {
  calls = {};
  calls.results = {candidate(4, 100), candidate(9, 0), candidate(2, 200), candidate(3, 0)};
  const lt::Functions lt = fake_functions();
  int measured = 0;
  ProductChoices choices(
      lt, nullptr, [&](ProductDescription& d, const Product& p, const lt::HeuristicResult& c) {
        ++measured;
        return by_id(d, p, c);
      });
  const ProductChoice best = choices.choose(product(64, 64, 64));
  CHECK(best.found && best.algorithm.data[0] == 2 && best.workspace_bytes == 200);
  CHECK(measured == 4 && calls.heuristics == 1);
  CHECK(choices.choose(product(64, 64, 64)).algorithm.data[0] == 2);
  CHECK(measured == 4 && calls.heuristics == 1);
  Product other = product(64, 64, 64);
  other.epilogue = ProductEpilogue::kGelu;
  CHECK(choices.choose(other).found && calls.heuristics == 2 && choices.size() == 2);
}

TEST(cuda_products_take_no_candidate_that_does_not_fit) {
  calls = {};
  const size_t too_much = static_cast<size_t>(ProductChoices::kMaxWorkspace) + 1;
  calls.results = {candidate(1, too_much), candidate(2, 0, lt::kNotSupported), candidate(5, 64)};
  const lt::Functions lt = fake_functions();
  ProductChoices choices(lt, nullptr, by_id);
  CHECK(choices.choose(product(8, 8, 8)).algorithm.data[0] == 5);
  // sums of parts in place come in any order
  CHECK(calls.reductions == (lt::kReductionComputeType | lt::kReductionOutputType));
  calls.results = {};
  CHECK(!choices.choose(product(9, 8, 8)).found);
  calls.results = {candidate(9, 0)};
  CHECK(!choices.choose(product(10, 8, 8)).found);
  CHECK(calls.created == calls.destroyed);
}

TEST(cuda_products_take_the_first_where_no_memory_is_left_to_try_them) {
  calls = {};
  calls.results = {candidate(4, 0), candidate(2, 0)};
  const lt::Functions lt = fake_functions();
  bool has_memory = false;
  ProductChoices choices(
      lt, nullptr, [&](ProductDescription& d, const Product& p, const lt::HeuristicResult& c) {
        return has_memory ? by_id(d, p, c) : std::numeric_limits<double>::infinity();
      });
  CHECK(choices.choose(product(8, 8, 8)).algorithm.data[0] == 4);
  // plans have room for what that needs, and are recorded later
  has_memory = true;
  CHECK(choices.choose(product(8, 8, 8)).algorithm.data[0] == 4);
  CHECK(choices.choose(product(8, 8, 16)).algorithm.data[0] == 2);
}

TEST(cuda_products_claim_the_alignment_that_strides_have) {
  calls = {};
  calls.results = {candidate(1, 0)};
  const lt::Functions lt = fake_functions();
  ProductChoices choices(lt, nullptr, by_id);
  const auto claimed = [&](const Product& p) {
    static_cast<void>(choices.choose(p));
    return std::vector<uint32_t>(calls.alignments, calls.alignments + 4);
  };
  Product p = product(6, 4, 5);
  p.type = ProductType::kBfloat16;
  CHECK(claimed(p) == std::vector<uint32_t>({16, 16, 16, 16}));
  p.batch = 3;
  p.a_step = 30;  // 60 bytes
  p.b_step = 20;  // 40 bytes, of what the library calls A
  p.y_step = 24;
  CHECK(claimed(p) == std::vector<uint32_t>({8, 4, 16, 16}));
  p.a_step = 0;  // one matrix of 60 bytes for all of this batch, and another behind it for the next
  CHECK(claimed(p) == std::vector<uint32_t>({8, 4, 16, 16}));
  p.m = 7;  // of 70 bytes
  p.y_step = 28;
  CHECK(claimed(p) == std::vector<uint32_t>({8, 2, 16, 16}));
  p.type = ProductType::kFloat32;
  p.y_step = 29;
  CHECK(claimed(p) == std::vector<uint32_t>({16, 4, 4, 4}));
}

TEST(cuda_products_take_ways_of_their_own_where_they_are_faster) {
  calls = {};
  calls.results = {candidate(4, 100)};
  const lt::Functions lt = fake_functions();
  constexpr FloatDevice kDevice{132, 8};
  double fastest = 3;  // milliseconds with 4 splits; others take 10
  const auto measure = [&](const Product& /*product*/, FloatWay way) {
    return way == FloatWay{FloatTile::k32x32, 4} ? fastest : 10.0;
  };
  ProductChoices choices(lt, nullptr, by_id, kDevice, measure);
  ProductChoice choice = choices.choose(product(128, 512, 784));
  CHECK(choice.found && choice.workspace_bytes == 0);
  CHECK((choice.own == FloatWay{FloatTile::k32x32, 4}));
  fastest = 4;  // no faster than the library
  choice = choices.choose(product(128, 256, 512));
  CHECK(choice.found && choice.own.splits == 0 && choice.workspace_bytes == 100);
  fastest = -1;  // none works
  choice = choices.choose(product(256, 256, 512));
  CHECK(choice.found && choice.own.splits == 0);
  calls.results = {};
  fastest = 5;
  choice = choices.choose(product(128, 10, 256));
  CHECK((choice.found && choice.own == FloatWay{FloatTile::k32x32, 4}));
  Product tf32 = product(128, 10, 256);
  tf32.type = ProductType::kTf32;
  CHECK(!choices.choose(tf32).found && choices.ways(tf32).empty());
}

TEST(cuda_products_ask_the_library_only_for_epilogues_that_it_has) {
  calls = {};
  calls.results = {candidate(1, 100)};
  const lt::Functions lt = fake_functions();
  const auto measure = [](const Product& /*product*/, FloatWay /*way*/) { return 10.0; };
  ProductChoices choices(lt, nullptr, by_id, FloatDevice{132, 8}, measure);
  Product p = product(128, 256, 512);
  // it makes 0 of a NaN, and the other's gradient needs bits that it has saved
  for (const auto epilogue : {ProductEpilogue::kRelu, ProductEpilogue::kReluGradient}) {
    p.epilogue = epilogue;
    const ProductChoice own = choices.choose(p);
    CHECK(own.found && own.own.splits > 0 && own.ms == 10);
    CHECK(calls.heuristics == 0);
  }
  p.type = ProductType::kTf32;  // which kernels of our own do not multiply
  CHECK(!choices.choose(p).found);
  p.epilogue = ProductEpilogue::kGeluGradient;
  const ProductChoice library = choices.choose(p);
  CHECK(library.found && library.own.splits == 0 && library.ms == 1);
}

TEST(cuda_float_ways_give_every_multiprocessor_work) {
  constexpr FloatDevice kDevice{132, 8};
  using Ways = std::vector<FloatWay>;
  constexpr auto kSmall = FloatTile::k32x32;
  constexpr auto kLarge = FloatTile::k64x64;
  // 64 small tiles and 16 large ones
  CHECK((float_ways(product(128, 512, 784), kDevice) == Ways{{kSmall, 1},
                                                             {kSmall, 2},
                                                             {kSmall, 4},
                                                             {kSmall, 8},
                                                             {kLarge, 1},
                                                             {kLarge, 2},
                                                             {kLarge, 4},
                                                             {kLarge, 8}}));
  // no block without summands
  CHECK((float_ways(product(128, 10, 65), kDevice) ==
         Ways{{kSmall, 1}, {kSmall, 2}, {kLarge, 1}, {kLarge, 2}}));
  CHECK((float_ways(product(1, 1, 1), kDevice) == Ways{{kSmall, 1}, {kLarge, 1}}));
  // 1024 small tiles and 256 large ones, then as many in a batch
  CHECK((float_ways(product(1024, 1024, 512), kDevice) ==
         Ways{{kSmall, 1}, {kLarge, 1}, {kLarge, 2}}));
  Product batch = product(64, 64, 512);
  batch.batch = 1000;
  CHECK((float_ways(batch, kDevice) == Ways{{kLarge, 1}}));
  CHECK(float_ways(product(8192, 8192, 512), kDevice).empty());
  CHECK(float_ways(product(int64_t{1} << 40, 8, 8), kDevice).empty());
  CHECK(float_ways(product(8, 8, 0), kDevice).empty());
  // a device without clusters, and one without the kernel
  CHECK((float_ways(product(128, 512, 784), {80, 1}) == Ways{{kSmall, 1}, {kLarge, 1}}));
  CHECK(float_ways(product(128, 512, 784), {}).empty());
}
