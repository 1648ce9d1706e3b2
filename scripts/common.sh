# Sourced by the other scripts. Says what is being done and for how long; starts them in the project's folder.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck disable=SC2034  # used by those who source this
python=.venv/bin/python

# step "what" command...: runs the command between a line that says what and one that says how long it took.
step() {
  local what=$1 began=${EPOCHREALTIME/[.,]/} status=0 took
  shift
  echo "== $what"
  "$@" || status=$?
  took=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
  if ((status != 0)); then
    echo "   failed after $((took / 10)).$((took % 10)) s: $what" >&2
    exit "$status"
  fi
  echo "   $((took / 10)).$((took % 10)) s"
}

# names FILE: the lines of a list, without comments and empty lines.
names() {
  sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1"
}

# build_preset NAME [TARGET]: configures build/NAME and builds one target in it, or all.
build_preset() {
  step "CMake: configure build/$1" cmake --preset "$1" --log-level=WARNING
  step "CMake: build build/$1" cmake --build --preset "$1" --parallel "$(nproc)" --target "${2:-all}"
}

# All C++ files of the project, separated by null bytes.
cpp_files() {
  find include src bindings tests bench examples -name '*.[ch]pp' -print0
}

# Installs the Python package into .venv, unless what it is made of is as it was the last time.
install_package() {
  local sources
  sources=$(find CMakeLists.txt pyproject.toml cmake include src bindings python -name __pycache__ -prune -o -type f \
    -printf '%p %T@\n' | sort | sha256sum)
  if [[ ! -e .venv/installed || $(<.venv/installed) != "$sources" ]]; then
    # Without isolation and in a folder that stays, so that only what changed is compiled.
    step "Python: install shoal into .venv" $python -m pip install -q --disable-pip-version-check --no-index --no-deps \
      --no-build-isolation --force-reinstall -C build-dir=build/python .
    echo "$sources" >.venv/installed
  fi
}
