#include "cuda/host/choice_file.h"

#include <array>
#include <bit>
#include <filesystem>
#include <fstream>
#include <locale>
#include <sstream>

namespace tandem::cuda {
namespace {

constexpr std::uintmax_t kMostBytes = std::uintmax_t{1} << 20;  // some thousand products
constexpr size_t kProductNumbers = 16;
constexpr size_t kNumbers = kProductNumbers + 11;
using Numbers = std::array<uint64_t, kNumbers>;

/// FNV-1a, from `sum` on.
uint64_t checksum(const std::string& text, uint64_t sum) {
  constexpr uint64_t kPrime = 0x100000001b3;
  for (const char c : text) sum = (sum ^ static_cast<unsigned char>(c)) * kPrime;
  return sum;
}

uint64_t number(int64_t x) { return static_cast<uint64_t>(x); }

Numbers numbers_of(const Product& p, const ProductChoice& c) {
  const lt::Algorithm& a = c.algorithm;
  return {static_cast<uint64_t>(p.type),
          static_cast<uint64_t>(p.epilogue),
          p.trans_a ? 1U : 0U,
          p.trans_b ? 1U : 0U,
          p.bias ? 1U : 0U,
          p.adds ? 1U : 0U,
          number(p.m),
          number(p.n),
          number(p.k),
          number(p.batch),
          number(p.a_step),
          number(p.b_step),
          number(p.y_step),
          number(p.a_row),
          number(p.b_row),
          number(p.y_row),
          static_cast<uint64_t>(c.own.tile),
          number(c.own.splits),
          std::bit_cast<uint64_t>(c.ms),
          a.data[0],
          a.data[1],
          a.data[2],
          a.data[3],
          a.data[4],
          a.data[5],
          a.data[6],
          a.data[7]};
}

Product product_of(const Numbers& n) {
  const auto size = [&](size_t i) { return static_cast<int64_t>(n[i]); };
  Product p;
  p.type = static_cast<ProductType>(n[0]);
  p.epilogue = static_cast<ProductEpilogue>(n[1]);
  p.trans_a = n[2] != 0;
  p.trans_b = n[3] != 0;
  p.bias = n[4] != 0;
  p.adds = n[5] != 0;
  p.m = size(6);
  p.n = size(7);
  p.k = size(8);
  p.batch = size(9);
  p.a_step = size(10);
  p.b_step = size(11);
  p.y_step = size(12);
  p.a_row = size(13);
  p.b_row = size(14);
  p.y_row = size(15);
  return p;
}

ProductChoice choice_of(const Numbers& n) {
  ProductChoice c;
  c.found = true;
  c.own = {static_cast<FloatTile>(n[kProductNumbers]),
           static_cast<int32_t>(n[kProductNumbers + 1])};
  c.ms = std::bit_cast<double>(n[kProductNumbers + 2]);
  for (size_t i = 0; i < std::size(c.algorithm.data); ++i)
    c.algorithm.data[i] = n[kProductNumbers + 3 + i];
  return c;
}

std::string text_of(const Numbers& numbers) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << std::hex;
  for (const uint64_t n : numbers) text << n << ' ';
  return text.str();
}

/// False where the line is damaged, or another machine's.
bool read_line(const std::string& line, uint64_t machine, Numbers& numbers) {
  std::istringstream text(line);
  text.imbue(std::locale::classic());
  text >> std::hex;
  for (uint64_t& n : numbers) text >> n;
  uint64_t sum = 0;
  text >> sum;
  return !text.fail() && sum == checksum(text_of(numbers), machine);
}

}  // namespace

ChoiceFile::ChoiceFile(std::string path, const std::string& machine)
    : path_(std::move(path)), machine_(checksum(machine, 0xcbf29ce484222325)) {
  std::error_code error;
  if (std::filesystem::file_size(path_, error) > 2 * kMostBytes || error) return;  // not ours
  std::ifstream file(path_, std::ios::binary);
  std::string line;
  Numbers numbers{};
  while (std::getline(file, line)) {
    // the last counts: who wrote it could not take what was there before
    if (read_line(line, machine_, numbers))
      kept_.insert_or_assign(product_of(numbers), choice_of(numbers));
  }
}

const ProductChoice* ChoiceFile::find(const Product& product) const {
  const auto kept = kept_.find(product);
  return kept == kept_.end() ? nullptr : &kept->second;
}

void ChoiceFile::add(const Product& product, const ProductChoice& choice) {
  if (path_.empty()) return;
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path_, error);
  if (!error && bytes >= kMostBytes) return;
  const std::string text = text_of(numbers_of(product, choice));
  std::ostringstream line;
  line.imbue(std::locale::classic());
  // one that was cut off before stays a line of its own
  line << '\n' << text << std::hex << checksum(text, machine_) << '\n';
  std::ofstream(path_, std::ios::binary | std::ios::app) << line.str();
}

}  // namespace tandem::cuda
