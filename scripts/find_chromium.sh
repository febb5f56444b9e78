#!/bin/sh
# Prints the path of a Chromium for the browser tests. Order: $CHROMIUM, one on the PATH, Debian's package (as root).
# GAZEVLM_NO_BROWSER=1 prints nothing and succeeds: the browser tests are then skipped.
set -eu

[ "${GAZEVLM_NO_BROWSER:-}" != 1 ] || exit 0

if [ -n "${CHROMIUM:-}" ]; then
    command -v "$CHROMIUM" && exit 0
    echo "CHROMIUM=$CHROMIUM is not a program; set it to a Chromium or Chrome, or unset it" >&2
    exit 1
fi

find_on_path() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" && return 0
    done
    return 1
}

find_on_path && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "no Chromium found, installing Debian's package" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >&2
    find_on_path && exit 0
fi

echo "the browser tests need Chromium: install it (Debian: apt-get install chromium), set CHROMIUM to its path," >&2
echo "or set GAZEVLM_NO_BROWSER=1 to skip those tests" >&2
exit 1
