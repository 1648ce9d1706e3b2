#include "shoal/stop_token.hpp"

#include <thread>

namespace shoal {

bool stop_token::wait_until(deadline until) const {
  if (requested_ != nullptr) {
    return requested_->wait_until(until);
  }
  std::this_thread::sleep_until(until);
  return false;
}

}  // namespace shoal
