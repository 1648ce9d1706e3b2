#include "memory/segment.hpp"

#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "os/memfd.hpp"
#include "shoal/error.hpp"

namespace shoal::memory {
namespace {

const char* name_of(segment_kind kind) {
  switch (kind) {
    case segment_kind::queue:
      return "queue";
    case segment_kind::arena:
      return "arena";
    case segment_kind::claims:
      return "claims";
  }
  return "unknown kind";
}

std::string hex(const char* bytes, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    char digits[4];
    std::snprintf(digits, sizeof digits, i == 0 ? "%02x" : " %02x", static_cast<unsigned char>(bytes[i]));
    text += digits;
  }
  return text;
}

/// Refuses a header that this library cannot work with.
void validate(const segment_header& found, std::size_t file_size, segment_kind wanted, const std::string& where) {
  if (std::memcmp(found.magic, segment_magic, sizeof segment_magic) != 0) {
    throw error(errc::not_a_segment, where + " is not a Shoal " + name_of(wanted) + ": its first bytes are " +
                                         hex(found.magic, sizeof found.magic) +
                                         ", expected 'SHOAL\\0'. Was the right descriptor passed?");
  }
  if (found.layout_version != layout_version) {
    throw error(errc::layout_mismatch, where + " is a Shoal segment of layout " + std::to_string(found.layout_version) +
                                           ", this library works with layout " + std::to_string(layout_version) +
                                           ". Use one version of Shoal in all processes that share it.");
  }
  if (found.word_bits != sizeof(void*) * 8 || found.mutex_size != sizeof(pthread_mutex_t)) {
    throw error(errc::layout_mismatch, where + " was made by a " + std::to_string(found.word_bits) +
                                           "-bit process with locks of " + std::to_string(found.mutex_size) +
                                           " bytes; this one has " + std::to_string(sizeof(void*) * 8) +
                                           " bits and locks of " + std::to_string(sizeof(pthread_mutex_t)) +
                                           " bytes. Processes that share it must be built for the same machine.");
  }
  if (found.kind != wanted) {
    throw error(errc::wrong_kind, where + " is a Shoal " + name_of(found.kind) + ", expected a Shoal " +
                                      name_of(wanted) + ". Was the right descriptor passed?");
  }
  if (file_size < page_size || found.size < page_size || found.size < file_size) {
    throw error(errc::truncated_segment, where + " is a damaged Shoal " + name_of(wanted) + ": the file has " +
                                             std::to_string(file_size) + " bytes, its header allows for " +
                                             std::to_string(page_size) + " to " + std::to_string(found.size) + ".");
  }
}

}  // namespace

segment segment::create(segment_kind kind, const std::string& label, std::size_t size) {
  os::file_descriptor fd = os::make_memfd(std::string("shoal:") + name_of(kind) + ":" + label);
  os::mapping mapping(fd.get(), size);
  segment made(std::move(fd), std::move(mapping));
  made.grow(page_size);
  made.populate(0, page_size);
  auto* const header = made.at<segment_header>(0);
  std::memcpy(header->magic, segment_magic, sizeof segment_magic);
  header->layout_version = layout_version;
  header->word_bits = sizeof(void*) * 8;
  header->mutex_size = sizeof(pthread_mutex_t);
  header->kind = kind;
  header->size = size;
  header->creator = static_cast<std::uint32_t>(::getpid());
  return made;
}

segment segment::attach(int descriptor, segment_kind kind) {
  os::file_descriptor fd = os::file_descriptor::duplicate(descriptor);
  const std::string where = "/proc/self/fd/" + std::to_string(descriptor);
  segment_header header{};
  // Read before anything is mapped: a foreign file may be shorter than a page, and touching that faults.
  const ssize_t got = ::pread(fd.get(), &header, sizeof header, 0);
  if (got < static_cast<ssize_t>(sizeof header)) {
    throw error(
        errc::not_a_segment,
        where + " is not a Shoal " + name_of(kind) + ": " +
            (got < 0 ? std::string("it cannot be read at an offset (") + std::strerror(errno) + ")"
                     : "it has only " + std::to_string(got) + " bytes, a header has " + std::to_string(sizeof header)) +
            ". Was the right descriptor passed?");
  }
  validate(header, os::file_size(fd.get()), kind, where);
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    throw error(errc::not_a_segment, where + " is a copy of a Shoal " + name_of(kind) +
                                         ", not the memory itself: it is no memfd sealed against shrinking. Pass the "
                                         "descriptor of the original.");
  }
  os::mapping mapping(fd.get(), header.size);
  return {std::move(fd), std::move(mapping)};
}

void segment::grow(std::size_t end) const {
  if (end > size()) {
    throw std::bad_alloc();
  }
  os::grow_file(fd_.get(), end);
}

}  // namespace shoal::memory
