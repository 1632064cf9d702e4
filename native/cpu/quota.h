// How much of the processors the control groups of Linux leave to this process.
#pragma once

#include <string>

namespace tandem::cpu {

/// The smallest quota in processors of this process' group and of those around it, in version 2 or
/// 1 of control groups; 0 where there is none, or no such system. `proc` and `mount` stand for
/// /proc/self and /sys/fs/cgroup.
double cgroup_quota(const std::string& proc = "/proc/self",
                    const std::string& mount = "/sys/fs/cgroup");

}  // namespace tandem::cpu
