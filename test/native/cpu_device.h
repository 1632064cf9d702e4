// The CPU as a device of its own: what tests change of it they override.
#pragma once

#include "core/backend.h"

namespace tandem {

class CpuDevice : public Backend {
 public:
  [[nodiscard]] const char* name() const override { return cpu_backend().name(); }
  [[nodiscard]] bool supports(Op op) const override { return cpu_backend().supports(op); }
  [[nodiscard]] bool shares_host_memory() const override { return true; }
  void copy(std::byte* to, const std::byte* from, int64_t bytes, CopyKind kind) const override {
    cpu_backend().copy(to, from, bytes, kind);
  }
  [[nodiscard]] bool updates_on_the_way() const override {
    return cpu_backend().updates_on_the_way();
  }
  [[nodiscard]] bool adds_in_products() const override { return cpu_backend().adds_in_products(); }
  [[nodiscard]] Memory allocate(int64_t bytes) const override {
    return cpu_backend().allocate(bytes);
  }
  [[nodiscard]] int64_t workspace_bytes(const Graph& graph, const Node& node,
                                        bool frozen) const override {
    return cpu_backend().workspace_bytes(graph, node, frozen);
  }
  [[nodiscard]] std::unique_ptr<FrozenWeights> make_frozen_weights() const override {
    return cpu_backend().make_frozen_weights();
  }
  [[nodiscard]] std::unique_ptr<Executable> compile(const CompileRequest& request) const override {
    return cpu_backend().compile(request);
  }
};

}  // namespace tandem
