#include "shoal/detail/program_code.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "os/file_descriptor.hpp"
#include "os/loaded_module.hpp"
#include "shoal/detail/process_call.hpp"
#include "shoal/error.hpp"

namespace shoal::detail {
namespace {

using os::loaded_module;

// For a module without a build id: a hash (FNV-1a, by words) of its machine code, which nothing relocates.
std::string hash_of_code(const loaded_module& module) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const ElfW(Phdr) & segment : module.segments) {
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) {
      continue;
    }
    const auto* const code =
        reinterpret_cast<const char*>(module.base + segment.p_vaddr);  // NOLINT(performance-no-int-to-ptr)
    for (std::size_t at = 0; at < segment.p_filesz; at += sizeof hash) {
      std::uint64_t word = 0;
      std::memcpy(&word, code + at, std::min(sizeof word, segment.p_filesz - at));
      hash = (hash ^ word) * 0x100000001b3;
    }
  }
  return {reinterpret_cast<const char*>(&hash), sizeof hash};
}

/// What tells a build of a module from all others.
std::string identity_of(const loaded_module& module) {
  if (const std::string_view id = module.build_id(); !id.empty()) {
    return std::string(id);
  }
  // The executable needs none: what is executed is /proc/self/exe, this very file, and the kernel lets nobody write to
  // it while it runs.
  return module.name.empty() ? std::string() : hash_of_code(module);
}

bool is_in_segment(const loaded_module& module, std::uint64_t offset) {
  return std::ranges::any_of(module.segments, [&](const ElfW(Phdr) & segment) {
    return segment.p_type == PT_LOAD && offset - segment.p_vaddr < segment.p_memsz;
  });
}

struct sought_module {
  std::string_view path;
  std::string_view identity;
  loaded_module found;
  bool other_build;  // a module of that path is loaded, but it is another one
};

int visit(dl_phdr_info* info, std::size_t /*size*/, void* context) {
  auto& sought = *static_cast<sought_module*>(context);
  const loaded_module module{info->dlpi_addr, info->dlpi_name, {info->dlpi_phdr, info->dlpi_phnum}};
  const bool same_path = sought.path == module.name;
  // A module without a build id is hashed, which takes long, only if its path makes it a candidate.
  const std::string_view id = module.build_id();
  if (id == sought.identity || (id.empty() && same_path && hash_of_code(module) == sought.identity)) {
    sought.found = module;
    return 1;
  }
  sought.other_build |= same_path;
  return 0;
}

std::string read_at(int file, std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  const ssize_t count = ::pread(file, bytes.data(), size, static_cast<off_t>(offset));
  bytes.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
  return bytes;
}

/// The build id of an ELF file; empty if it has none, or is none.
std::string build_id_of_file(const std::string& path) {
  const os::file_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ElfW(Ehdr) header{};
  const std::string first = read_at(file.get(), 0, sizeof header);
  if (first.size() != sizeof header || first.compare(0, SELFMAG, ELFMAG) != 0) {
    return {};
  }
  std::memcpy(&header, first.data(), sizeof header);
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment{};
    const std::string bytes = read_at(file.get(), header.e_phoff + i * sizeof segment, sizeof segment);
    if (bytes.size() != sizeof segment) {
      break;
    }
    std::memcpy(&segment, bytes.data(), sizeof segment);
    if (segment.p_type == PT_NOTE) {
      const std::string notes = read_at(file.get(), segment.p_offset, std::min<std::size_t>(segment.p_filesz, 65536));
      if (const std::string_view id = os::build_id_in(notes, segment.p_align == 8 ? 8 : 4); !id.empty()) {
        return std::string(id);
      }
    }
  }
  return {};
}

[[noreturn]] void fail(const std::string& what) { throw error(errc::unknown_function, what); }

loaded_module find_module_of(const std::string& path, std::string_view identity) {
  sought_module sought{path, identity, {}, false};
  if (::dl_iterate_phdr(visit, &sought) != 0) {
    return sought.found;
  }
  const std::string name = path.empty() ? "the program" : path;
  if (path.empty() || sought.other_build) {
    fail("a function to be run here lies in another build of " + name +
         " than the one this process has. Was the file replaced while the program ran? Start the program again.");
  }
  if (build_id_of_file(path) != identity) {
    fail("a function to be run here lies in " + path +
         ", which this process has not loaded, and the file there is missing or another build. Start the program "
         "again, or link with the library instead of loading it by dlopen.");
  }
  if (::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* const reason = ::dlerror();
    fail("a function to be run here lies in " + path +
         ", which cannot be loaded: " + (reason != nullptr ? reason : "unknown reason"));
  }
  if (::dl_iterate_phdr(visit, &sought) == 0) {
    fail("a function to be run here lies in " + path + ", which was replaced while it was being loaded");
  }
  return sought.found;
}

}  // namespace

void encode_code(encoder& out, const void* code) {
  loaded_module module;
  if (!os::find_module(code, module)) {
    char text[24];
    std::snprintf(text, sizeof text, "%p", code);
    fail(std::string("the function at ") + text +
         " lies neither in the program nor in a shared library (null, or generated at run time?), so it cannot be "
         "named to another process.");
  }
  out.string(module.name);
  const std::string identity = identity_of(module);
  out.binary(std::as_bytes(std::span(identity)));
  out.unsigned_integer(reinterpret_cast<std::uintptr_t>(code) - module.base);
}

const void* decode_code(decoder& in) {
  const std::string path(in.string());
  const const_bytes identity = in.binary();
  const std::uint64_t offset = in.unsigned_integer();
  const loaded_module module = find_module_of(path, {reinterpret_cast<const char*>(identity.data()), identity.size()});
  if (!is_in_segment(module, offset)) {
    throw error(errc::corrupt_record, "a function to be run here lies outside its module");
  }
  return reinterpret_cast<const void*>(module.base + offset);  // NOLINT(performance-no-int-to-ptr)
}

namespace {

// A pointer to a member function, as all C++ compilers for Linux have it: an address or a place in the table of virtual
// functions, and what is added to the object's address.
struct member_pointer {
  std::intptr_t function;
  std::ptrdiff_t adjustment;

  [[nodiscard]] bool is_code() const noexcept {
#if defined(__aarch64__) || defined(__arm__)
    return function != 0 && (adjustment & 1) == 0;
#else
    return function != 0 && (function & 1) == 0;
#endif
  }
};

}  // namespace

void send_member_function(encoder& out, const void* bytes, std::size_t /*size*/) {
  member_pointer pointer{};
  std::memcpy(&pointer, bytes, sizeof pointer);
  out.boolean(pointer.is_code());
  if (pointer.is_code()) {
    encode_code(out, reinterpret_cast<const void*>(pointer.function));  // NOLINT(performance-no-int-to-ptr)
  } else {
    out.integer(pointer.function);
  }
  out.integer(pointer.adjustment);
}

void receive_member_function(decoder& in, void* bytes, std::size_t /*size*/) {
  member_pointer pointer{};
  pointer.function =
      in.boolean() ? reinterpret_cast<std::intptr_t>(decode_code(in)) : static_cast<std::intptr_t>(in.integer());
  pointer.adjustment = in.integer();
  std::memcpy(bytes, &pointer, sizeof pointer);
}

}  // namespace shoal::detail
