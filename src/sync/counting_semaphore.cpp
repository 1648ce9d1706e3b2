#include "shoal/counting_semaphore.hpp"

#include <stdexcept>
#include <string>

#include "sync/semaphore.hpp"

namespace shoal {
namespace {

std::unique_ptr<sync::semaphore> make(std::ptrdiff_t initial, std::ptrdiff_t most) {
  if (most < 0 || most > counting_semaphore::max() || initial < 0 || initial > most) {
    throw std::invalid_argument("a semaphore of " + std::to_string(initial) + " units, and never more than " +
                                std::to_string(most) + ", was asked for; there can be from 0 to " +
                                std::to_string(counting_semaphore::max()) + ", and not more at first than ever.");
  }
  return std::make_unique<sync::semaphore>(static_cast<std::uint32_t>(initial), static_cast<std::uint32_t>(most));
}

}  // namespace

counting_semaphore::counting_semaphore(std::ptrdiff_t initial, std::ptrdiff_t most) : semaphore_(make(initial, most)) {}
counting_semaphore::counting_semaphore(native_handle_type handle)
    : semaphore_(std::make_unique<sync::semaphore>(handle)) {}
counting_semaphore::counting_semaphore(counting_semaphore&&) noexcept = default;
counting_semaphore& counting_semaphore::operator=(counting_semaphore&&) noexcept = default;
counting_semaphore::~counting_semaphore() = default;

void counting_semaphore::acquire() {
  while (!acquire_until(forever)) {
  }
}

bool counting_semaphore::try_acquire() noexcept { return semaphore_->try_acquire(); }

bool counting_semaphore::acquire_until(deadline until) {
  for (;;) {
    const sync::wait_result result = semaphore_->acquire_until(until);
    if (result != sync::wait_result::interrupted) {
      return result == sync::wait_result::done;
    }
  }
}

void counting_semaphore::release(std::ptrdiff_t units) {
  if (units < 0 || units > max() || !semaphore_->release(static_cast<std::uint32_t>(units))) {
    throw std::invalid_argument(std::to_string(units) + " units were to be released to a semaphore that has " +
                                std::to_string(semaphore_->value()) + " free ones, and may have " +
                                std::to_string(semaphore_->most()) + ".");
  }
}

std::ptrdiff_t counting_semaphore::value() const noexcept { return semaphore_->value(); }
slot_location counting_semaphore::native_handle() noexcept { return semaphore_->location(); }

}  // namespace shoal
