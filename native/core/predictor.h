// Inference: frozen weights behind plans without gradients. The weights are one copy in the layout
// that the kernels read; every plan adds scratch only. Threads: shapes() and make_session() may be
// called from any thread; a Session belongs to one at a time.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/model.h"
#include "core/precision.h"
#include "core/profile.h"

namespace tandem {

/// A file mapped into memory, which may be kept and costs nothing beyond what the system has in its
/// cache. For any thread.
class HostFile {
 public:
  HostFile() = default;
  HostFile(const HostFile&) = delete;
  HostFile& operator=(const HostFile&) = delete;
  virtual ~HostFile() = default;
  /// Lets a range go until it is read again.
  virtual void forget(const std::byte* data, int64_t bytes) const noexcept = 0;
  /// Throws ERR_FILE_FORMAT once the file is not what was mapped: what has been read from it since
  /// the last check is worth nothing then.
  virtual void check() const = 0;
};

/// Parameters in the memory of the host, from which a Predictor makes its own.
struct HostParameters {
  Memory memory;
  ParameterLayout layout;
  std::shared_ptr<const HostFile> file;  ///< that the memory is mapped from, if it is
};

class Predictor {
 public:
  /// `graphs` have the same parameters and share their memory; most functions mean the first.
  /// `parameters` is not referred to afterwards, unless it is a file's. `memory_limit`: bytes on
  /// the device, as profile() counts them, beyond which this and all sessions throw
  /// ERR_OUT_OF_MEMORY; 0: none.
  Predictor(HostParameters parameters, std::vector<GraphDescription> graphs, int threads,
            int64_t max_batch, const Backend& backend, Precision precision = Precision::kFloat32,
            int64_t memory_limit = 0);
  Predictor(const ParameterStore& parameters, GraphDescription graph, int threads,
            int64_t max_batch, const Backend& backend, Precision precision = Precision::kFloat32,
            int64_t memory_limit = 0);
  ~Predictor();

  [[nodiscard]] const GraphDescription& graph(size_t which = 0) const { return graphs_[which]; }
  [[nodiscard]] size_t graph_count() const { return graphs_.size(); }
  struct Shapes {
    std::vector<Tensor> inputs;
    std::vector<Tensor> outputs;
  };
  [[nodiscard]] Shapes shapes(int64_t rows, size_t which = 0) const;
  /// See op_relating_rows(): a graph that has one runs all rows of a call at a time.
  [[nodiscard]] std::optional<Op> relates_rows(size_t which = 0) const { return relating_[which]; }
  [[nodiscard]] const Backend& backend() const { return backend_; }
  /// Whether it runs on another device than the host.
  [[nodiscard]] bool on_device() const { return !backend_.shares_host_memory(); }
  /// How many rows at most a run of several calls may have for nobody to notice: each row is the
  /// bits that it is alone. 1 where that is not known, and where memory is limited, which others
  /// would miss that asked for theirs.
  [[nodiscard]] int64_t joinable_rows(size_t which = 0) const;
  /// Zeros where the device keeps state: for inputs that nodes change, which sessions expect there.
  [[nodiscard]] Memory allocate_state(int64_t bytes) const { return backend_.allocate(bytes); }
  /// Counts memory that a caller is about to take, `buffers` bytes of inputs and outputs on the
  /// host and `state` bytes on the device, against the limit until the result is gone, which must
  /// be before this is. Throws ERR_OUT_OF_MEMORY.
  [[nodiscard]] std::shared_ptr<const void> hold(int64_t buffers, int64_t state);
  [[nodiscard]] Profile profile() const;

  /// Plans and scratch of one caller at a time.
  class Session {
   public:
    explicit Session(Predictor& owner, size_t which = 0)
        : Session(owner, which, owner.threads_, true) {}
    /// For runs of calls that nobody asked to join: profile() counts what they take and does not
    /// name their kernels. `alone`: each stays on the thread that makes it.
    static std::unique_ptr<Session> for_joined_calls(Predictor& owner, size_t which, bool alone);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    /// `inputs` and `outputs` hold `rows` rows; calls over max_batch are cut into several runs, and
    /// fail with kAborted between two of them once `halt` is true. Throws ERR_SHAPE where they
    /// cannot be cut.
    void run(int64_t rows, const std::vector<const void*>& inputs,
             const std::vector<void*>& outputs, const std::atomic<bool>* halt = nullptr);
    /// Binds fixed buffers once; run_bound() then runs with no look-up at all.
    void bind(int64_t rows, const std::vector<const void*>& inputs,
              const std::vector<void*>& outputs);
    void run_bound();
    /// Milliseconds that the next run of so many rows, or of the bound buffers, is expected to
    /// take.
    [[nodiscard]] double expected_ms(int64_t rows) const noexcept;
    [[nodiscard]] double expected_bound_ms() const noexcept { return latencies_.expected_ms(); }

   private:
    friend class Predictor;
    struct Compiled;
    Session(Predictor& owner, size_t which, int threads, bool is_named);
    void run_rows(int64_t rows, const std::vector<const void*>& inputs,
                  const std::vector<void*>& outputs, const std::atomic<bool>* halt);
    Compiled& compiled(int64_t batch);
    Compiled& use(int64_t batch, Compiled& plan);
    static void bind_input(Compiled& plan, size_t index, const void* data);
    void grow_arena(int64_t bytes);
    void forget_oldest_plan();

    [[nodiscard]] const GraphDescription& graph() const { return owner_.graphs_[which_]; }

    Predictor& owner_;
    size_t which_;          ///< of the owner's graphs
    int threads_;           ///< of runs
    bool is_named_;         ///< in profile(), by its kernels
    bool fixed_batch_;      ///< no input has a free batch: every run is one whole batch
    bool may_cut_ = false;  ///< check_rows() has found that calls may be cut
    Memory arena_;
    std::unordered_map<int64_t, std::unique_ptr<Compiled>> plans_;
    int64_t uses_ = 0;  ///< changes from one plan to another
    int64_t latest_batch_ = -1;
    Compiled* latest_ =
        nullptr;  ///< the plan of latest_batch_: most callers always send as many rows
    Compiled* bound_ = nullptr;
    int64_t latest_rows_ = -1;  ///< of the last run
    LatencyWindow latencies_;
    StepState state_{};
  };

 private:
  struct Held;
  [[nodiscard]] std::vector<bool> pack_parameters();
  /// What is held, and with `more` what that would add; behind profile_mutex_.
  [[nodiscard]] MemoryUse memory_use(const Executable* more = nullptr) const;
  /// Throws ERR_OUT_OF_MEMORY where there is no room for so many bytes, and for `executable`,
  /// beside what is held and the state of callers.
  void check_memory(int64_t bytes, const Executable* executable = nullptr) const;
  void keep_parameters(const std::vector<bool>& read, const HostParameters& host);
  /// After every run: results of weights that are no longer those of the file are none.
  void check_file() const {
    if (file_ != nullptr) file_->check();
  }

  std::vector<GraphDescription> graphs_;
  std::vector<std::optional<Op>> relating_;  ///< rows, by graph
  std::vector<int64_t> least_rows_;          ///< of a run, by graph
  ParameterLayout layout_;
  std::shared_ptr<const HostFile> file_;  ///< that parameters_ is mapped from; null once copied
  const Backend& backend_;
  Precision precision_;
  int threads_;
  int64_t max_batch_;
  int64_t memory_limit_;
  std::mutex mutex_;  ///< guards compiling and weights; taken before the next one
  /// Guards what profile() reads: the sessions, their plans and arenas, what is held. Nobody keeps
  /// it for long, since event loops wait for it.
  mutable std::mutex profile_mutex_;
  Memory parameters_;
  std::unique_ptr<FrozenWeights> frozen_;
  std::vector<Session*> sessions_;
  int64_t held_buffers_ = 0;  ///< see hold(); of a device with memory of its own none
  int64_t held_state_ = 0;
};

}  // namespace tandem
