#!/bin/sh
# The demo's test drives a real browser: find Chromium, or install it.
set -eu
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
[ ! -d "/Applications/Google Chrome.app" ] || exit 0
. tools/install.sh
install_package chromium
