#include "binding/prediction.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/input_block.h"

namespace tandem::binding {

Prediction::Prediction(napi_env env, LoadedPredictor loaded, size_t graph)
    : owned(std::move(loaded.predictor)),
      which(graph),
      device_reason(std::move(loaded.device_reason)),
      input_count(predictor.graph(which).inputs.size()),
      output_count(predictor.graph(which).outputs.size()),
      sync_inputs(input_count),
      sync_outputs(output_count),
      aside_outputs(output_count),
      memory(env),
      lane_inputs(input_count),
      lane_outputs(output_count) {
  // what all graphs share is reported with the first
  if (which > 0) reported_rows = std::numeric_limits<int64_t>::max();
  report_memory(1, predictor.profile().memory.total());
}

const std::shared_ptr<const Signature>& Prediction::signature(int64_t rows) {
  for (const auto& known : signatures_) {
    if (known->rows == rows) return known;
  }
  const Predictor::Shapes shapes = predictor.shapes(rows, which);
  auto fresh = std::make_shared<Signature>();
  fresh->rows = rows;
  for (const auto* tensors : {&shapes.inputs, &shapes.outputs}) {
    for (const Tensor& tensor : *tensors) {
      fresh->entries.push_back({tensor.numel, tensor.dtype, fresh->bytes});
      fresh->bytes += static_cast<size_t>(align_input(checked_mul(tensor.numel, 4)));
    }
  }
  constexpr size_t kRemembered = 4;
  if (signatures_.size() < kRemembered) return signatures_.emplace_back(std::move(fresh));
  return signatures_[next_signature_++ % kRemembered] = std::move(fresh);
}

void Prediction::report_memory(int64_t rows, int64_t bytes) {
  if (rows <= reported_rows) return;
  reported_rows = rows;
  memory.set(bytes);
}

std::string Prediction::name_of(size_t i) const {
  if (i < input_count) return predictor.graph(which).inputs[i].name;
  return "outputs[" + std::to_string(i - input_count) + "]";
}

void Prediction::check_array(const Signature& signature, size_t i, const ArrayView& array) const {
  const Signature::Entry& expected = signature.entries[i];
  if (!is_exactly(array, expected.dtype) &&
      (i >= input_count || !converts_to(array, expected.dtype))) {
    fail_dtype(array, expected.dtype, name_of(i));
  }
  if (array.length != static_cast<uint64_t>(expected.elements)) {
    fail_length(expected.elements, array.length, name_of(i));
  }
}

PredictionJob::PredictionJob(const Call& call, std::shared_ptr<Prediction> prediction, int64_t rows,
                             size_t first, napi_value cancel)
    : addon_(call.addon()),
      prediction_(std::move(prediction)),
      signature_(prediction_->signature(rows)),
      pool_(prediction_->staging.pool_of(signature_->bytes)),
      may_grow_(rows > prediction_->reported_rows) {
  // Everything is checked before anything is taken.
  for (size_t i = first; i < call.count(); ++i) checked_view(call, first, i - first);
  if (cancel != nullptr) cancel_ = Reference(call.env(), cancel);
  cancellable_ = cancel != nullptr;
  staging_ = pool_.take();
  try {
    staging_.resize(signature_->bytes);
    copy_inputs(call, first);
    if (call.count() - first > prediction_->input_count) lease_outputs(call, first);
  } catch (...) {
    drop_leases();
    pool_.give(std::move(staging_));
    throw;
  }
}

PredictionJob::~PredictionJob() {
  drop_leases();
  pool_.give(std::move(staging_));
}

void PredictionJob::drop_leases() noexcept {
  for (const Output& output : outputs_) addon_.leases().remove(output.lease);
}

ArrayView PredictionJob::checked_view(const Call& call, size_t first, size_t i) const {
  const ArrayView view =
      view_array(call.env(), call[first + i], [&] { return prediction_->name_of(i); });
  prediction_->check_array(*signature_, i, view);
  return view;
}

void PredictionJob::copy_inputs(const Call& call, size_t first) {
  for (size_t i = 0; i < prediction_->input_count; ++i) {
    const ArrayView view = checked_view(call, first, i);
    const Signature::Entry& entry = signature_->entries[i];
    if (is_exactly(view, entry.dtype)) {
      if (view.length > 0) std::memcpy(staging_.data() + entry.offset, view.data, view.length * 4);
    } else {
      copy_elements(view, 0, view.length, entry.dtype, staging_.data() + entry.offset,
                    prediction_->name_of(i));
    }
  }
}

void PredictionJob::lease_outputs(const Call& call, size_t first) {
  outputs_.reserve(prediction_->output_count);
  for (size_t k = 0; k < prediction_->output_count; ++k) {
    const size_t i = prediction_->input_count + k;
    const ByteRange range = checked_view(call, first, i).bytes();
    if (addon_.leases().overlaps(range)) {
      fail(ErrorCode::kBusy, "expected memory of its own for `" + prediction_->name_of(i) +
                                 "`, received memory that another output or a pending call writes");
    }
    Reference array(call.env(), call[first + i]);
    addon_.leases().add(range);
    outputs_.push_back({std::move(array), range});
  }
}

// What fails together runs alone, so that each call fails for its own reasons.
void PredictionJob::meet(Job& next) noexcept {
  if (has_run_ || prediction_->joined.most_rows() == 1) return;
  try {
    run_joined(next);
  } catch (...) {
    prediction_->joined.give_up();
  }
}

void PredictionJob::run_joined(Job& next) {
  // The first run alone shows how long one takes.
  const double expected_ms = prediction_->lane_session.expected_ms(signature_->rows);
  if (!std::isfinite(expected_ms)) return;
  JoinedRuns& runs = prediction_->joined;
  std::vector<PredictionJob*> jobs;
  runs.begin();
  for (Job* job = this; job != nullptr; job = job == this ? &next : job->behind()) {
    auto* const call = dynamic_cast<PredictionJob*>(job);
    if (call == nullptr || call->prediction_ != prediction_) break;
    if (!runs.add(*call->signature_, call->staging_.data())) break;
    jobs.push_back(call);
  }
  if (jobs.size() < 2) return;
  runs.run(expected_ms);
  for (PredictionJob* job : jobs) job->has_run_ = true;
}

void PredictionJob::run(const std::atomic<bool>& halt) {
  if (has_run_) return;
  std::vector<const void*>& inputs = prediction_->lane_inputs;
  std::vector<void*>& outputs = prediction_->lane_outputs;
  for (size_t i = 0; i < signature_->entries.size(); ++i) {
    std::byte* const place = staging_.data() + signature_->entries[i].offset;
    if (i < inputs.size()) {
      inputs[i] = place;
    } else {
      outputs[i - inputs.size()] = place;
    }
  }
  prediction_->lane_session.run(signature_->rows, inputs, outputs, &halt);
  // Here and not in finish(): the event loop has better things to do.
  if (may_grow_) bytes_ = prediction_->predictor.profile().memory.total();
}

// One that can be cancelled has to leave JavaScript the time to do so.
double PredictionJob::expected_ms() const noexcept {
  return cancellable_ ? Job::expected_ms()
                      : prediction_->lane_session.expected_ms(signature_->rows);
}

bool PredictionJob::cancelled(napi_env env) const {
  ArrayView view;
  const napi_value cancel = cancel_.value();
  return cancel != nullptr && try_view_array(env, cancel, view) && view.length > 0 &&
         *static_cast<const int32_t*>(view.data) != 0;
}

napi_value PredictionJob::finish(napi_env env) {
  if (bytes_ >= 0) prediction_->report_memory(signature_->rows, bytes_);
  if (cancelled(env)) fail(ErrorCode::kAborted, "the prediction was aborted");
  if (outputs_.empty()) return make_outputs(env);
  write_outputs(env);
  return nullptr;
}

napi_value PredictionJob::make_outputs(napi_env env) const {
  const auto make = [&](size_t k) {
    const Signature::Entry& entry = signature_->entries[prediction_->input_count + k];
    return make_array(env, entry.dtype, staging_.data() + entry.offset,
                      static_cast<size_t>(entry.elements));
  };
  const size_t count = prediction_->output_count;
  if (count == 1) return make(0);
  Napi::Array list = Napi::Array::New(env, count);
  for (size_t k = 0; k < count; ++k) list.Set(static_cast<uint32_t>(k), Napi::Value(env, make(k)));
  return list;
}

void PredictionJob::write_outputs(napi_env env) const {
  std::vector<void*> targets;
  for (size_t k = 0; k < outputs_.size(); ++k) {
    const size_t i = prediction_->input_count + k;
    ArrayView view;
    if (!try_view_array(env, outputs_[k].array.value(), view) ||
        view.length < static_cast<size_t>(signature_->entries[i].elements)) {
      fail(ErrorCode::kArgument,
           "expected `" + prediction_->name_of(i) +
               "` to stay as it was, received an array that has been detached or shrunk");
    }
    targets.push_back(view.data);
  }
  for (size_t k = 0; k < targets.size(); ++k) {
    const Signature::Entry& entry = signature_->entries[prediction_->input_count + k];
    const auto bytes = static_cast<size_t>(entry.elements) * 4;
    if (bytes > 0) std::memcpy(targets[k], staging_.data() + entry.offset, bytes);
  }
}

}  // namespace tandem::binding
