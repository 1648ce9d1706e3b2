#include "os/memfd.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <system_error>
#include <thread>

#include "os/file_descriptor.hpp"

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

TEST(Memfd, GrowsAndNeverShrinks) {
  const shoal::os::file_descriptor file = shoal::os::make_memfd("grows");
  shoal::os::grow_file(file.get(), 2 * mebibyte);
  shoal::os::grow_file(file.get(), mebibyte);
  EXPECT_EQ(shoal::os::file_size(file.get()), 2 * mebibyte);
}

TEST(Memfd, GrowsToTheLargestOfTheSizesThatSeveralAskForAtOnce) {
  constexpr int turns = 3'000;
  std::atomic<int> arrived = 0;
  std::atomic<int> failures = 0;
  std::atomic<int> file = -1;
  const auto meet = [&](int all) {
    ++arrived;
    for (int looks = 0; arrived < all; ++looks) {
      if (looks > 1'000) {  // at first without the system, so that both go on at the same moment
        std::this_thread::yield();
      }
    }
  };
  const auto grow = [&](std::size_t size) {
    try {
      shoal::os::grow_file(file, size);
    } catch (const std::system_error&) {
      ++failures;
    }
  };
  shoal::os::file_descriptor current = shoal::os::make_memfd("grows");
  file = current.get();
  std::thread other([&] {
    for (int i = 0; i < turns; ++i) {
      meet(4 * i + 2);
      grow(mebibyte);
      meet(4 * i + 4);
    }
  });
  for (int i = 0; i < turns; ++i) {
    meet(4 * i + 2);
    grow(5 * mebibyte);
    meet(4 * i + 4);
    // The other one waits for this thread in the next turn.
    EXPECT_EQ(shoal::os::file_size(file), 5 * mebibyte);
    current = shoal::os::make_memfd("grows");
    file = current.get();
  }
  other.join();
  EXPECT_EQ(failures, 0);
}

}  // namespace
