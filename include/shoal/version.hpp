#pragma once

// The one place where the version is written: CMake and the Python package read it from here. Semantic versioning.
#define SHOAL_VERSION_MAJOR 0
#define SHOAL_VERSION_MINOR 1
#define SHOAL_VERSION_PATCH 0

#define SHOAL_DETAIL_TEXT_OF(value) #value
#define SHOAL_DETAIL_VERSION_TEXT(major, minor, patch) \
  SHOAL_DETAIL_TEXT_OF(major) "." SHOAL_DETAIL_TEXT_OF(minor) "." SHOAL_DETAIL_TEXT_OF(patch)

/// The version of these headers as a string literal, such as "0.1.0".
#define SHOAL_VERSION SHOAL_DETAIL_VERSION_TEXT(SHOAL_VERSION_MAJOR, SHOAL_VERSION_MINOR, SHOAL_VERSION_PATCH)
