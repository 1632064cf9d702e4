#include "binding/prediction.h"

#include <cstring>

#include "core/plan.h"

namespace tandem::binding {

Prediction::Prediction(napi_env env, const ParameterStore& parameters, GraphDescription graph,
                       int threads, int64_t max_batch)
    : predictor(parameters, std::move(graph), threads, max_batch, cpu_backend()),
      input_count(predictor.graph().inputs.size()),
      output_count(predictor.graph().outputs.size()),
      sync_inputs(input_count),
      sync_outputs(output_count),
      memory(env) {
  report_memory(1);
}

const Signature& Prediction::signature(int64_t rows) {
  for (const Signature& known : signatures_) {
    if (known.rows == rows) return known;
  }
  const Predictor::Shapes shapes = predictor.shapes(rows);
  Signature fresh{rows, {}};
  for (const Tensor& tensor : shapes.inputs) fresh.entries.push_back({tensor.numel, tensor.dtype});
  for (const Tensor& tensor : shapes.outputs) fresh.entries.push_back({tensor.numel, tensor.dtype});
  constexpr size_t kRemembered = 4;
  if (signatures_.size() < kRemembered) return signatures_.emplace_back(std::move(fresh));
  Signature& replaced = signatures_[next_signature_++ % kRemembered];
  replaced = std::move(fresh);
  return replaced;
}

void Prediction::report_memory(int64_t rows) {
  if (rows <= reported_rows) return;
  reported_rows = rows;
  memory.set(predictor.profile().memory.total());
}

std::string Prediction::name_of(size_t i) const {
  if (i < input_count) return predictor.graph().inputs[i].name;
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

PredictionJob::PredictionJob(napi_env env, Addon& addon, std::shared_ptr<Prediction> prediction,
                             int64_t rows, const std::vector<napi_value>& arrays, napi_value cancel)
    : addon_(addon), prediction_(std::move(prediction)), rows_(rows) {
  const Signature& signature = prediction_->signature(rows);
  std::vector<ArrayView> views;
  for (size_t i = 0; i < arrays.size(); ++i) {
    views.push_back(view_array(env, arrays[i], [&] { return prediction_->name_of(i); }));
    prediction_->check_array(signature, i, views[i]);
  }
  if (cancel != nullptr) cancel_ = Reference(env, cancel);
  copy_inputs(signature, views);
  try {
    lease_outputs(env, arrays, views);
  } catch (...) {
    for (const Output& output : outputs_) addon_.leases().remove(output.lease);
    throw;
  }
}

PredictionJob::~PredictionJob() {
  for (const Output& output : outputs_) addon_.leases().remove(output.lease);
  prediction_->staging.give(std::move(staging_));
}

void PredictionJob::copy_inputs(const Signature& signature, const std::vector<ArrayView>& views) {
  size_t bytes = 0;
  for (size_t i = 0; i < views.size(); ++i) {
    if (i < prediction_->input_count) {
      input_offsets_.push_back(bytes);
    } else {
      outputs_.push_back({{}, {}, bytes, views[i].length * 4});
    }
    bytes += static_cast<size_t>(align_up(checked_mul(static_cast<int64_t>(views[i].length), 4)));
  }
  staging_ = prediction_->staging.take();
  staging_.resize(bytes);
  for (size_t i = 0; i < prediction_->input_count; ++i) {
    copy_elements(views[i], 0, views[i].length, signature.entries[i].dtype,
                  staging_.data() + input_offsets_[i], prediction_->name_of(i));
  }
}

void PredictionJob::lease_outputs(napi_env env, const std::vector<napi_value>& arrays,
                                  const std::vector<ArrayView>& views) {
  for (size_t k = 0; k < outputs_.size(); ++k) {
    const size_t i = prediction_->input_count + k;
    const ByteRange range = views[i].bytes();
    if (addon_.leases().overlaps(range)) {
      fail(ErrorCode::kBusy, "expected memory of its own for `" + prediction_->name_of(i) +
                                 "`, received memory that another output or a pending call writes");
    }
    outputs_[k].array = Reference(env, arrays[i]);
    addon_.leases().add(range);
    outputs_[k].lease = range;
  }
}

void PredictionJob::run(const std::atomic<bool>& /*halt*/) {
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (const size_t offset : input_offsets_) inputs.push_back(staging_.data() + offset);
  for (const Output& output : outputs_) outputs.push_back(staging_.data() + output.offset);
  prediction_->lane_session.run(rows_, inputs, outputs);
}

bool PredictionJob::cancelled(napi_env env) const {
  ArrayView view;
  const napi_value cancel = cancel_.value();
  return cancel != nullptr && try_view_array(env, cancel, view) && view.length > 0 &&
         *static_cast<const int32_t*>(view.data) != 0;
}

napi_value PredictionJob::finish(napi_env env) {
  prediction_->report_memory(rows_);
  if (cancelled(env)) fail(ErrorCode::kAborted, "the prediction was aborted");
  std::vector<void*> targets;
  for (const Output& output : outputs_) {
    ArrayView view;
    if (!try_view_array(env, output.array.value(), view) || view.length * 4 < output.bytes) {
      fail(ErrorCode::kArgument,
           "expected `" + prediction_->name_of(prediction_->input_count + targets.size()) +
               "` to stay as it was, received an array that has been detached or shrunk");
    }
    targets.push_back(view.data);
  }
  for (size_t i = 0; i < targets.size(); ++i) {
    if (outputs_[i].bytes > 0) {
      std::memcpy(targets[i], staging_.data() + outputs_[i].offset, outputs_[i].bytes);
    }
  }
  return nullptr;
}

}  // namespace tandem::binding
