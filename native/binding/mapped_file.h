// A file of weights in the address space: pages come from the system's cache when they are read,
// and all processes that map the file share them.
#pragma once

#include <cstdint>
#include <string>

#include "core/predictor.h"

namespace tandem::binding {

class MappedFile {
 public:
  /// Takes a descriptor of its own, which JavaScript may close. Throws ERR_ARGUMENT.
  explicit MappedFile(int descriptor);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  /// Tells versions of files apart: device, file, size and times of change.
  [[nodiscard]] const std::string& identity() const { return identity_; }
  /// Parameters at these positions. Throws ERR_FILE_FORMAT where the file has not so many bytes;
  /// one that loses them later does not end the process: see HostFile.
  [[nodiscard]] HostParameters map(const std::vector<int64_t>& positions,
                                   const std::vector<ParameterDescription>& parameters) const;

 private:
  int descriptor_;
  int64_t size_ = 0;
  int64_t modified_ = 0;  ///< when, in nanoseconds
  std::string identity_;
};

}  // namespace tandem::binding
