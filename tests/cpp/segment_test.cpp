#include "memory/segment.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "os/memfd.hpp"
#include "process_support.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/error.hpp"

namespace {

using shoal::errc;
using shoal::error;
using shoal::memory::page_size;
using shoal::memory::segment;
using shoal::memory::segment_header;
using shoal::memory::segment_kind;
using testing::HasSubstr;

constexpr std::size_t size = 1 << 20;

shoal::os::file_descriptor file_with(const std::vector<char>& contents) {
  shoal::os::file_descriptor fd = shoal::os::make_memfd("test");
  EXPECT_EQ(::write(fd.get(), contents.data(), contents.size()), static_cast<ssize_t>(contents.size()));
  return fd;
}

/// The bytes of a good segment, to be damaged.
std::vector<char> good_bytes() {
  const segment original = segment::create(segment_kind::queue, "original", size);
  std::vector<char> bytes(page_size);
  std::memcpy(bytes.data(), original.data(), bytes.size());
  return bytes;
}

template <class Change>
std::vector<char> damaged(Change change) {
  std::vector<char> bytes = good_bytes();
  segment_header header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  change(header);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

/// What attaching to such a file says, and that it is the error expected.
std::string refusal(int fd, errc expected) {
  try {
    (void)segment::attach(fd, segment_kind::queue);
  } catch (const error& refused) {
    EXPECT_EQ(refused.code(), expected) << refused.what();
    return refused.what();
  }
  ADD_FAILURE() << "attached";
  return {};
}

TEST(Segment, IsAttachedByItsDescriptorAndShared) {
  const segment first = segment::create(segment_kind::queue, "x", size);
  const segment second = segment::attach(first.descriptor(), segment_kind::queue);
  first.data()[200] = std::byte{42};
  EXPECT_EQ(second.data()[200], std::byte{42});
  EXPECT_EQ(second.size(), size);
}

TEST(Segment, ShowsKindAndLabelInProc) {
  const segment made = segment::create(segment_kind::queue, "orders", size);
  const std::string link = "/proc/self/fd/" + std::to_string(made.descriptor());
  char target[100] = {};
  ASSERT_GT(::readlink(link.c_str(), target, sizeof target - 1), 0);
  EXPECT_THAT(target, HasSubstr("memfd:shoal:queue:orders"));
}

TEST(Segment, WithAWrongMagicIsRefusedAndItsFirstBytesAreShown) {
  const auto fd = file_with(damaged([](segment_header& header) {
    std::memcpy(header.magic,
                "\x7f"
                "ELF\2\1",
                6);
  }));
  const std::string text = refusal(fd.get(), errc::not_a_segment);
  EXPECT_THAT(text, HasSubstr("7f 45 4c 46"));
  EXPECT_THAT(text, HasSubstr("expected 'SHOAL\\0'"));
}

TEST(Segment, OfAnotherLayoutIsRefusedAndBothVersionsAreNamed) {
  const auto fd = file_with(damaged([](segment_header& header) { header.layout_version = 77; }));
  const std::string text = refusal(fd.get(), errc::layout_mismatch);
  EXPECT_THAT(text, HasSubstr("layout 77"));
  EXPECT_THAT(text, HasSubstr("layout " + std::to_string(shoal::memory::layout_version)));
}

TEST(Segment, OfAnotherWordSizeIsRefused) {
  const auto fd = file_with(damaged([](segment_header& header) { header.word_bits = 32; }));
  EXPECT_THAT(refusal(fd.get(), errc::layout_mismatch), HasSubstr("32-bit"));
}

TEST(Segment, OfAnotherKindIsRefused) {
  const segment arena = segment::create(segment_kind::arena, "x", size);
  EXPECT_THAT(refusal(arena.descriptor(), errc::wrong_kind), HasSubstr("is a Shoal arena, expected a Shoal queue"));
}

TEST(Segment, ThatIsTruncatedIsRefused) {
  std::vector<char> bytes = good_bytes();
  bytes.resize(100);
  EXPECT_THAT(refusal(file_with(bytes).get(), errc::truncated_segment), HasSubstr("100 bytes"));
  bytes.resize(7);
  EXPECT_THAT(refusal(file_with(bytes).get(), errc::not_a_segment), HasSubstr("only 7 bytes"));
}

TEST(Segment, ThatIsACopyInAnOrdinaryFileIsRefused) {
  char name[] = "/tmp/shoal-segment-XXXXXX";
  const shoal::os::file_descriptor fd(::mkstemp(name));
  ASSERT_TRUE(fd);
  ::unlink(name);
  const std::vector<char> bytes = good_bytes();
  ASSERT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_THAT(refusal(fd.get(), errc::not_a_segment), HasSubstr("copy"));
}

TEST(Segment, FromRandomBytesOrOtherDescriptorsIsRefused) {
  std::minstd_rand random(1);
  for (int i = 0; i < 100; ++i) {
    std::vector<char> bytes(random() % 10'000);
    for (char& byte : bytes) {
      byte = static_cast<char>(random());
    }
    refusal(file_with(bytes).get(), errc::not_a_segment);
  }
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const shoal::os::file_descriptor reader(pipe_ends[0]);
  const shoal::os::file_descriptor writer(pipe_ends[1]);
  refusal(reader.get(), errc::not_a_segment);
}

TEST(Segment, BehindAClosedDescriptorIsASystemError) {
  EXPECT_THROW((void)segment::attach(987, segment_kind::queue), std::system_error);
}

TEST(Segment, CannotGrowPastItsSize) {
  const segment made = segment::create(segment_kind::queue, "x", size);
  made.grow(size);
  EXPECT_THROW(made.grow(size + 1), std::bad_alloc);
}

TEST(Segment, CannotBeShrunkUnderOthersWhoUseIt) {
  const segment made = segment::create(segment_kind::queue, "x", size);
  EXPECT_EQ(::ftruncate(made.descriptor(), 0), -1);
}

TEST(Segment, LeavesNothingBehind) {
  const auto before = shoal::test::open_descriptors();
  for (int i = 0; i < 100; ++i) {
    const segment made = segment::create(segment_kind::queue, "x", size);
    EXPECT_THROW((void)segment::attach(made.descriptor(), segment_kind::claims), error);
  }
  EXPECT_EQ(shoal::test::open_descriptors(), before);
}

}  // namespace
