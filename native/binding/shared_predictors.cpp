#include "binding/shared_predictors.h"

#include <map>
#include <mutex>

namespace tandem::binding {
namespace {

struct Entry {
  std::mutex mutex;  ///< held while the Predictor is made; guards what follows
  std::weak_ptr<Predictor> predictor;
  std::string device_reason;
};

struct Registry {
  std::mutex mutex;  ///< guards `entries`; never held while one is made
  std::map<std::string, std::shared_ptr<Entry>> entries;

  /// Never destroyed: environments of worker threads may end after static destructors have run.
  static Registry& instance() {
    static auto* const registry = new Registry;
    return *registry;
  }

  std::shared_ptr<Entry> entry(const std::string& key) {
    const std::lock_guard lock(mutex);
    // nobody waits for those that only the map has: they are there for their Predictor alone
    std::erase_if(entries, [](const auto& item) {
      return item.second.use_count() == 1 && item.second->predictor.expired();
    });
    std::shared_ptr<Entry>& found = entries[key];
    if (found == nullptr) found = std::make_shared<Entry>();
    return found;
  }
};

}  // namespace

LoadedPredictor share_predictor(const std::string& key,
                                const std::function<LoadedPredictor()>& make) {
  const std::shared_ptr<Entry> entry = Registry::instance().entry(key);
  const std::lock_guard lock(entry->mutex);
  if (std::shared_ptr<Predictor> known = entry->predictor.lock()) {
    return {std::move(known), entry->device_reason};
  }
  LoadedPredictor made = make();
  entry->predictor = made.predictor;
  entry->device_reason = made.device_reason;
  return made;
}

}  // namespace tandem::binding
