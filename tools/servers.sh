#!/bin/sh
# The tests drive real servers: find Redis, Valkey, PostgreSQL and nginx, or install them.
# The tests start them by themselves: no service is left running.
set -eu
. tools/install.sh
PATH=$PATH:/usr/sbin:/usr/local/bin:/opt/homebrew/bin
own=.venv/servers

have() { command -v "$1" >/dev/null 2>&1; }

have_postgres() {
  have initdb && have postgres && return 0
  for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
    if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then return 0; fi
  done
  return 1
}

# Debian's packages start a service when they are installed. A policy that forbids it stands for as long as this takes.
quietly() {
  if have apt-get && [ ! -e /usr/sbin/policy-rc.d ]; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    printf '#!/bin/sh\nexit 101\n' | $as_root tee /usr/sbin/policy-rc.d >/dev/null 2>&1 || true
    $as_root chmod +x /usr/sbin/policy-rc.d 2>/dev/null || true
    status=0
    install_package "$1" || status=$?
    $as_root rm -f /usr/sbin/policy-rc.d 2>/dev/null || true
    return $status
  fi
  install_package "$1"
}

# Valkey as a package of Debian's for this release or, newer, beside it: fetched from the mirror that this machine uses
# anyway and unpacked beside the virtual environment. Nothing of the system is changed, and nobody need be root.
unpack_valkey() {
  have dpkg && [ -r /etc/os-release ] || return 1
  name=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$name" ] || return 1
  for suite in "$name-backports" "$name"; do
    work=$(mktemp -d)
    chmod 755 "$work"
    if write_list "$suite" "$work" && download_valkey "$work"; then
      rm -rf "$work"
      return 0
    fi
    rm -rf "$work"
  done
  return 1
}

# Where packages of this suite come from: the first archive that the machine's own list names, and not its security updates.
write_list() {
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/ubuntu.sources; do
    if [ -r "$file" ]; then
      sed -E "/^\$/q; s/^Suites:.*/Suites: $1/" "$file" >"$2/list.sources"
      return 0
    fi
  done
  release=${1%-backports}
  [ -r /etc/apt/sources.list ] || return 1
  grep -E "^deb .* $release " /etc/apt/sources.list | sed -E "s/ $release / $1 /" >"$2/list.list"
  [ -s "$2/list.list" ]
}

download_valkey() {
  into=$PWD/$own
  list=$(ls "$1"/list.*)
  mkdir -p "$1/state/partial" "$into"
  apart="-o Dir::Etc::sourcelist=$list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$1/state -o APT::Sandbox::User=root"
  (
    cd "$1" &&
      apt-get $apart update -qq &&
      apt-get $apart download -qq valkey-server valkey-tools &&
      for package in *.deb; do dpkg -x "$package" "$into"; done
  ) >/dev/null 2>&1 && "$own/usr/bin/valkey-server" --version >/dev/null 2>&1
}

if ! have redis-server; then
  if have brew && ! have apt-get; then quietly redis; else quietly redis-server; fi
fi
have_postgres || quietly postgresql
have openssl || quietly openssl
have nginx || quietly nginx
if ! have valkey-server && [ ! -x "$own/usr/bin/valkey-server" ] && [ ! -e "$own/none" ]; then
  if ! unpack_valkey; then
    mkdir -p "$own"
    : >"$own/none"  # so that not every call asks again: `make clean` forgets it
    echo "there is no Valkey server to be had here: the tests run on Redis only"
  fi
fi
