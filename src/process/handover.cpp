#include "process/handover.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "os/error.hpp"
#include "os/memfd.hpp"

namespace shoal {

namespace {

void* map_shared(std::size_t size, int flags, int memory) {
  void* const address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, memory, 0);
  if (address == MAP_FAILED) {
    os::throw_errno("mapping memory shared with another process");
  }
  return address;
}

}  // namespace

handover::handover() : shared_(static_cast<shared*>(map_shared(size, MAP_ANONYMOUS, -1))) {}
handover::handover(int memory) : shared_(static_cast<shared*>(map_shared(size, 0, memory))) {}

os::file_descriptor handover::make_memory() {
  os::file_descriptor memory = os::make_memfd("shoal:process");
  os::grow_file(memory.get(), size);
  return memory;
}

handover::~handover() { ::munmap(shared_, size); }

void handover::let_begin() noexcept {
  shared_->may_begin.store(1, std::memory_order_release);
  os::futex_wake(shared_->may_begin, 1);
}

bool handover::wait_for_begin(int parent) const noexcept {
  // The parent needs microseconds; the tick is for one that was killed in them.
  constexpr std::chrono::milliseconds tick{100};
  // In a PID namespace of its own this process cannot see its parent, whose id is then 0.
  const pid_t expected = ::getppid() == 0 ? 0 : parent;
  while (shared_->may_begin.load(std::memory_order_acquire) == 0) {
    if (::getppid() != expected) {
      return false;
    }
    os::futex_wait(shared_->may_begin, 0, after(tick));
  }
  return true;
}

void handover::answer() noexcept {
  shared_->answered.store(1, std::memory_order_release);
  os::futex_wake(shared_->answered, 1);
}

void handover::say_running() noexcept { answer(); }

bool handover::wait_for_answer() const noexcept {
  constexpr std::chrono::milliseconds moment{20};
  if (shared_->answered.load(std::memory_order_acquire) == 0) {
    os::futex_wait(shared_->answered, 0, after(moment));
  }
  return shared_->answered.load(std::memory_order_acquire) != 0;
}

void handover::report(std::string_view type, std::string_view message, int error) noexcept {
  type = type.substr(0, sizeof shared_->text / 4);
  message = message.substr(0, sizeof shared_->text - type.size());
  std::memcpy(shared_->text, type.data(), type.size());
  std::memcpy(shared_->text + type.size(), message.data(), message.size());
  shared_->type_size = static_cast<std::uint32_t>(type.size());
  shared_->message_size = static_cast<std::uint32_t>(message.size());
  shared_->error = error;
  shared_->reported.store(1, std::memory_order_release);  // COMMIT
  answer();
}

std::optional<handover::failure> handover::reported() const {
  if (shared_->reported.load(std::memory_order_acquire) == 0) {
    return std::nullopt;
  }
  const char* const text = shared_->text;
  return failure{std::string(text, shared_->type_size), std::string(text + shared_->type_size, shared_->message_size),
                 shared_->error};
}

}  // namespace shoal
