// Whether the rows of a batch depend on each other: what may be cut into several runs, or joined
// with the rows of other calls.
#pragma once

#include <optional>

#include "core/model.h"

namespace tandem {

/// The first op, among those that an output depends on, whose results for one row depend on other
/// rows, or cannot be told to depend on that row alone; none where every row of the outputs is made
/// from its own row of the inputs. For inference, with free inputs of any number of rows.
std::optional<Op> op_relating_rows(const GraphDescription& description);

}  // namespace tandem
