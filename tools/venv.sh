#!/bin/sh
# Make .venv with the Python that is given. On Debian and its kin the venv module is a package of its own.
set -eu
python=${1:-}
if [ -z "$python" ]; then
  echo "Sojourn needs Python 3.11 or newer, and found none: install it, or say where it is: make PYTHON=/path/to/python3" >&2
  exit 1
fi
if ! "$python" -m venv .venv 2>/dev/null; then
  rm -rf .venv
  version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  . tools/install.sh
  install_package "$version-venv"
  "$python" -m venv .venv
fi
.venv/bin/python -m pip install --quiet --upgrade 'pip>=24'
