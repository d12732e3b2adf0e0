#!/bin/sh
# Installs Prometheus, Alertmanager and the blackbox exporter from Debian's packages, for the tests that run on the real ones
# (cargo test --test monitoring) and on a machine on which docs/monitoring.md is tried. Needs root. Only the programs are
# wanted: their services are neither started now nor at the next boot.
set -eu

packages="prometheus prometheus-alertmanager prometheus-blackbox-exporter"
services="prometheus prometheus-alertmanager prometheus-blackbox-exporter"

missing=""
for package in $packages; do
    dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# Debian's own way to say that nothing may be started by an installation.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update -qq
# shellcheck disable=SC2086
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >&2

if [ -d /run/systemd/system ]; then
    for service in $services; do
        case "$missing" in *"$service"*) systemctl disable --now --quiet "$service" || true ;; esac
    done
fi
