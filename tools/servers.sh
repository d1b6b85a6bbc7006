#!/bin/sh
# The tests of the network stores drive real servers: find Redis, Valkey and PostgreSQL, or install them.
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

# Valkey from where Debian keeps newer packages for an older release: fetched from the mirror that this machine uses
# anyway, unpacked beside the virtual environment, and nothing of the system is changed.
unpack_valkey() {
  have dpkg && [ -r /etc/os-release ] || return 1
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$suite" ] || return 1
  into=$PWD/$own
  work=$(mktemp -d)
  for file in /etc/apt/sources.list.d/*.sources; do  # the first paragraph: the archive, and not its security updates
    [ ! -r "$file" ] || sed -E "/^\$/q; s/^Suites:.*/Suites: $suite-backports/" "$file" >"$work/list.sources"
    if grep -q "^Suites: .*-backports" "$work/list.sources" 2>/dev/null; then break; fi
  done
  if [ ! -s "$work/list.sources" ]; then
    grep -hE "^deb .* $suite " /etc/apt/sources.list 2>/dev/null | sed -E "s/ $suite / $suite-backports /" >"$work/list.list" || true
    [ -s "$work/list.list" ] || return 1
  fi
  list=$(ls "$work"/list.*)
  mkdir -p "$work/state/partial" "$into"
  chmod 755 "$work"
  apart="-o Dir::Etc::sourcelist=$list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$work/state -o APT::Sandbox::User=root"
  got=1
  if (cd "$work" && apt-get $apart update -qq && apt-get $apart download -qq valkey-server valkey-tools) >/dev/null 2>&1; then
    got=0
    for package in "$work"/*.deb; do dpkg -x "$package" "$into" || got=1; done
  fi
  rm -rf "$work"
  [ "$got" = 0 ] && "$own/usr/bin/valkey-server" --version >/dev/null 2>&1
}

if ! have redis-server; then
  if have brew && ! have apt-get; then quietly redis; else quietly redis-server; fi
fi
have_postgres || quietly postgresql
have openssl || quietly openssl
if ! have valkey-server && [ ! -x "$own/usr/bin/valkey-server" ]; then
  if have apt-get && [ -n "$(apt-cache policy valkey-server 2>/dev/null | grep -E 'Candidate: [0-9]')" ]; then
    quietly valkey-server || true
  elif have brew; then
    echo "Valkey and Redis do not stand beside each other here: the tests run on Redis only"
  else
    unpack_valkey || true
  fi
  have valkey-server || [ -x "$own/usr/bin/valkey-server" ] || echo "no Valkey server to be had: the tests run on Redis only"
fi
