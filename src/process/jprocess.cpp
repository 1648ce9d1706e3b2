#include "shoal/jprocess.hpp"

#include <exception>

namespace shoal {

jprocess& jprocess::operator=(jprocess&& other) noexcept {
  if (this != &other) {
    stop_and_join();
    stop_ = std::move(other.stop_);
    process::operator=(std::move(other));
  }
  return *this;
}

void jprocess::stop_and_join() noexcept {
  if (!joinable() || is_of_another_process()) {
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
