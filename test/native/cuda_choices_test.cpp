// The file that keeps which candidates of products were the fastest: what it gives back, and that
// damage, other machines and candidates that are no longer offered count as nothing kept.
#include "cuda/host/choice_file.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "check.h"

using namespace tandem;
using namespace tandem::cuda;

namespace {

/// A name for a file that is not there, and is removed at the end.
class Path {
 public:
  Path()
      : path_(std::filesystem::temp_directory_path() /
              ("tandem-choices-" + std::to_string(getpid()))) {
    std::filesystem::remove(path_);
  }
  ~Path() {
    std::error_code error;
    std::filesystem::remove(path_, error);
  }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  [[nodiscard]] std::string name() const { return path_.string(); }
  [[nodiscard]] std::string read() const {
    std::ostringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

 private:
  std::filesystem::path path_;
};

Product product(int64_t m) {
  Product p;
  p.m = m;
  p.n = 64;
  p.k = 65;
  p.type = ProductType::kBfloat16;
  p.trans_b = p.adds = true;
  p.y_row = 128;
  return p;
}

ProductChoice choice(uint64_t id, double ms) {
  ProductChoice c;
  for (uint64_t& word : c.algorithm.data) word = id++ * 0x0123456789abcdefU;
  c.found = true;
  c.ms = ms;
  return c;
}

/// A library that has one algorithm after another, and how many were measured.
struct Offer {
  std::vector<lt::HeuristicResult> results;
  int measured = 0;
};
Offer offer;

lt::HeuristicResult candidate(uint64_t id, size_t workspace) {
  lt::HeuristicResult result{};
  result.algorithm.data[0] = id;
  result.workspace_bytes = workspace;
  return result;
}

lt::Functions fake_functions() {
  lt::Functions f{};
  const auto create = [](void** object) {
    *object = &offer;
    return lt::kSuccess;
  };
  const auto destroy = [](void*) { return lt::kSuccess; };
  f.MatmulDescCreate = [](lt::Descriptor* d, lt::ComputeType, lt::DataType) {
    *d = &offer;
    return lt::kSuccess;
  };
  f.MatmulDescDestroy = destroy;
  f.MatmulDescSetAttribute = [](lt::Descriptor, lt::DescAttribute, const void*, size_t) {
    return lt::kSuccess;
  };
  f.MatrixLayoutCreate = [](lt::Layout* layout, lt::DataType, uint64_t, uint64_t, int64_t) {
    *layout = &offer;
    return lt::kSuccess;
  };
  f.MatrixLayoutDestroy = destroy;
  f.MatmulPreferenceCreate = create;
  f.MatmulPreferenceDestroy = destroy;
  f.MatmulPreferenceSetAttribute = [](lt::Preference, lt::PreferenceAttribute, const void*,
                                      size_t) { return lt::kSuccess; };
  f.MatmulAlgoGetHeuristic = [](lt::Handle, lt::Descriptor, lt::Layout, lt::Layout, lt::Layout,
                                lt::Layout, lt::Preference, int, lt::HeuristicResult* results,
                                int* count) {
    *count = static_cast<int>(offer.results.size());
    std::copy(offer.results.begin(), offer.results.end(), results);
    return lt::kSuccess;
  };
  return f;
}

/// What a process that starts anew chooses: the least id, or a kernel of our own in `own` ms.
ProductChoice choose(const Path& path, const Product& p, double own = -1) {
  const lt::Functions lt = fake_functions();
  ChoiceFile file(path.name(), "a machine");
  offer.measured = 0;
  ProductChoices choices(
      lt, nullptr,
      [](ProductDescription&, const Product&, const lt::HeuristicResult& c) {
        ++offer.measured;
        return static_cast<double>(c.algorithm.data[0]);
      },
      FloatDevice{132, 8},
      [own](const Product&, FloatWay way) {
        ++offer.measured;
        return way == FloatWay{FloatTile::k32x32, 2} ? own : -1;
      },
      &file);
  return choices.choose(p);
}

}  // namespace

TEST(cuda_choices_are_there_for_the_next_process) {
  const Path path;
  CHECK(ChoiceFile().find(product(1)) == nullptr);
  {
    ChoiceFile file(path.name(), "a machine");
    CHECK(file.find(product(1)) == nullptr);
    file.add(product(1), choice(8, 0.5));
    file.add(product(1), choice(7, 0.125));  // by a process that did not find that offered
    ProductChoice own;
    own.own = {FloatTile::k64x64, 4};
    own.ms = 1e-3;
    file.add(product(2), own);
  }
  const ChoiceFile file(path.name(), "a machine");
  const ProductChoice* const first = file.find(product(1));
  CHECK(first != nullptr);
  if (first == nullptr) return;
  CHECK(first->algorithm == choice(7, 0).algorithm && first->ms == 0.125);
  CHECK(first->own.splits == 0);
  const ProductChoice* const second = file.find(product(2));
  CHECK(second != nullptr);
  if (second == nullptr) return;
  CHECK(second->ms == 1e-3);
  CHECK((second->own == FloatWay{FloatTile::k64x64, 4}));
  CHECK(file.find(product(3)) == nullptr);
  Product other = product(1);
  other.adds = false;
  CHECK(file.find(other) == nullptr);
  CHECK(ChoiceFile(path.name(), "another machine").find(product(1)) == nullptr);
}

TEST(cuda_choices_survive_damage) {
  const Path path;
  ChoiceFile(path.name(), "a machine").add(product(1), choice(7, 0.125));
  const std::string line = path.read();
  const auto is_kept = [&](const std::string& text) {
    path.write(text);
    return ChoiceFile(path.name(), "a machine").find(product(1)) != nullptr;
  };
  CHECK(is_kept(line) && is_kept("nonsense\n" + line + std::string(1000, '\0')));
  for (size_t i = 1; i + 1 < line.size(); ++i) {
    std::string damaged = line;
    damaged[i] = damaged[i] == '1' ? '2' : '1';
    CHECK(!is_kept(damaged));
    CHECK(!is_kept(line.substr(0, i)));
    // what is added to a line that was cut off is whole
    path.write(line.substr(0, i));
    ChoiceFile(path.name(), "a machine").add(product(1), choice(7, 0.125));
    CHECK(ChoiceFile(path.name(), "a machine").find(product(1)) != nullptr);
  }
  CHECK(!is_kept(std::string(size_t{3} << 20, '\n') + line));  // nobody has written that much
  ChoiceFile("/nowhere/choices", "a machine").add(product(1), choice(7, 0.125));
}

TEST(cuda_products_take_what_was_kept_where_it_is_still_offered) {
  const Path path;
  Product p = product(64);
  offer.results = {candidate(4, 100), candidate(2, 200)};
  CHECK(choose(path, p).workspace_bytes == 200 && offer.measured == 2);
  ProductChoice again = choose(path, p);
  CHECK(again.found && again.algorithm.data[0] == 2 && again.workspace_bytes == 200);
  CHECK(again.ms == 2 && offer.measured == 0);
  offer.results = {candidate(4, 100), candidate(3, 50)};  // not by this library
  CHECK(choose(path, p).algorithm.data[0] == 3 && offer.measured == 2);
  offer.results = {candidate(2, 200), candidate(3, 70)};  // what it needs now counts
  again = choose(path, p);
  CHECK(again.algorithm.data[0] == 3 && again.workspace_bytes == 70 && offer.measured == 0);
}

TEST(cuda_products_take_ways_of_their_own_that_were_kept) {
  const Path path;
  Product p;
  p.m = p.n = 64;
  p.k = 512;
  offer.results = {candidate(4, 100)};
  CHECK(choose(path, p, 3).own.splits == 2 && offer.measured > 1);
  const ProductChoice again = choose(path, p, 5);
  CHECK((again.found && again.own == FloatWay{FloatTile::k32x32, 2} && again.ms == 3));
  CHECK(offer.measured == 0);
  // what nobody could try is measured next time
  p.k = 1024;
  const std::string before = path.read();
  CHECK(choose(path, p, std::numeric_limits<double>::infinity()).found);
  CHECK(path.read() != before);  // the library's is there
  p.k = 2048;
  offer.results = {};
  const std::string then = path.read();
  CHECK(choose(path, p, std::numeric_limits<double>::infinity()).found);
  CHECK(path.read() == then);
}
