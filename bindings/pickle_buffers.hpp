#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <vector>

#include "pickler.hpp"
#include "shoal/record.hpp"

// Records of encoding::pickle_buffers: a head (how many buffers, the pickle's size, each buffer's size, as 64-bit words
// of this machine), the pickle, and the buffers, each at a multiple of 64 bytes in shared memory.
namespace shoal::python {

/// Appends to `parts` the pickle's bytes, none of them copied.
/// @return what has to live as long as they are used. @throws nb::python_error  no memory.
[[nodiscard]] nanobind::object append_pickle(const nanobind::object& pickle_bytes, std::vector<const_bytes>& parts);

/// Makes `parts`, which are empty, the record of a pickle with buffers, and writes into `head` what there is to be
/// written. As above.
[[nodiscard]] nanobind::object pack(const pickled& object, std::vector<std::byte>& head,
                                    std::vector<const_bytes>& parts);

/// Rebuilds the object of such a record, whose bytes `buffer`, a received_buffer, holds. The object's own buffers are
/// views of it.
/// @throws nb::python_error  whatever unpickling raises. @throws shoal::error  errc::corrupt_record.
[[nodiscard]] nanobind::object unpack(const nanobind::object& buffer);

}  // namespace shoal::python
