// Shared libraries opened at run time. Whatever is opened stays open: its threads and its memory
// may outlive everyone who used it.
#pragma once

#include <string>
#include <vector>

namespace tandem::cuda {

class DynamicLibrary {
 public:
  /// Opens the first of `candidates` (names for the loader, or paths) that can be opened. Those
  /// that are there but do not load, as for a library that they need and that is not, are told
  /// apart from those that are not there: `why()` names the former.
  explicit DynamicLibrary(const std::vector<std::string>& candidates);

  [[nodiscard]] bool is_open() const { return handle_ != nullptr; }
  /// The candidate that was opened.
  [[nodiscard]] const std::string& name() const { return name_; }
  /// What the loader said of the candidates that did not open.
  [[nodiscard]] const std::string& why() const { return why_; }
  /// Null when there is no such symbol.
  [[nodiscard]] void* symbol(const char* name) const;
  /// Puts a function of the library into `slot`; false when it has none of this name.
  template <typename Function>
  [[nodiscard]] bool load(Function*& slot, const char* name) const {
    slot = reinterpret_cast<Function*>(symbol(name));
    return slot != nullptr;
  }

 private:
  void* handle_ = nullptr;
  std::string name_;
  std::string why_;
};

}  // namespace tandem::cuda
