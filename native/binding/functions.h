// The addon's functions, by topic.
#pragma once

#include "binding/call.h"

namespace tandem::binding {

// functions.cpp
napi_value set_error_class(const Call& call);
napi_value cpu(const Call& call);
napi_value held_memory(const Call& call);
napi_value ops(const Call& call);
napi_value has_op(const Call& call);
napi_value infer(const Call& call);
// graph_functions.cpp
napi_value evaluate(const Call& call);
napi_value vjp(const Call& call);
// device.cpp
napi_value devices(const Call& call);
napi_value find_device(const Call& call);
// lease.cpp
napi_value lease(const Call& call);
napi_value end_lease(const Call& call);
// scan.cpp
napi_value find_outside(const Call& call);
napi_value find_non_finite(const Call& call);
// cells.cpp
napi_value read_cells(const Call& call);
napi_value lower_priority(const Call& call);

}  // namespace tandem::binding
