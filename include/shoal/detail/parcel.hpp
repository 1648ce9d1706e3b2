#pragma once

#include <span>
#include <vector>

#include "shoal/decoder.hpp"
#include "shoal/encoder.hpp"

namespace shoal::detail {

/// Values and descriptors on their way to a process that is no fork of this one.
struct outgoing_parcel {
  encoder values;
  std::vector<int> descriptors;  // each stays its owner's

  /// Sends a descriptor; -1 arrives as -1.
  void add_descriptor(int fd);
};

/// The same where they have arrived.
struct incoming_parcel {
  decoder values;
  std::span<const int> descriptors;  // closed when what was made of them has its own

  /// The next one. @throws shoal::error  errc::corrupt_record: there is none.
  [[nodiscard]] int take_descriptor();
};

}  // namespace shoal::detail
