#!/bin/sh
# The benchmark of whole requests drives servers with wrk: find it, or install it.
set -eu
if command -v wrk >/dev/null 2>&1; then exit 0; fi
. tools/install.sh
install_package wrk
