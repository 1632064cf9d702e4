// What a Trainer keeps beyond its life: parameters, optimizer state, averages.
#include <algorithm>
#include <cstring>

#include "core/memory_limit.h"
#include "core/trainer.h"

namespace tandem {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

/// Memory of a device as the host sees it, and how to bring changes back.
class Mirror {
 public:
  Mirror(const Backend& backend, const Memory& memory) : backend_(backend), memory_(memory) {
    if (backend_.shares_host_memory()) return;
    copy_.resize(static_cast<size_t>(memory.bytes / kFloatBytes));
    backend_.copy(bytes(), memory_.data.get(), memory_.bytes, CopyKind::kToHost);
  }
  [[nodiscard]] float* data() {
    return copy_.empty() ? reinterpret_cast<float*>(memory_.data.get()) : copy_.data();
  }
  void write_back() {
    if (!copy_.empty())
      backend_.copy(memory_.data.get(), bytes(), memory_.bytes, CopyKind::kToDevice);
  }

 private:
  std::byte* bytes() { return reinterpret_cast<std::byte*>(copy_.data()); }
  const Backend& backend_;
  const Memory& memory_;
  std::vector<float> copy_;
};

}  // namespace

Trainer::SavedLayout Trainer::saved_layout() const {
  const ParameterLayout& layout = parameters_->layout();
  return {layout.bytes / kFloatBytes, layout.trainable_bytes / kFloatBytes, optimizer_layout_.slots,
          options_.average_decay != 0};
}

template <typename Visit>
void Trainer::visit_state(const Visit& visit, float* state) const {
  const SavedLayout saved = saved_layout();
  for (const StateRange& range : state_ranges_) {
    for (int64_t slot = 0; slot < saved.slots; ++slot) {
      visit(saved.parameters + slot * saved.trainable + range.first,
            state + saved.slots * range.first + slot * range.count, range.count);
    }
  }
  if (saved.averages) {
    visit(saved.parameters + saved.slots * saved.trainable, state + optimizer_layout_.averages,
          saved.trainable);
  }
}

void Trainer::save(float* to) {
  sync();
  const SavedLayout saved = saved_layout();
  std::memcpy(to, parameters_->memory().data.get(),
              static_cast<size_t>(parameters_->layout().bytes));
  // the state of parameters that never change, and of padding
  std::fill_n(to + saved.parameters, saved.floats() - saved.parameters, 0.0F);
  Mirror state(backend_, optimizer_state_);
  visit_state(
      [to](int64_t at, const float* own, int64_t count) { std::copy_n(own, count, to + at); },
      state.data());
  if (saved.averages && !averages_begun())
    std::copy_n(to, saved.trainable, to + saved.parameters + saved.slots * saved.trainable);
}

void Trainer::load(const float* from, const Progress& progress) {
  std::memcpy(parameters_->memory().data.get(), from,
              static_cast<size_t>(parameters_->layout().bytes));
  upload();
  Mirror state(backend_, optimizer_state_);
  visit_state([from](int64_t at, float* own, int64_t count) { std::copy_n(from + at, count, own); },
              state.data());
  state.write_back();
  progress_ = progress;
  state_.part = 0;
}

void Trainer::copy_averages() {
  if (options_.average_decay == 0)
    fail(ErrorCode::kArgument, "expected a trainer that keeps averages, received one without");
  const ParameterLayout& layout = parameters_->layout();
  if (averages_.data == nullptr) {
    const int64_t bytes = std::max(layout.bytes, kAlignment);
    const int64_t held = memory_use().total();
    check_memory_limit(options_.memory_limit, held, checked_add(held, bytes), backend_);
    averages_ = backend_.allocate(bytes);
  }
  const auto copy = [this](int64_t to, const std::byte* from, int64_t bytes) {
    if (bytes > 0) backend_.copy(averages_.data.get() + to, from, bytes, CopyKind::kWithinDevice);
  };
  const std::byte* const kept =
      optimizer_state_.data.get() + optimizer_layout_.averages * kFloatBytes;
  copy(0, averages_begun() ? kept : device_parameters_.data.get(), layout.trainable_bytes);
  copy(layout.trainable_bytes, device_parameters_.data.get() + layout.trainable_bytes,
       layout.bytes - layout.trainable_bytes);
}

}  // namespace tandem
