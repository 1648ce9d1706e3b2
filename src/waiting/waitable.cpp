#include "shoal/waitable.hpp"

#include <stdexcept>
#include <string>

#include "shoal/event.hpp"
#include "sync/flag.hpp"

namespace shoal {

waitable::waitable(int descriptor, short events) : descriptor_(descriptor), events_(events) {
  if (descriptor < 0) {
    throw std::invalid_argument(
        "descriptor " + std::to_string(descriptor) +
        " cannot be waited for. Was the process it should be that of joined, or never started?");
  }
}

waitable::waitable(event& object) : waitable(object.readiness_handle()) { flag_ = object.flag_.get(); }

bool waitable::confirmed() const noexcept { return flag_ == nullptr || flag_->is_set(); }

}  // namespace shoal
