// Leases for calls that wait in a queue of JavaScript's own. One stands in an External, whose
// finalizer ends what endLease() has not.
#include <memory>
#include <vector>

#include "binding/addon.h"
#include "binding/arrays.h"
#include "binding/functions.h"
#include "binding/values.h"

namespace tandem::binding {
namespace {

constexpr napi_type_tag kLeaseTag = {0x5c0e61f7b2d84a39, 0xa4471d90e85f3b62};

class HeldRanges {
 public:
  explicit HeldRanges(Addon& addon) : addon_(addon.shared_from_this()) {}
  HeldRanges(const HeldRanges&) = delete;
  HeldRanges& operator=(const HeldRanges&) = delete;
  ~HeldRanges() { end(); }

  void add(const ByteRange& range) {
    if (addon_->leases().overlaps(range)) {
      fail(ErrorCode::kBusy,
           "expected memory of its own for `out`, received memory that another output or a pending "
           "call writes");
    }
    ranges_.push_back(range);
    addon_->leases().add(range);
  }
  void end() noexcept {
    for (const ByteRange& range : ranges_) addon_->leases().remove(range);
    ranges_.clear();
  }

 private:
  std::shared_ptr<Addon> addon_;
  std::vector<ByteRange> ranges_;
};

}  // namespace

napi_value lease(const Call& call) {
  auto held = std::make_unique<HeldRanges>(call.addon());
  for (size_t i = 0; i < call.count(); ++i)
    held->add(view_array(call.env(), call[i], [] { return "out"; }).bytes());
  napi_value external = nullptr;
  check(call.env(), napi_create_external(
                        call.env(), held.get(),
                        [](napi_env, void* data, void*) { delete static_cast<HeldRanges*>(data); },
                        nullptr, &external));
  HeldRanges* const ranges = held.release();  // the External's from here on
  const napi_status tagged = napi_type_tag_object(call.env(), external, &kLeaseTag);
  if (tagged != napi_ok) ranges->end();
  check(call.env(), tagged);
  return external;
}

napi_value end_lease(const Call& call) {
  bool ours = false;
  void* data = nullptr;
  napi_valuetype type = napi_undefined;
  // Only then the tag: of what is no object Node-API throws an error of its own.
  if (napi_typeof(call.env(), call[0], &type) != napi_ok || type != napi_external ||
      napi_check_object_type_tag(call.env(), call[0], &kLeaseTag, &ours) != napi_ok || !ours ||
      napi_get_value_external(call.env(), call[0], &data) != napi_ok) {
    fail_expected(ErrorCode::kArgument, "what lease() gave", "lease",
                  describe_value({call.env(), call[0]}));
  }
  static_cast<HeldRanges*>(data)->end();
  return nullptr;
}

}  // namespace tandem::binding
