#include "cpu/quota.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <vector>

namespace tandem::cpu {
namespace {

/// The numbers at the head of a file: none where it is missing or says "max".
std::vector<double> read_numbers(const std::string& path) {
  std::ifstream file(path);
  std::vector<double> numbers;
  for (double number = 0; file >> number;) numbers.push_back(number);
  return numbers;
}

/// Of one group: "200000 100000", or version 1's two files with a number each.
double quota_of(const std::string& group, bool version2) {
  std::vector<double> numbers = read_numbers(group + (version2 ? "/cpu.max" : "/cpu.cfs_quota_us"));
  if (!version2) {
    for (const double period : read_numbers(group + "/cpu.cfs_period_us"))
      numbers.push_back(period);
  }
  return numbers.size() == 2 && numbers[0] > 0 && numbers[1] > 0 ? numbers[0] / numbers[1] : 0;
}

double smaller(double a, double b) { return a == 0 || (b != 0 && b < a) ? b : a; }

/// The group at `path` and those around it, up to the mount, which in a container may be the
/// process' own group under another name.
double smallest_quota(const std::string& mount, std::string path, bool version2) {
  double quota = quota_of(mount, version2);
  while (path.size() > 1) {
    quota = smaller(quota, quota_of(mount + path, version2));
    path.resize(path.rfind('/'));
  }
  return quota;
}

bool lists_cpu(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

}  // namespace

double cgroup_quota(const std::string& proc, const std::string& mount) {
  double quota = 0;
  std::ifstream groups(proc + "/cgroup");
  // "0::/path" in version 2, "4:cpu,cpuacct:/path" in version 1.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || line.compare(second + 1, 1, "/") != 0) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      quota = smaller(quota, smallest_quota(mount, path, true));
    } else if (lists_cpu(controllers)) {
      for (const std::string& name : {"/" + controllers, std::string("/cpu")})
        quota = smaller(quota, smallest_quota(mount + name, path, false));
    }
  }
  return quota;
}

}  // namespace tandem::cpu
