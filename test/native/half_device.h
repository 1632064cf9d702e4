// A device that plans as a GPU does, with factors rounded once, and runs that on the CPU.
#pragma once

#include "cpu_device.h"
#include "cuda/host/rounded_results.h"

namespace tandem {

/// Plans as for a GPU, run on the CPU.
struct HalfDevice final : CpuDevice {
  [[nodiscard]] bool supports(Op op) const override {
    return op != Op::chain && op != Op::roundToFloat16;
  }
  [[nodiscard]] bool updates_on_the_way() const override { return false; }
  [[nodiscard]] bool adds_in_products() const override { return false; }
  [[nodiscard]] int64_t factor_row() const override { return shares ? 8 : 0; }
  [[nodiscard]] bool rounds_result(const Graph& graph, const Node& node,
                                   const RoundedResult& how) const override {
    return merges && cuda::rounds_result(graph, node, how);
  }
  // what the CPU has no kernels for: such plans cannot run
  [[nodiscard]] bool reads_rounded(const Graph& graph, const Node& node) const override {
    return !runs && cuda::reads_rounded(graph, node);
  }
  [[nodiscard]] bool reads_padded(const Graph& /*graph*/, const Node& node) const override {
    return !runs && cuda::reads_padded(node.op);
  }
  [[nodiscard]] int64_t workspace_bytes(const Graph& graph, const Node& node,
                                        bool frozen) const override {
    // numbers of 16 bits cost a device with kernels for them nothing
    return runs ? CpuDevice::workspace_bytes(graph, node, frozen) : 0;
  }

  bool shares = true, merges = true, runs = true;
  HalfDevice() = default;
  HalfDevice(bool shares_factors, bool merges_rounding, bool can_run = true)
      : shares(shares_factors), merges(merges_rounding), runs(can_run) {}
};

}  // namespace tandem
