// Attention in bfloat16 or float16: the ways to compute it, and their launchers.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/launch.h"

namespace tandem::cuda {

struct Attention;
struct AttentionGradient;

/// By warps, each for itself (kernels/attention_half.cu), or by groups of four as only compute
/// capability 9.0 has them (kernels/attention_wgmma.cu).
enum class AttentionWay : uint8_t { kWarps, kWarpgroups };

/// What attention and its gradients take where it is offered, otherwise kWarps.
inline constexpr AttentionWay kPreferredAttention = AttentionWay::kWarpgroups;
inline constexpr AttentionWay kPreferredGradients = AttentionWay::kWarpgroups;

/// Whether the current device has groups of warps, and attention by them computes `a`: heads of 64
/// or 128 numbers, values like keys, without a mask. Gradients: heads of 64.
bool has_attention_warpgroups(const Attention& a);
bool has_gradient_warpgroups(const Attention& a);
/// Attention, and the gradients of q, k and v, by groups of warps. Throw ERR_DEVICE where the
/// current device does not have it.
void launch_attention_warpgroups(Launch& launch, const Attention& a, bool float16);
void launch_gradient_warpgroups(Launch& launch, const AttentionGradient& g, bool float16);

/// Ways in which the current device computes a node of attention that rounds to 16 bits, and one of
/// its gradients.
std::vector<AttentionWay> attention_ways(const Launch& launch);
std::vector<AttentionWay> gradient_ways(const Launch& launch);
/// Compute those nodes in one of them.
void launch_attention_by(Launch& launch, AttentionWay way);
void launch_gradients_by(Launch& launch, AttentionWay way);

/// `preferred` where it is among `ways`.
inline AttentionWay chosen_way(const std::vector<AttentionWay>& ways, AttentionWay preferred) {
  for (const AttentionWay way : ways) {
    if (way == preferred) return way;
  }
  return AttentionWay::kWarps;
}

}  // namespace tandem::cuda
