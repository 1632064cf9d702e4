// Ops that not every GPU has enough shared memory for.
#pragma once

#include <cstdint>

#include "core/op_list.h"
#include "cuda/host/attention_layout.h"

namespace tandem::cuda {

/// Bytes that a block of the op's largest kernel asks for; 0 for what no kernel has to ask for. Of
/// compute capability 7.5, which has 64 KiB, backends refuse what needs more.
constexpr int64_t shared_needed(Op op) {
  switch (op) {
    case Op::attention:
      return attention_shared_bytes(128);
    case Op::attentionGrad:
      return attention_grad_shared_bytes();
    default:
      return 0;
  }
}

}  // namespace tandem::cuda
