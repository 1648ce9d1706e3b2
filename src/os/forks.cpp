#include "os/forks.hpp"

#include <pthread.h>

#include <atomic>
#include <mutex>

namespace shoal::os {
namespace {

std::atomic<std::uint64_t> count{1};
std::atomic<std::uint64_t> generations{1};

std::mutex& gate() {
  static std::mutex only;
  static const int registered = ::pthread_atfork([] { gate().lock(); },
                                                 [] {
                                                   count.fetch_add(1, std::memory_order_relaxed);
                                                   gate().unlock();
                                                 },
                                                 [] {
                                                   count.fetch_add(1, std::memory_order_relaxed);
                                                   generations.fetch_add(1, std::memory_order_relaxed);
                                                   gate().unlock();
                                                 });
  (void)registered;
  return only;
}

// Before anybody can have asked for the count.
[[maybe_unused]] const std::mutex& registered_early = gate();

}  // namespace

std::uint64_t forks() noexcept { return count.load(std::memory_order_relaxed); }
std::uint64_t generation() noexcept { return generations.load(std::memory_order_relaxed); }

no_fork::no_fork() noexcept { gate().lock(); }
no_fork::~no_fork() { gate().unlock(); }

}  // namespace shoal::os
