# Sourced: install a package with the system's package manager, or say in one line what to install.
install_package() {
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  if command -v apt-get >/dev/null 2>&1; then
    echo "installing $1"
    if $as_root env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && apt-get install -y -qq $1" >/dev/null 2>&1; then
      return 0
    fi
  elif command -v brew >/dev/null 2>&1 && brew install --quiet "$1"; then
    return 0
  fi
  echo "please install the package '$1', which the tests need, and call make again" >&2
  return 1
}
