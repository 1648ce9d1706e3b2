#include "os/descriptor_limit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "os/event_fd.hpp"
#include "os/memfd.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::exit_status;
using shoal::os::event_fd;
using shoal::os::file_descriptor;
using shoal::os::make_memfd;
using testing::HasSubstr;

void set_limit(rlim_t soft, rlim_t hard) {
  const rlimit limit{.rlim_cur = soft, .rlim_max = hard};
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    std::abort();
  }
}

rlim_t soft_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

/// How a process of its own ends, since a hard limit cannot be raised again.
template <class Function>
exit_status in_child(Function function) {
  shoal::process child(function);
  return child.join();
}

TEST(DescriptorLimit, IsRaisedToTheHardOneWhereItIsReached) {
  EXPECT_EQ(in_child([] {
              set_limit(32, 128);
              std::vector<file_descriptor> memfds;
              for (int i = 0; i < 20; ++i) {
                memfds.push_back(make_memfd("test"));
              }
              const bool untouched = soft_limit() == 32;
              std::vector<event_fd> eventfds(20);
              for (int i = 0; i < 20; ++i) {
                memfds.push_back(file_descriptor::duplicate(0));
              }
              return untouched && soft_limit() == 128 ? 0 : 1;
            }),
            exit_status::exited_with(0));
}

TEST(DescriptorLimit, EveryKindOfDescriptorRaisesIt) {
  const auto makes_more_than_the_soft_limit = [](auto make) {
    return in_child([make] {
      set_limit(32, 128);
      std::vector<decltype(make())> made;
      for (int i = 0; i < 64; ++i) {
        made.push_back(make());
      }
      return 0;
    });
  };
  EXPECT_EQ(makes_more_than_the_soft_limit([] { return make_memfd("test"); }), exit_status::exited_with(0));
  EXPECT_EQ(makes_more_than_the_soft_limit([] { return event_fd(); }), exit_status::exited_with(0));
  EXPECT_EQ(makes_more_than_the_soft_limit([] { return file_descriptor::duplicate(0); }), exit_status::exited_with(0));
}

TEST(DescriptorLimit, ThreadsThatReachItTogetherAllGoOn) {
  EXPECT_EQ(in_child([] {
              for (int round = 0; round < 50; ++round) {
                set_limit(16, 256);
                std::vector<std::thread> threads;
                for (int i = 0; i < 4; ++i) {
                  threads.emplace_back([] {
                    // An exception here ends the process.
                    std::vector<event_fd> made(16);
                  });
                }
                for (std::thread& thread : threads) {
                  thread.join();
                }
              }
              return 0;
            }),
            exit_status::exited_with(0));
}

TEST(DescriptorLimit, AtTheHardOneTheErrorSaysWhatItIs) {
  EXPECT_EQ(in_child([] {
              set_limit(32, 64);
              std::vector<file_descriptor> made;
              try {
                for (;;) {
                  made.push_back(make_memfd("test"));
                }
              } catch (const std::system_error& full) {
                const std::string said = full.what();
                return full.code() == std::errc::too_many_files_open &&
                               said.starts_with("creating a memfd: all 64 descriptors that this process may have")
                           ? 0
                           : 1;
              }
            }),
            exit_status::exited_with(0));
}

TEST(DescriptorLimit, OtherFailuresAreNotTriedAgain) {
  int calls = 0;
  try {
    (void)shoal::os::new_descriptor("opening it", [&calls] {
      ++calls;
      errno = EACCES;
      return -1;
    });
    FAIL() << "no error";
  } catch (const std::system_error& refused) {
    EXPECT_EQ(refused.code(), std::errc::permission_denied);
    EXPECT_THAT(refused.what(), HasSubstr("opening it: "));
  }
  EXPECT_EQ(calls, 1);
}

}  // namespace
