#!/bin/sh
# Makes sure that the store's tests find a PostgreSQL server: one that is there, or Debian's package (as root). They start
# and stop a server of their own; the package's is not used. GAZEVLM_NO_POSTGRES=1 succeeds: those tests are then skipped.
set -eu

[ "${GAZEVLM_NO_POSTGRES:-}" != 1 ] || exit 0

is_there() {
    command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

is_there && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "no PostgreSQL server found, installing Debian's package" >&2
    apt-get update -qq >&2
    mkdir -p /etc/postgresql-common
    # else Debian makes and starts a server of its own
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
    is_there && exit 0
fi

echo "the store's tests need a PostgreSQL server: install it (Debian: apt-get install postgresql), or set" >&2
echo "GAZEVLM_NO_POSTGRES=1 to skip those tests" >&2
exit 1
