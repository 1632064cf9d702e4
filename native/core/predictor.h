// Inference: frozen weights behind plans without gradients. The weights are one copy in the layout
// that the kernels read; every plan adds scratch only. Threads: shapes() and make_session() may be
// called from any thread; a Session belongs to one at a time.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/model.h"
#include "core/precision.h"
#include "core/profile.h"

namespace tandem {

class Predictor {
 public:
  Predictor(const ParameterStore& parameters, GraphDescription graph, int threads,
            int64_t max_batch, const Backend& backend, Precision precision = Precision::kFloat32);
  ~Predictor();

  [[nodiscard]] const GraphDescription& graph() const { return graph_; }
  [[nodiscard]] int64_t max_batch() const { return max_batch_; }
  struct Shapes {
    std::vector<Tensor> inputs;
    std::vector<Tensor> outputs;
  };
  [[nodiscard]] Shapes shapes(int64_t rows) const;
  [[nodiscard]] Profile profile() const;

  /// Plans and scratch of one caller at a time.
  class Session {
   public:
    explicit Session(Predictor& owner);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    /// `inputs` and `outputs` hold `rows` rows; calls over max_batch are cut into several runs, and
    /// fail with kAborted between two of them once `halt` is true.
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
    void run_rows(int64_t rows, const std::vector<const void*>& inputs,
                  const std::vector<void*>& outputs, const std::atomic<bool>* halt);
    Compiled& compiled(int64_t batch);
    Compiled& use(int64_t batch, Compiled& plan);

    Predictor& owner_;
    Memory arena_;
    std::unordered_map<int64_t, std::unique_ptr<Compiled>> plans_;
    int64_t latest_batch_ = -1;
    Compiled* latest_ =
        nullptr;  ///< the plan of latest_batch_: most callers always send as many rows
    Compiled* bound_ = nullptr;
    int64_t latest_rows_ = -1;  ///< of the last run
    LatencyWindow latencies_;
    StepState state_{};
  };

 private:
  void drop_unread_parameters(const std::vector<bool>& read);

  GraphDescription graph_;
  ParameterLayout layout_;
  const Backend& backend_;
  Precision precision_;
  int threads_;
  bool fixed_batch_;  ///< no input has a free batch: every run is one whole batch
  int64_t max_batch_;
  mutable std::mutex mutex_;  ///< guards compiling, weights and the profile
  Memory parameters_;
  std::unique_ptr<FrozenWeights> frozen_;
  std::vector<Session*> sessions_;
};

}  // namespace tandem
