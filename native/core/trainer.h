// Training: a plan for each batch size that comes, over one set of arenas. One thread at a time.
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "core/loss_scaler.h"
#include "core/model.h"
#include "core/precision.h"
#include "core/profile.h"
#include "core/reduce.h"
#include "core/result_sizes.h"
#include "core/update.h"

namespace tandem {

/// What to do, with numeric checks, about a step that is not finite. In fp16-mixed that is about a
/// loss; steps of which only gradients are not finite are left out, and the next losses scaled by
/// less.
struct SkipPolicy {
  bool skips = false;        ///< leave the step out and go on; otherwise throw ERR_NUMERIC
  double backoff = 0.5;      ///< factor on the learning rate after such a step
  int recovery_steps = 100;  ///< good ones in a row that take one factor back
  int max_skips = 10;        ///< in a row; one more throws
};

struct TrainerOptions {
  Op optimizer = Op::sgd;
  AttributeStorage optimizer_attributes;
  /// As in UpdateOptions; empty: one group with `optimizer_attributes` of all trainable parameters.
  std::vector<AttributeStorage> groups;
  std::vector<int32_t> group_of;
  double max_gradient_norm = 0;   ///< 0: no clipping
  double max_gradient_value = 0;  ///< 0: no clipping
  double average_decay = 0;       ///< of the moving averages of parameters; 0: none are kept
  bool accumulates = false;       ///< steps may have several micro-batches
  /// Outputs of the graph that means divide by, one number each: what divisors() computes.
  std::vector<size_t> divisors;
  /// Elements of the graph's last input, which is no rows: what the terms of the loss are divided
  /// or multiplied by in a micro-batch, so that they add up over a step. 0: there is no such input.
  size_t scales = 0;
  /// Segments of the forward pass that are computed anew: 0 none, kChooseSegments those that need
  /// the least memory.
  int segments = 0;
  static constexpr int kChooseSegments = -1;
  bool check_numerics = false;
  SkipPolicy skip;
  std::shared_ptr<GradientReducer> reducer;  ///< null: local_reducer()
  uint64_t seed = 0;
  int threads = 0;
  int64_t memory_limit = 0;  ///< bytes on the device, as profile() counts them; 0: no limit
  Precision precision = Precision::kFloat32;
};

/// A part of a step, which is the whole of it unless the trainer accumulates.
struct MicroBatch {
  double weight = 1;  ///< share of its gradients in the mean of those of the step so far
  bool first = true;  ///< a step begins; one that was not finished is forgotten
  bool last = true;   ///< the parameters are updated; norm and rate are NaN before
  const double* scales = nullptr;  ///< TrainerOptions::scales of them; null: 1 each
};

/// What a plan of a Trainer computes.
enum class Work : uint8_t { kTrain, kEvaluate, kEvaluateAverages, kDivisors };

class Trainer {
 public:
  /// Output 0 of the graph is the loss, one number; the others have any shape whose elements are a
  /// fixed number and so many for each row. Throws ERR_ARGUMENT, ERR_SHAPE, ERR_OUT_OF_MEMORY, and
  /// ERR_DEVICE when the device lacks a kernel.
  Trainer(std::shared_ptr<ParameterStore> parameters, GraphDescription graph,
          const TrainerOptions& options, const Backend& backend);
  ~Trainer();

  /// Adds a graph with the same parameters, number 1 and so on: the model at another length of its
  /// sequences, say. Steps and evaluations run any of them over one set of parameters, gradients
  /// and optimizer state, also as micro-batches of one step. Between two steps. Throws ERR_ARGUMENT
  /// for one whose parameters are updated in another way, and as the constructor does.
  size_t add_graph(GraphDescription graph);
  static constexpr size_t kMaxGraphs = 64;
  [[nodiscard]] const GraphDescription& graph(size_t which = 0) const {
    return graphs_[which]->description;
  }
  [[nodiscard]] size_t graph_count() const { return graphs_.size(); }
  /// "cpu", "cuda:0"
  [[nodiscard]] const char* device() const { return backend_.name(); }
  [[nodiscard]] const Backend& backend() const { return backend_; }
  /// Whether that is another one than the host.
  [[nodiscard]] bool on_device() const { return !backend_.shares_host_memory(); }
  /// Numbers that evaluate() writes for `batch` rows: all elements of a graph's outputs. train()
  /// writes two more: the gradients' norm, and the learning rate as used, 0 for a step that was
  /// skipped.
  [[nodiscard]] size_t results_of(int64_t batch, size_t which = 0) const;
  static constexpr size_t kStepResults = 2;

  /// One optimizer step on `batch` rows, or one micro-batch of it. `inputs`: one pointer a graph
  /// input, of its dtype. Throws ERR_NUMERIC with the step's number and what the first NaN or
  /// infinity came from, the parameters unchanged; running statistics may have seen micro-batches
  /// before. In fp16-mixed a step whose gradients are not finite is skipped instead, until the
  /// scale of losses is as small as it can be.
  ///
  /// `next`: inputs of the call after this one, of as many rows, which may be copied to the device
  /// while this step computes; they have to stay as they are until then, or until forget_next().
  void train(int64_t batch, const std::vector<const void*>& inputs, double learning_rate,
             double* results, MicroBatch micro_batch = {}, size_t which = 0,
             const std::vector<const void*>* next = nullptr);
  /// What has been said of a next call does not hold.
  void forget_next();
  /// Whether a step has begun that waits for its further micro-batches.
  [[nodiscard]] bool is_within_step() const { return state_.part != 0; }
  /// The graph's outputs on `batch` rows in inference mode.
  void evaluate(int64_t batch, const std::vector<const void*>& inputs, double* results,
                size_t which = 0);
  /// The same with what copy_averages() copied in place of the parameters. Throws ERR_ARGUMENT
  /// before it was called.
  void evaluate_averages(int64_t batch, const std::vector<const void*>& inputs, double* results,
                         size_t which = 0);
  /// TrainerOptions::divisors alone, and nothing that only other outputs need, also between the
  /// micro-batches of a step.
  void divisors(int64_t batch, const std::vector<const void*>& inputs, double* results,
                size_t which = 0);
  [[nodiscard]] size_t divisor_count() const { return options_.divisors.size(); }
  [[nodiscard]] size_t scale_count() const { return options_.scales; }

  /// Brings the host's copy of the parameters up to date with the device's, and the other way
  /// round. Nothing to do where both are the same memory.
  void sync();
  void upload();
  /// Copies the averages as they are now, with the statistics beside them, for
  /// evaluate_averages(). Throws ERR_ARGUMENT where none are kept, ERR_OUT_OF_MEMORY.
  void copy_averages();
  /// Whether a step has been taken that was not skipped: before, averages are the parameters.
  [[nodiscard]] bool averages_begun() const { return progress_.step > progress_.skipped; }

  /// All that changes from step to step beside the numbers of save().
  struct Progress {
    uint64_t step = 0;
    double backoff = 1;      ///< factor on learning rates
    int good_steps = 0;      ///< since the last one that was skipped or that raised the factor
    int skips = 0;           ///< the last so many steps were skipped by the policy
    uint64_t skipped = 0;    ///< of all steps, for whatever reason
    LossScaler loss_scaler;  ///< of fp16-mixed
  };
  [[nodiscard]] Progress progress() const { return progress_; }
  /// Of what save() writes and load() reads, in floats: the parameters as their arena lies, then
  /// each slot of optimizer state, then the averages if they are kept, as its trainable part lies.
  struct SavedLayout {
    int64_t parameters, trainable, slots;
    bool averages;
    [[nodiscard]] int64_t floats() const {
      return parameters + trainable * (slots + (averages ? 1 : 0));
    }
  };
  [[nodiscard]] SavedLayout saved_layout() const;
  /// Between two steps. The host's copy of the parameters is brought up to date, too.
  void save(float* to);
  void load(const float* from, const Progress& progress);

  /// What the last step of `batch` rows took; infinite before the first.
  [[nodiscard]] double expected_step_ms(int64_t batch, size_t which = 0) const noexcept;
  [[nodiscard]] uint64_t step() const { return progress_.step; }
  [[nodiscard]] Profile profile() const;

 private:
  struct Compiled;
  struct PlanKey {
    Work work;
    int64_t batch;
    size_t which;
    bool operator<(const PlanKey& other) const noexcept {
      return std::tie(work, batch, which) < std::tie(other.work, other.batch, other.which);
    }
  };
  struct OwnGraph {
    GraphDescription description;
    std::vector<ResultSize> results;  ///< of each output
    int64_t row_inputs = 0;           ///< elements of all inputs in a row
  };
  [[nodiscard]] std::unique_ptr<OwnGraph> check_graph(GraphDescription graph) const;
  [[nodiscard]] std::vector<StateRange> check_updates(const GraphDescription& graph) const;
  Compiled& compiled(PlanKey key);
  std::unique_ptr<Compiled> compile(PlanKey key);
  [[nodiscard]] Plan make_inference_plan(PlanKey key) const;
  [[nodiscard]] Plan make_training_plan(PlanKey key) const;
  [[nodiscard]] std::unique_ptr<Executable> compile_plan(const Plan& plan, const Memory& parameters,
                                                         bool announces) const;
  void compile_update();
  void run(Compiled& plan, const std::vector<const void*>& inputs, double* results);
  void begin_part(double learning_rate, const MicroBatch& micro_batch);
  void reduce_and_update();
  [[nodiscard]] bool scales_loss() const { return options_.precision == Precision::kFp16Mixed; }
  [[nodiscard]] bool must_refuse() const;
  [[nodiscard]] bool is_of_policy() const;
  [[noreturn]] void refuse_step(PlanKey key, const std::vector<const void*>& inputs, double loss);
  void back_off() noexcept;
  void recover() noexcept;
  void reserve_arena(int64_t bytes);
  /// What is held, and `more` with the arena that it needs as if it were compiled already.
  [[nodiscard]] MemoryUse memory_use(const Compiled* more = nullptr) const;
  void check_memory(const Compiled& more) const;
  /// Calls visit(place in what save() writes, own, count) for each piece of optimizer state.
  template <typename Visit>
  void visit_state(const Visit& visit, float* state) const;

  std::shared_ptr<ParameterStore> parameters_;
  TrainerOptions options_;
  std::vector<std::unique_ptr<OwnGraph>> graphs_;
  const Backend& backend_;
  UpdateOptions update_options_;
  OptimizerLayout optimizer_layout_;
  std::vector<StateRange> state_ranges_;
  Memory device_parameters_;
  Memory averages_;  ///< what copy_averages() copied, laid out as the parameters
  Memory gradients_;
  Memory optimizer_state_;
  Memory arena_;
  StepState state_{};
  Progress progress_;
  bool is_bad_ = false;        ///< a micro-batch of this step was not finite
  bool is_bad_loss_ = false;   ///< the same of its loss
  std::vector<float> scales_;  ///< bound to the graph's last input
  std::map<PlanKey, std::unique_ptr<Compiled>> plans_;
  std::unique_ptr<Compiled> update_;  ///< of update_options_.apart
  std::vector<Bucket> buckets_;       ///< the same: what ranks reduce one after the other
  LatencyWindow latencies_;
};

}  // namespace tandem
