// The quota of control groups, from files as Linux shows them.
#include "cpu/quota.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"

namespace {

namespace fs = std::filesystem;

/// A folder with files, which goes with it.
class Tree {
 public:
  Tree() : root_(fs::temp_directory_path() / ("tandem-quota-" + std::to_string(counter_++))) {
    fs::remove_all(root_);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  Tree& write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << '\n';
    return *this;
  }
  [[nodiscard]] double quota() const {
    return tandem::cpu::cgroup_quota((root_ / "proc").string(), (root_ / "mount").string());
  }

 private:
  static inline int counter_ = 0;
  fs::path root_;
};

}  // namespace

TEST(quota_of_no_group) {
  CHECK(Tree().quota() == 0);
  CHECK(Tree().write("proc/cgroup", "0::/").quota() == 0);
  CHECK(Tree().write("proc/cgroup", "nonsense\n0:\n::\n0::relative").quota() == 0);
}

TEST(quota_of_a_container_in_its_own_namespace) {
  Tree tree;
  tree.write("proc/cgroup", "0::/").write("mount/cpu.max", "150000 100000");
  CHECK(tree.quota() == 1.5);
  CHECK(tree.write("mount/cpu.max", "max 100000").quota() == 0);
  CHECK(tree.write("mount/cpu.max", "100000 0").quota() == 0);
  CHECK(tree.write("mount/cpu.max", "").quota() == 0);
}

TEST(quota_of_a_nested_group) {
  Tree tree;
  tree.write("proc/cgroup", "0::/system.slice/app.service/worker");
  tree.write("mount/system.slice/app.service/worker/cpu.max", "max 100000");
  CHECK(tree.quota() == 0);
  tree.write("mount/system.slice/cpu.max", "400000 100000");
  CHECK(tree.quota() == 4);
  tree.write("mount/system.slice/app.service/cpu.max", "200000 100000");
  CHECK(tree.quota() == 2);
  tree.write("mount/system.slice/cpu.max", "100000 100000");
  CHECK(tree.quota() == 1);
}

TEST(quota_of_version_1) {
  Tree tree;
  tree.write("proc/cgroup", "9:memory:/m\n4:cpu,cpuacct:/docker/1\n3:cpuset:/c");
  tree.write("mount/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1");
  tree.write("mount/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000");
  CHECK(tree.quota() == 0);
  tree.write("mount/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "300000");
  CHECK(tree.quota() == 3);
  tree.write("mount/cpu/cpu.cfs_quota_us", "50000");
  CHECK(tree.quota() == 3);
  tree.write("mount/cpu/cpu.cfs_period_us", "100000");
  CHECK(tree.quota() == 0.5);
  tree.write("mount/memory/m/cpu.cfs_quota_us", "1").write("mount/memory/m/cpu.cfs_period_us", "9");
  CHECK(tree.quota() == 0.5);
}
