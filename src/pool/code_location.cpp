#include "shoal/detail/code_location.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "os/loaded_module.hpp"
#include "shoal/detail/program_code.hpp"

namespace shoal::detail {
namespace {

using os::find_module;
using module = os::loaded_module;

std::string_view text_of(const_bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

struct parts_of_name {
  std::string_view path;  // empty: the executable
  std::string_view build_id;
  std::uint64_t offset;
};

parts_of_name take_apart(const_bytes name) {
  decoder in(name);
  const std::string_view path = in.string();
  const std::string_view build_id = text_of(in.binary());
  return {path, build_id, in.unsigned_integer()};
}

/// Whether what lies at `address` now is what `name` names. Takes no lock: one of the dynamic linker's, held by another
/// thread while this process was forked, would never be released in it.
bool is_there(const void* address, const parts_of_name& name) {
  module loaded;
  if (!find_module(address, loaded) || loaded.base + name.offset != reinterpret_cast<std::uintptr_t>(address)) {
    return false;
  }
  return name.path.empty() ? loaded.name.empty() : !name.build_id.empty() && loaded.build_id() == name.build_id;
}

struct text_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};

// One for each thread, so that they need no lock. A program names few functions.
thread_local std::unordered_map<const void*, encoder> names;
thread_local std::unordered_map<std::string, const void*, text_hash, std::equal_to<>> found;

}  // namespace

code_location locate_code(const void* function) {
  const auto known = names.find(function);
  // The executable is never unloaded. Where a library was, another one may lie now.
  if (known != names.end() && is_there(function, take_apart(known->second.bytes()))) {
    return {function, known->second.bytes()};
  }
  encoder name;
  encode_code(name, function);
  encoder& kept = names[function];
  kept = std::move(name);
  return {function, kept.bytes()};
}

const void* find_code(const code_location& location) {
  const std::string_view name = text_of(location.name);
  const auto known = found.find(name);
  if (known != found.end() && is_there(known->second, take_apart(location.name))) {
    return known->second;
  }
  if (is_there(location.address, take_apart(location.name))) {
    return location.address;
  }
  decoder in(location.name);
  const void* const code = decode_code(in);
  found.insert_or_assign(std::string(name), code);
  return code;
}

}  // namespace shoal::detail
