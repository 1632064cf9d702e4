#include "binding/joined_runs.h"

#include <cstring>

#include "binding/lane.h"

namespace tandem::binding {
namespace {

constexpr int64_t kElementBytes = 4;

}  // namespace

int64_t JoinedRuns::most_rows() noexcept {
  if (most_rows_ == 0) {
    try {
      most_rows_ = predictor_.joinable_rows(which_);
    } catch (...) {
      give_up();
    }
  }
  return most_rows_;
}

void JoinedRuns::begin() noexcept {
  parts_.clear();
  rows_ = 0;
}

bool JoinedRuns::add(const Signature& signature, std::byte* block) {
  if (rows_ + signature.rows > most_rows_) return false;
  parts_.push_back({&signature, block});
  rows_ += signature.rows;
  return true;
}

void JoinedRuns::run(double expected_ms) {
  // Calls that are brief alone keep to the lane's thread together as well.
  if (session_ == nullptr)
    session_ = Predictor::Session::for_joined_calls(predictor_, which_, expected_ms < kBriefMs);
  place_arrays();
  each_array(0, inputs_.size(),
             [](std::byte* here, const std::byte* call, size_t n) { std::memcpy(here, call, n); });
  session_->run(rows_, inputs_, outputs_);
  each_array(inputs_.size(), places_.size(),
             [](const std::byte* here, std::byte* call, size_t n) { std::memcpy(call, here, n); });
}

void JoinedRuns::place_arrays() {
  const Signature& first = *parts_.front().signature;
  const size_t input_count = predictor_.graph(which_).inputs.size();
  const auto bytes_here = [&](const Signature::Entry& entry) {
    return static_cast<size_t>(align_up(entry.elements / first.rows * rows_ * kElementBytes));
  };
  size_t bytes = 0;
  for (const Signature::Entry& entry : first.entries) bytes += bytes_here(entry);
  block_.resize(bytes);
  places_.clear();
  inputs_.clear();
  outputs_.clear();
  std::byte* place = block_.data();
  for (const Signature::Entry& entry : first.entries) {
    if (places_.size() < input_count) {
      inputs_.push_back(place);
    } else {
      outputs_.push_back(place);
    }
    places_.push_back(place);
    place += bytes_here(entry);
  }
}

template <typename Copy>
void JoinedRuns::each_array(size_t first, size_t end, const Copy& copy) const {
  for (size_t i = first; i < end; ++i) {
    std::byte* place = places_[i];
    for (const Part& part : parts_) {
      const Signature::Entry& entry = part.signature->entries[i];
      const auto bytes = static_cast<size_t>(entry.elements * kElementBytes);
      if (bytes > 0) copy(place, part.block + entry.offset, bytes);
      place += bytes;
    }
  }
}

}  // namespace tandem::binding
