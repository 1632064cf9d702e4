// Attention in bfloat16 or float16: the ways to compute it, and their launchers.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/launch.h"

namespace tandem::cuda {

struct Attention;

/// By warps, each for itself (kernels/attention_half.cu), or by groups of four as only compute
/// capability 9.0 has them (kernels/attention_wgmma.cu).
enum class AttentionWay : uint8_t { kWarps, kWarpgroups };

/// What attention takes where it is offered, otherwise kWarps. Groups of warps have never run on a
/// device: once gpu_every_way_attends passes on one, this is the line to change.
inline constexpr AttentionWay kPreferredAttention = AttentionWay::kWarps;

/// Whether the current device has groups of warps, and attention by them computes `a`: heads of 64
/// or 128 numbers, values like keys, without a mask.
bool has_attention_warpgroups(const Attention& a);
/// Attention by groups of warps. Throws ERR_DEVICE where the current device does not have it.
void launch_attention_warpgroups(Launch& launch, const Attention& a, bool float16);

/// Ways in which the current device computes a node of attention that rounds to 16 bits.
std::vector<AttentionWay> attention_ways(Launch& launch);
/// Computes that node in one of them.
void launch_attention_by(Launch& launch, AttentionWay way);

}  // namespace tandem::cuda
