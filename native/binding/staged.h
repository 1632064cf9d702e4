// The class StagedRows: rows for one call of a Trainer that are too many to copy in one turn of the
// event loop.
#pragma once

#include <memory>

#include "binding/training.h"
#include "binding/wrap.h"

namespace tandem::binding {

class StagedObject : public Wrapped<StagedObject> {
 public:
  static constexpr ClassId kClass = ClassId::kStagedRows;
  static constexpr const char* kName = "StagedRows";
  static constexpr napi_type_tag kTag = {0x5be2094f7d1ac683, 0xc70e5d8241b93fa6};

  static std::unique_ptr<StagedObject> create(const Call& call);
  static void define(napi_env env, napi_value exports, Addon* addon);
  StagedObject(Addon& addon, std::unique_ptr<StagedRows> rows)
      : Wrapped(addon), rows_(std::move(rows)) {}

 private:
  napi_value copy(const Call& call);
  napi_value train(const Call& call);
  napi_value evaluate(const Call& call);
  napi_value divisors(const Call& call);
  napi_value close(const Call& call);

  StagedRows& open();
  napi_value submit(const Call& call, Work work);

  std::unique_ptr<StagedRows> rows_;  ///< null once closed or handed over
};

}  // namespace tandem::binding
