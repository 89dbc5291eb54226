#!/bin/sh
# Where the page's tests find no Chromium, Debian's is installed when this is root on Debian; else they are skipped,
# and pytest's line says how to get one.
if command -v "${CHROMIUM:-chromium}" >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null 2>&1; then
  echo "the page's tests: installing Chromium (a minute, once)"
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium) \
    >/dev/null 2>&1 || echo "the page's tests: Chromium cannot be installed here, they are skipped"
fi
exit 0
