// Native classes: construction, receivers, methods and getters.
//
// A class T has `static constexpr ClassId kClass`, `static constexpr const char* kName` and
// `static constexpr napi_type_tag kTag`, and derives from Wrapped. The object of JavaScript owns T;
// Node-API deletes it on the JavaScript thread, after a collection or at the environment's end.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "binding/addon.h"
#include "binding/call.h"

namespace tandem::binding {

template <typename T>
class Wrapped {
 public:
  explicit Wrapped(Addon& addon) : addon_(addon.shared_from_this()) {}
  Wrapped(const Wrapped&) = delete;
  Wrapped& operator=(const Wrapped&) = delete;
  Addon& addon() { return *addon_; }

 protected:
  ~Wrapped() {
    void*& verified = addon_->verified(T::kClass, static_cast<T*>(this));
    if (verified == static_cast<T*>(this)) verified = nullptr;
    addon_->keyed(T::kClass).erase(static_cast<T*>(this));
  }

 private:
  std::shared_ptr<Addon> addon_;
};

/// The T behind `value`, or null. A foreign object, or one of another class, has not T's type tag.
/// The tag is what costs; an object that was checked before is known by its address, which is
/// forgotten when it dies.
template <typename T>
T* unwrap(napi_env env, Addon& addon, napi_value value) {
  void* data = nullptr;
  if (napi_unwrap(env, value, &data) != napi_ok || data == nullptr) return nullptr;
  void*& verified = addon.verified(T::kClass, data);
  if (data != verified) {
    bool ours = false;
    if (napi_check_object_type_tag(env, value, &T::kTag, &ours) != napi_ok || !ours) return nullptr;
    verified = data;
  }
  return static_cast<T*>(data);
}

template <typename T>
T& receiver(const Call& call) {
  T* const object = unwrap<T>(call.env(), call.addon(), call.self());
  if (object == nullptr) {
    fail(ErrorCode::kArgument, std::string("expected a ") + T::kName + " for `this`");
  }
  return *object;
}

/// The getter `key`: an External that stands for the object as an argument. Node-API takes longer
/// to find what it wraps than a small model takes to run; an External gives its pointer at once,
/// which counts as long as the object is alive, whoever made the External.
template <typename T>
napi_value make_key(const Call& call) {
  T* const object = &receiver<T>(call);
  call.addon().keyed(T::kClass).insert(object);
  napi_value key = nullptr;
  check(call.env(), napi_create_external(call.env(), object, nullptr, nullptr, &key));
  return key;
}

/// The T whose key is argument 0.
template <typename T>
T& keyed(const Call& call) {
  void* data = nullptr;
  const bool external = napi_get_value_external(call.env(), call[0], &data) == napi_ok;
  void*& verified = call.addon().verified(T::kClass, data);
  if (data != nullptr && data == verified) return *static_cast<T*>(data);
  if (!external || !call.addon().keyed(T::kClass).contains(data)) {
    fail(ErrorCode::kArgument, std::string("expected the key of a ") + T::kName);
  }
  verified = data;
  return *static_cast<T*>(data);
}

template <typename T, napi_value (T::*member)(const Call&)>
napi_value call_member(const Call& call) {
  return (receiver<T>(call).*member)(call);
}

/// The constructor: T::create(call) makes the native object that the new one owns.
template <typename T>
napi_value construct(const Call& call, napi_callback_info info) {
  napi_value target = nullptr;
  check(call.env(), napi_get_new_target(call.env(), info, &target));
  if (target == nullptr) {
    fail(ErrorCode::kArgument, std::string("expected `new` before ") + T::kName);
  }
  std::unique_ptr<T> object = T::create(call);
  check(call.env(),
        napi_wrap(
            call.env(), call.self(), object.get(),
            [](napi_env, void* data, void*) { delete static_cast<T*>(data); }, nullptr, nullptr));
  T* const raw = object.release();  // the wrap's from here on
  const napi_status tagged = napi_type_tag_object(call.env(), call.self(), &T::kTag);
  if (tagged != napi_ok) {
    void* removed = nullptr;
    if (napi_remove_wrap(call.env(), call.self(), &removed) == napi_ok) delete raw;
    fail(ErrorCode::kArgument, std::string("expected a new object for ") + T::kName);
  }
  return call.self();
}

/// For classes whose constructor JavaScript cannot call by itself: it takes over what lies in the
/// Addon's slot, where make_instance() has put it.
template <typename T>
std::unique_ptr<T> take_new(std::unique_ptr<T>& slot, const char* expected) {
  if (slot == nullptr) fail(ErrorCode::kArgument, std::string("expected ") + expected);
  return std::move(slot);
}

template <typename T>
napi_value make_instance(napi_env env, Addon& addon, std::unique_ptr<T>& slot,
                         std::unique_ptr<T> object) {
  slot = std::move(object);
  napi_value instance = nullptr;
  const napi_value constructor = addon.constructor(T::kClass).value();
  const napi_status status = napi_new_instance(env, constructor, 0, nullptr, &instance);
  slot = nullptr;
  check(env, status);
  return instance;
}

template <typename T>
napi_value construct_entry(napi_env env, napi_callback_info info) noexcept {
  try {
    return construct<T>(Call(env, info), info);
  } catch (...) {
    raise(env, info);
    return nullptr;
  }
}

template <typename T, napi_value (T::*member)(const Call&)>
napi_property_descriptor method(const char* name, Addon* addon) {
  return {name,    nullptr, entry<call_member<T, member>>, nullptr,
          nullptr, nullptr, napi_default_method,           addon};
}

template <typename T, napi_value (T::*member)(const Call&)>
napi_property_descriptor getter(const char* name, Addon* addon) {
  return {name,    nullptr, nullptr,           entry<call_member<T, member>>,
          nullptr, nullptr, napi_configurable, addon};
}

template <typename T>
napi_property_descriptor key_getter(Addon* addon) {
  return {"key", nullptr, nullptr, entry<make_key<T>>, nullptr, nullptr, napi_configurable, addon};
}

/// Defines class T with these members and puts it into `exports`. Members go onto the prototype one
/// by one: those of napi_define_class refuse a wrong receiver on V8's own account, with a
/// TypeError.
template <typename T>
void define_class(napi_env env, napi_value exports, Addon* addon,
                  std::initializer_list<napi_property_descriptor> members) {
  napi_value constructor = nullptr;
  napi_value prototype = nullptr;
  check(env, napi_define_class(env, T::kName, NAPI_AUTO_LENGTH, construct_entry<T>, addon, 0,
                               nullptr, &constructor));
  check(env, napi_get_named_property(env, constructor, "prototype", &prototype));
  check(env, napi_define_properties(env, prototype, members.size(), members.begin()));
  check(env, napi_set_named_property(env, exports, T::kName, constructor));
  addon->constructor(T::kClass) = Reference(env, constructor);
}

}  // namespace tandem::binding
