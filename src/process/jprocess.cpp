#include "shoal/jprocess.hpp"

#include <exception>

namespace shoal {

jprocess& jprocess::operator=(jprocess&& other) noexcept {
  if (this != &other) {
    stop_and_join();
    process::operator=(std::move(other));
    stop_ = std::move(other.stop_);
  }
  return *this;
}

void jprocess::stop_and_join() noexcept {
  if (!joinable()) {
    return;
  }
  request_stop();
  try {
    join();
  } catch (const std::exception&) {
    // It has ended; whoever wants to know how calls join().
  }
}

}  // namespace shoal
