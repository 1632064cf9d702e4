// Plain objects for JavaScript.
#pragma once

#include <napi.h>

#include "core/evaluate.h"
#include "core/profile.h"

namespace tandem::binding {

napi_value make_profile(napi_env env, const Profile& profile);
Napi::Array make_strings(napi_env env, const std::vector<std::string>& strings);
/// Copies of the tensors from `first` up to `last`, as typed arrays.
Napi::Array make_arrays(napi_env env, const Evaluation& evaluation, size_t first, size_t last);

}  // namespace tandem::binding
